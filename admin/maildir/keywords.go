package maildir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"mailbox/admin/archive"
)

const keywordsFile = "dovecot-keywords"

// keywords are those of a folder, whose letters are a to z.
type keywords struct {
	names   [26]string
	changed bool // since they were read
}

// readKeywords reads dovecot-keywords, of which every line is a number and a
// keyword. Lines that are not are left out.
func readKeywords(r io.Reader) (*keywords, error) {
	k := &keywords{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		number, name, _ := strings.Cut(strings.TrimSuffix(lines.Text(), "\r"), " ")
		n, err := strconv.ParseUint(number, 10, 8)
		if err == nil && int(n) < len(k.names) && archive.IsKeyword(name) {
			k.names[n] = name
		}
	}
	return k, lines.Err()
}

// openKeywords reads those of a folder, if it has any.
func openKeywords(root *os.Root, folder string) (*keywords, error) {
	f, err := archive.OpenRegular(root, path.Join(folder, keywordsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &keywords{}, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	return readKeywords(f)
}

// letter is the letter of a keyword, which gets one if there is one left.
func (k *keywords) letter(name string) (byte, bool) {
	free := -1
	for i, n := range k.names {
		switch {
		case strings.EqualFold(n, name):
			return byte('a' + i), true
		case n == "" && free < 0:
			free = i
		}
	}
	if free < 0 || !archive.IsKeyword(name) {
		return 0, false
	}
	k.names[free] = name
	k.changed = true
	return byte('a' + free), true
}

// file is what dovecot-keywords holds.
func (k *keywords) file() []byte {
	var b bytes.Buffer
	for i, n := range k.names {
		if n != "" {
			fmt.Fprintf(&b, "%d %s\n", i, n)
		}
	}
	return b.Bytes()
}

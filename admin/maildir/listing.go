package maildir

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
)

// A listing is the names of the messages of a folder: 500,000 are about 40 MB.
type listing struct {
	dirs    []string
	names   strings.Builder // one behind the other
	entries []entry
}

// An entry is one name.
type entry struct {
	start  uint32 // in listing.names
	length uint8
	unique uint8  // how much of it stays when flags change
	dir    uint8  // in listing.dirs
	uid    uint32 // math.MaxUint32: not known
}

// messageDirs are the directories of a Maildir in which there are messages.
var messageDirs = [...]string{"cur", "new"}

// list reads the names in directories of a folder, in no order.
func list(root *os.Root, folder string, dirs ...string) (*listing, error) {
	l := &listing{dirs: dirs}
	for i, dir := range dirs {
		f, err := root.Open(path.Join(folder, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		err = l.read(f, uint8(i))
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *listing) read(f *os.File, dir uint8) error {
	return eachName(f, func(name string) error { return l.add(name, dir) })
}

// eachName calls yield for each name in a directory that may be a message's.
func eachName(dir *os.File, yield func(name string) error) error {
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if strings.HasPrefix(name, ".") {
				continue
			}
			if err := yield(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// count tells about how many messages a folder has. What cannot be read is told
// when the folder is.
func count(root *os.Root, folder string) (n int64) {
	for _, dir := range messageDirs {
		f, err := root.Open(path.Join(folder, dir))
		if err != nil {
			continue
		}
		_ = eachName(f, func(string) error { n++; return nil })
		f.Close()
	}
	return n
}

func (l *listing) add(name string, dir uint8) error {
	if l.names.Len()+len(name) > math.MaxUint32 || len(name) > math.MaxUint8 {
		return errors.New("too many names, or too long ones")
	}
	unique, _ := splitName(name)
	l.entries = append(l.entries, entry{uint32(l.names.Len()), uint8(len(name)), uint8(len(unique)), dir, math.MaxUint32})
	l.names.WriteString(name)
	return nil
}

// path is where an entry is below the folder.
func (l *listing) path(e entry) string {
	return path.Join(l.dirs[e.dir], l.name(e))
}

// name is the whole name of an entry.
func (l *listing) name(e entry) string {
	return l.names.String()[e.start:][:e.length]
}

// unique is the part of it that stays.
func (l *listing) unique(e entry) string {
	return l.names.String()[e.start:][:e.unique]
}

// sortByUnique puts the names into an order in which find finds them.
func (l *listing) sortByUnique() {
	slices.SortFunc(l.entries, func(a, b entry) int { return cmp.Compare(l.unique(a), l.unique(b)) })
}

// find returns the entry of which unique is the part that stays, or nil.
func (l *listing) find(unique string) *entry {
	i, ok := sort.Find(len(l.entries), func(i int) int { return cmp.Compare(unique, l.unique(l.entries[i])) })
	if !ok {
		return nil
	}
	return &l.entries[i]
}

// sortByArrival puts the names in order: by UID, then by unique, in which
// numbers count as such. Names begin with seconds, and microseconds follow.
func (l *listing) sortByArrival() {
	slices.SortFunc(l.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.uid, b.uid), natural(l.unique(a), l.unique(b)),
			cmp.Compare(l.name(a), l.name(b)), cmp.Compare(a.dir, b.dir))
	})
}

// natural compares strings in which digits are numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		if m, n := digits(a), digits(b); m > 0 && n > 0 {
			x, y := strings.TrimLeft(a[:m], "0"), strings.TrimLeft(b[:n], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[m:], b[n:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts those at the beginning of s.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

package maildir

import (
	"fmt"
	"slices"
	"strings"
)

// systemFlags are the letters of flags in a name. P says that the message was
// passed on.
var systemFlags = []struct {
	letter byte
	flag   string
}{
	{'D', `\Draft`},
	{'F', `\Flagged`},
	{'P', forwarded},
	{'R', `\Answered`},
	{'S', `\Seen`},
	{'T', `\Deleted`},
}

const forwarded = "$Forwarded" // RFC 5788

// splitName parts the name of a file into what stays, and the letters of the
// flags. Where ":" is not allowed in names, programs write ";" or "!".
func splitName(name string) (unique, letters string) {
	i := strings.LastIndex(name, "2,")
	if i < 1 || strings.IndexByte(":;!", name[i-1]) < 0 {
		unique, _, _ = strings.Cut(name, ":")
		return unique, ""
	}
	letters, _, _ = strings.Cut(name[i+2:], ",") // Dovecot may put more behind a comma
	return name[:i-1], letters
}

// flags returns what letters stand for, and, if there is any, what is unknown.
func (k *keywords) flags(letters string) (flags []string, unknown string) {
	for i := range len(letters) {
		flag := ""
		if c := letters[i]; c >= 'a' && c <= 'z' {
			if flag = k.names[c-'a']; flag == "" {
				unknown += string(rune(c))
			}
		} else {
			for _, f := range systemFlags {
				if f.letter == c {
					flag = f.flag
				}
			}
		}
		if flag != "" && !slices.ContainsFunc(flags, func(f string) bool { return strings.EqualFold(f, flag) }) {
			flags = append(flags, flag)
		}
	}
	return flags, unknown
}

// letters returns what flags are written as, and those that have no place. It
// gives letters to keywords that have none. $Forwarded has two: Dovecot does
// not know P.
func (k *keywords) letters(flags []string) (letters string, lost []string) {
	var written []byte
	for _, flag := range flags {
		known := false
		for _, f := range systemFlags {
			if strings.EqualFold(f.flag, flag) {
				written = append(written, f.letter)
				known = true
			}
		}
		if !strings.HasPrefix(flag, `\`) {
			if c, ok := k.letter(flag); ok {
				written = append(written, c)
				known = true
			}
		}
		if !known && !strings.EqualFold(flag, `\Recent`) {
			lost = append(lost, flag)
		}
	}
	slices.Sort(written)
	return string(slices.Compact(written)), lost
}

// fileName is the name of a message in cur.
func fileName(unique, letters string) string {
	return fmt.Sprintf("%s:2,%s", unique, letters)
}

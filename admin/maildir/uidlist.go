package maildir

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

const uidlistFile = "dovecot-uidlist"

// readUIDs calls yield for each message that a dovecot-uidlist names, by the
// part of its name that stays. The first line is about the mailbox; each other
// one is a UID, words with more about the message, and ":" and the name. What
// is not is left out.
func readUIDs(r io.Reader, yield func(unique string, uid uint32)) error {
	lines := bufio.NewScanner(r)
	for first := true; lines.Scan(); first = false {
		if first {
			continue
		}
		number, rest, _ := strings.Cut(lines.Text(), " ")
		uid, err := strconv.ParseUint(number, 10, 32)
		if err != nil || uid == 0 {
			continue
		}
		// Version 1 has only the name behind the UID.
		if words, name, ok := strings.Cut(" "+rest, " :"); ok && !strings.Contains(words, ":") {
			rest = name
		}
		unique, _ := splitName(rest)
		yield(unique, uint32(uid))
	}
	return lines.Err()
}

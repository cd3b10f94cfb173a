package maildir

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
)

// unique is the first part of the name that a Writer gives to a message. Others
// sort by the seconds and the microseconds, whose place the serial has.
type unique struct {
	seconds int64
	serial  uint64
	key     key
}

// A key tells one message from another.
type key struct {
	hash [16]byte // of content and date
	copy uint32   // which of several that are equal
}

func (u unique) String() string {
	return fmt.Sprintf("%d.M%dH%x_%d.mailbox", u.seconds, u.serial, u.key.hash, u.key.copy)
}

var uniquePattern = regexp.MustCompile(`^(\d+)\.M(\d+)H([0-9a-f]{32})_(\d+)\.mailbox`)

// parseUnique reads a name that String may have written.
func parseUnique(name string) (u unique, ok bool) {
	m := uniquePattern.FindStringSubmatch(name)
	if m == nil {
		return u, false
	}
	seconds, err1 := strconv.ParseInt(m[1], 10, 64)
	serial, err2 := strconv.ParseUint(m[2], 10, 64)
	n, err3 := strconv.ParseUint(m[4], 10, 32)
	_, err4 := hex.Decode(u.key.hash[:], []byte(m[3]))
	u.seconds, u.serial, u.key.copy = seconds, serial, uint32(n)
	return u, err1 == nil && err2 == nil && err3 == nil && err4 == nil
}

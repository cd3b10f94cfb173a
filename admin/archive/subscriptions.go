package archive

import (
	"bufio"
	"io"
	"strings"
)

// Subscriptions reads Dovecot's file of subscribed mailboxes, or Courier's:
// a name on each line, whose levels are parted by separator. After the line
// "V\t2" Dovecot parts them by tabs. Names are returned as they are written,
// with their levels parted by "/".
func Subscriptions(r io.Reader, separator byte) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	for first := true; lines.Scan(); first = false {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if first && strings.HasPrefix(line, "V\t") {
			separator = '\t'
			continue
		}
		if line != "" {
			names = append(names, strings.ReplaceAll(line, string(rune(separator)), "/"))
		}
	}
	return names, lines.Err()
}

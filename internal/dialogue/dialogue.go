// Package dialogue plays protocol dialogues: text files that say what a client
// sends and what the server must answer. A file has one step on each line:
//
//	# a comment
//	connect smtp     open a connection to that service and close the last one
//	C: text          send the text and CRLF; \r \n \t \\ \xNN stand for octets
//	C| text          send the text alone
//	C* 1000 text     send the text that many times
//	S: pattern       the next line must match; * stands for anything
//	S* pattern       skip lines up to one that matches
//	S= NAME pattern  the same; from now on ${NAME} is what {} in it stood for
//	tls              start TLS now
//	closed           the server must have closed the connection
package dialogue

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// patience is how long a server may take to answer.
const patience = 10 * time.Second

// A Player plays dialogues against running services.
type Player struct {
	Dial func(service string) (net.Conn, error)
	TLS  *tls.Config // of the client
	Vars map[string]string
}

// Play plays one file. An error names the line and what the server said.
// ${NAME} in the file stands for Vars[NAME].
func (p *Player) Play(name, text string) error {
	s := &stage{Player: p, learned: map[string]string{}}
	defer s.close()
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		line = os.Expand(line, s.variable)
		if err := s.step(line); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", name, i+1, line, err)
		}
	}
	return nil
}

type stage struct {
	*Player
	nc      net.Conn
	r       *bufio.Reader
	learned map[string]string // from the server
}

func (s *stage) variable(name string) string {
	if v, known := s.learned[name]; known {
		return v
	}
	return s.Vars[name]
}

func (s *stage) close() {
	if s.nc != nil {
		s.nc.Close() //nolint:errcheck // the dialogue is over
	}
}

func (s *stage) use(nc net.Conn) {
	s.nc, s.r = nc, bufio.NewReader(nc)
}

func (s *stage) step(line string) error {
	if service, ok := strings.CutPrefix(line, "connect "); ok {
		s.close()
		nc, err := s.Dial(strings.TrimSpace(service))
		if err == nil {
			s.use(nc)
		}
		return err
	}
	if s.nc == nil {
		return errors.New("connect first")
	}
	if err := s.nc.SetDeadline(time.Now().Add(patience)); err != nil && line != "closed" { // a pipe that is closed has no deadlines
		return err
	}
	switch {
	case line == "tls":
		t := tls.Client(s.nc, s.TLS)
		if err := t.Handshake(); err != nil {
			return err
		}
		s.use(t)
		return nil
	case line == "closed":
		rest, err := io.ReadAll(s.r)
		if len(rest) > 0 {
			return fmt.Errorf("instead of closing the server said %q", rest)
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return errors.New("the connection is still open")
		}
		return nil
	}
	if len(line) < 2 {
		return errors.New("no such step")
	}
	rest := strings.TrimPrefix(line[2:], " ")
	switch line[:2] {
	case "C:":
		return s.send(rest+`\r\n`, 1)
	case "C|":
		return s.send(rest, 1)
	case "C*":
		count, text, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		return s.send(text, n)
	case "S:":
		got, err := s.line()
		if err == nil && !matches(rest, got) {
			err = fmt.Errorf("the server said %q", got)
		}
		return err
	case "S*":
		_, err := s.find(rest)
		return err
	case "S=":
		name, pattern, _ := strings.Cut(rest, " ")
		before, after, _ := strings.Cut(pattern, "{}")
		got, err := s.find(before + "*" + after)
		if err == nil {
			s.learned[name] = between(before, after, got)
		}
		return err
	}
	return errors.New("no such step")
}

// find skips lines up to one that matches.
func (s *stage) find(pattern string) (string, error) {
	for {
		got, err := s.line()
		if err != nil || matches(pattern, got) {
			return got, err
		}
	}
}

func (s *stage) line() (string, error) {
	line, err := s.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the server said %q, then %w", line, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (s *stage) send(text string, n int) error {
	octets, err := unescape(text)
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.nc, strings.Repeat(octets, n))
	return err
}

// unescape reads the escapes of Go strings.
func unescape(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		if s[0] != '\\' {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		r, multi, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return "", fmt.Errorf("escape in %q: %w", s, err)
		}
		if multi {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		s = rest
	}
	return b.String(), nil
}

// matches tells whether a line fits a pattern in which * stands for anything.
func matches(pattern, line string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !strings.HasPrefix(line, head) {
		return false
	}
	line = line[len(head):]
	if !star {
		return line == ""
	}
	for i := 0; i <= len(line); i++ {
		if matches(rest, line[i:]) {
			return true
		}
	}
	return false
}

// between returns the first and shortest text of a line that stands between
// what matches two patterns.
func between(before, after, line string) string {
	for i := range line {
		for j := i; j <= len(line) && matches(before, line[:i]); j++ {
			if matches(after, line[j:]) {
				return line[i:j]
			}
		}
	}
	return ""
}

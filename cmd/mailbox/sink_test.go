package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A mood is what a sink does at some stage instead of what it was asked for.
type mood uint8

const (
	fine  mood = iota
	busy       // says 451
	quits      // says 421 and closes
	gone       // closes without a word
	torn       // closes in the middle of its answer
	mute       // never says anything again
)

// A sink is the mail server of other domains. It refuses for good whoever is
// called no-something, fails as its temper has it, and keeps a log of every 250
// that it said to a message.
type sink struct {
	net.Listener
	// temper is asked at "greeting", "EHLO", "MAIL", "RCPT", "DATA" and "."; nil is always fine.
	temper func(stage string) (mood, time.Duration)
	keep   bool // the log of arrivals; else they are only counted

	conns sync.WaitGroup

	mu       sync.Mutex
	open     map[net.Conn]struct{}
	arrivals []*arrival
	count    int
	last     time.Time // of the last recipient that arrived
}

// An arrival is one 250 to a message.
type arrival struct {
	id      string    // its X-Id field, or the digest of what has none
	to      []string  // recipients
	text    string    // of what has no X-Id
	opened  time.Time // the connection
	said    time.Time // the 250
	written bool      // it went out
	went    bool      // the sender said something after it, so had taken note
	lost    time.Time // the connection ended, and it had said nothing
}

// newSink starts one that ends with the test.
func newSink(t testing.TB, listen string) *sink {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	return &sink{Listener: l, open: map[net.Conn]struct{}{}}
}

// run serves until the test ends.
func (s *sink) run(t testing.TB) *sink {
	s.conns.Go(func() {
		for {
			nc, err := s.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[nc] = struct{}{}
			s.mu.Unlock()
			s.conns.Go(func() {
				(&call{s: s, nc: nc, r: bufio.NewReader(nc), opened: time.Now()}).run()
				nc.Close()
				s.mu.Lock()
				delete(s.open, nc)
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		s.Close()
		s.mu.Lock()
		for nc := range s.open {
			nc.Close()
		}
		s.mu.Unlock()
		s.conns.Wait()
	})
	return s
}

// taken is how many recipients arrived, and when the last one did.
func (s *sink) taken() (int, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.last
}

// log returns the arrivals so far, the first one first.
func (s *sink) log() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]arrival, len(s.arrivals))
	for i, a := range s.arrivals {
		all[i] = *a
	}
	return all
}

// A call is one connection to a sink.
type call struct {
	s    *sink
	nc   net.Conn
	r    *bufio.Reader
	to   []string
	last *arrival // the 250 that was said last, if nothing came after it

	opened time.Time
}

// run talks until the connection ends.
func (v *call) run() {
	for going := v.say("greeting", "220 sink.example"); going; {
		line, err := v.r.ReadString('\n')
		v.answered(err == nil)
		if err != nil {
			return
		}
		going = v.command(strings.TrimSpace(line))
	}
	v.answered(false)
}

func (v *call) command(line string) (going bool) {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		return v.say("EHLO", "250-sink.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 1000000")
	case "MAIL":
		v.to = nil
		return v.say("MAIL", "250 ok")
	case "RCPT":
		address := strings.Trim(strings.TrimPrefix(strings.ToUpper(strings.Fields(rest)[0]), "TO:"), "<>")
		address = strings.ToLower(address)
		if strings.HasPrefix(address, "no-") {
			return v.say("RCPT", "550 5.1.1 no such user")
		}
		n := len(v.to)
		v.to = append(v.to, address)
		going, asked := v.feel("RCPT", "250 ok")
		if !asked {
			v.to = v.to[:n]
		}
		return going
	case "DATA":
		going, asked := v.feel("DATA", "354 go on")
		if !going || !asked {
			return going
		}
		return v.data()
	case "RSET":
		v.to = nil
		return v.write("250 ok")
	case "QUIT":
		v.write("221 bye")
		return false
	}
	return v.write("500 what?")
}

// data takes the message, and logs it at the moment of the 250.
func (v *call) data() (going bool) {
	var all strings.Builder
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		all.WriteString(strings.TrimPrefix(line, "."))
	}
	a := &arrival{to: v.to, opened: v.opened}
	a.id, a.text = identify(all.String())
	v.to = nil
	m, wait := v.s.mood(".")
	time.Sleep(wait)
	if m != fine {
		return v.fail(m, "250 taken")
	}
	a.said = time.Now()
	v.s.take(a)
	written := v.write("250 taken")
	v.s.mu.Lock()
	a.written = written
	v.s.mu.Unlock()
	v.last = a
	return written
}

// identify tells messages apart, whose lines all must have come: those with an
// X-Id end in a line with it.
func identify(text string) (id, rest string) {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if id, ok := strings.CutPrefix(line, "X-Id: "); ok {
			if !strings.HasSuffix(body, "end of "+id+"\r\n") {
				return id + ", torn", text
			}
			return id, ""
		}
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text))), text
}

func (s *sink) mood(stage string) (mood, time.Duration) {
	if s.temper == nil {
		return fine, 0
	}
	return s.temper(stage)
}

func (s *sink) take(a *arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count += len(a.to)
	s.last = a.said
	if s.keep {
		s.arrivals = append(s.arrivals, a)
	}
}

// answered notes whether the sender went on after the last 250.
func (v *call) answered(went bool) {
	if v.last == nil {
		return
	}
	v.s.mu.Lock()
	v.last.went = went
	if !went {
		v.last.lost = time.Now()
	}
	v.s.mu.Unlock()
	v.last = nil
}

// say answers, or does what it feels like.
func (v *call) say(stage, reply string) (going bool) {
	going, _ = v.feel(stage, reply)
	return going
}

// feel is say, and tells whether the reply was the one asked for.
func (v *call) feel(stage, reply string) (going, asked bool) {
	m, wait := v.s.mood(stage)
	time.Sleep(wait)
	if m != fine {
		return v.fail(m, reply), false
	}
	return v.write(reply), true
}

func (v *call) fail(m mood, reply string) (going bool) {
	switch m {
	case busy:
		return v.write("451 4.3.0 later")
	case quits:
		v.write("421 4.3.2 later")
	case torn:
		io.WriteString(v.nc, reply[:2]) //nolint:errcheck // it closes anyway
	case mute:
		io.Copy(io.Discard, v.nc) //nolint:errcheck // until the sender has enough
	}
	return false
}

func (v *call) write(reply string) bool {
	_, err := io.WriteString(v.nc, reply+"\r\n")
	return err == nil
}

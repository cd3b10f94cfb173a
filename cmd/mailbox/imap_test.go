package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An imapClient sends commands and returns all that is answered, as text.
type imapClient struct {
	t   testing.TB
	nc  net.Conn
	r   *bufio.Reader
	tag int
}

// imapClient returns one that has logged in.
func (s *site) imapClient(user string) *imapClient {
	s.t.Helper()
	c := s.imapDial()
	name := user + "@" + s.domain
	c.ok(fmt.Sprintf("LOGIN {%d+}\r\n%s %q", len(name), name, testPassword))
	return c
}

// imapDial returns one that was greeted.
func (s *site) imapDial() *imapClient {
	s.t.Helper()
	nc, err := s.dial("imap")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	c := &imapClient{t: s.t, nc: nc, r: bufio.NewReader(nc)}
	c.response()
	return c
}

var literalAtEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// response reads one response with its literals.
func (c *imapClient) response() string {
	c.t.Helper()
	r, err := c.tryResponse()
	if err != nil {
		c.t.Fatalf("imap: %v, after %q", err, r)
	}
	return r
}

func (c *imapClient) tryResponse() (string, error) {
	c.nc.SetReadDeadline(time.Now().Add(60 * time.Second)) //nolint:errcheck // the read tells
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			return all.String(), err
		}
		m := literalAtEnd.FindStringSubmatch(line)
		if m == nil {
			return all.String(), nil
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err == nil {
			_, err = io.CopyN(&all, c.r, n)
		}
		if err != nil {
			return all.String(), fmt.Errorf("literal: %w", err)
		}
	}
}

// do sends a command and returns its untagged responses and its tagged one.
func (c *imapClient) do(command string) (untagged, tagged string) {
	c.t.Helper()
	untagged, tagged, err := c.try(command)
	if err != nil {
		c.t.Fatalf("imap: %.200s: %v, after %q", command, err, untagged)
	}
	return untagged, tagged
}

// try is do where the server may be killed.
func (c *imapClient) try(command string) (untagged, tagged string, err error) {
	c.tag++
	tag := fmt.Sprintf("t%d ", c.tag)
	if _, err := io.WriteString(c.nc, tag+command+"\r\n"); err != nil {
		return "", "", err
	}
	var all strings.Builder
	for {
		r, err := c.tryResponse()
		if err != nil {
			return all.String(), "", err
		}
		if rest, ok := strings.CutPrefix(r, tag); ok {
			return all.String(), rest, nil
		}
		all.WriteString(r)
	}
}

// ok is do for what must succeed.
func (c *imapClient) ok(command string) string {
	c.t.Helper()
	untagged, tagged := c.do(command)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%.200s: %s", command, tagged)
	}
	return untagged
}

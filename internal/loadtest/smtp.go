package loadtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// An smtpClient is one connection to an SMTP server (RFC 5321).
type smtpClient struct{ *connection }

// dialSMTP connects and says EHLO.
func dialSMTP(ctx context.Context, address string) (smtpClient, error) {
	conn, err := dial(ctx, address)
	if err != nil {
		return smtpClient{}, err
	}
	c := smtpClient{conn}
	if err := c.expect('2'); err != nil {
		return c, err
	}
	return c, c.do("EHLO client.test", '2')
}

// login logs in with AUTH PLAIN (RFC 4616).
func (c smtpClient) login(user, password string) error {
	return c.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)), '2')
}

func (c smtpClient) do(command string, class byte) error {
	fmt.Fprintf(c.out, "%s\r\n", command)
	if err := c.out.Flush(); err != nil {
		return err
	}
	return c.expect(class)
}

// expect reads a reply, whose code must begin with class.
func (c smtpClient) expect(class byte) error {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		if line[0] != class {
			return fmt.Errorf("the SMTP server says %q", strings.TrimSpace(line))
		}
		if len(line) < 4 || line[3] != '-' {
			return nil
		}
	}
}

// send sends a message, the envelope in one packet (RFC 2920). It returns when
// the final dot was sent.
func (c smtpClient) send(m mail, to string) (dot time.Time, err error) {
	fmt.Fprintf(c.out, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", m.from, to)
	if err := c.out.Flush(); err != nil {
		return dot, err
	}
	for _, class := range []byte{'2', '2', '3'} {
		if err := c.expect(class); err != nil {
			return dot, err
		}
	}
	if _, err := c.Write(dotted(m.message)); err != nil {
		return dot, err
	}
	return time.Now(), c.expect('2')
}

// A mail is a message with its sender.
type mail struct {
	from    string
	message []byte
}

// dotted puts a dot before lines that begin with one, and one on a line of its
// own at the end (RFC 5321 section 4.5.2).
func dotted(message []byte) []byte {
	return append(bytes.ReplaceAll(message, []byte("\r\n."), []byte("\r\n..")), ".\r\n"...)
}

package pull

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// A mechanism is the client's side of a SASL mechanism: it answers each
// challenge, the first of which is empty. It is done when it returns done.
type mechanism struct {
	name string
	step func(challenge []byte) (answer []byte, err error)
	done func() error // nil if there is nothing that the server has to prove
}

// login logs in with the strongest of what the server offers. One that it
// offers and refuses is followed by the next: some servers offer mechanisms
// that they have no verifier for.
func (c *conn) login(p *Puller) error {
	if strings.ContainsAny(p.User+p.Password+p.Token, "\x00\r\n") {
		return errors.New("user and password must not hold NUL, CR or LF")
	}
	if err := c.capability(); err != nil {
		return err
	}
	mechanisms := c.mechanisms(p)
	if len(mechanisms) == 0 {
		return c.loginCommand(p)
	}
	var err error
	for _, m := range mechanisms {
		err = c.authenticate(m)
		if err == nil {
			return nil
		}
		if !isStatus(err) {
			return err
		}
		if temporary(err) {
			break
		}
	}
	return &loginError{err}
}

// loginCommand logs in to a server that has no SASL for us (RFC 9051 section
// 6.2.3).
func (c *conn) loginCommand(p *Puller) error {
	if p.Token != "" || c.caps["LOGINDISABLED"] {
		return &loginError{errors.New("the server offers no way that is known here")}
	}
	_, err := c.command("LOGIN "+quote(p.User)+" "+quote(p.Password), nil)
	if isStatus(err) {
		return &loginError{err}
	}
	return err
}

// mechanisms returns what the server offers and we can do, the strongest first.
func (c *conn) mechanisms(p *Puller) []mechanism {
	all := []mechanism{
		newScram("SCRAM-SHA-256", p.User, p.Password, rand.Text()),
		newScram("SCRAM-SHA-1", p.User, p.Password, rand.Text()),
		{name: "PLAIN", step: says("\x00" + p.User + "\x00" + p.Password)},
		{name: "LOGIN", step: says(p.User, p.Password)},
	}
	if p.Token != "" {
		all = []mechanism{
			{name: "OAUTHBEARER", step: says(bearer(p))},
			{name: "XOAUTH2", step: says("user=" + p.User + "\x01auth=Bearer " + p.Token + "\x01\x01")},
		}
	}
	var offered []mechanism
	for _, m := range all {
		if c.caps["AUTH="+m.name] {
			offered = append(offered, m)
		}
	}
	return offered
}

// bearer is the first message of RFC 7628 section 3.1.
func bearer(p *Puller) string {
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(p.User)
	at := ""
	if host, port, err := net.SplitHostPort(p.Address); err == nil {
		at = "host=" + host + "\x01port=" + port + "\x01"
	}
	return "n,a=" + name + ",\x01" + at + "auth=Bearer " + p.Token + "\x01\x01"
}

// says answers with one text after the other, and then with nothing, which is
// how one asks for the refusal behind an error in JSON (RFC 7628 section 3.2.3).
func says(texts ...string) func([]byte) ([]byte, error) {
	return func([]byte) ([]byte, error) {
		if len(texts) == 0 {
			return nil, nil
		}
		text := texts[0]
		texts = texts[1:]
		return []byte(text), nil
	}
}

// maxSteps is how many challenges a server may send in one exchange.
const maxSteps = 10

// authenticate logs in with a mechanism (RFC 9051 section 6.2.2).
func (c *conn) authenticate(m mechanism) error {
	line, steps := "AUTHENTICATE "+m.name, 0
	if c.caps["SASL-IR"] && m.name != "LOGIN" { // where the server speaks first
		first, err := m.step(nil)
		if err != nil {
			return err
		}
		line += " " + base64.StdEncoding.EncodeToString(first)
	}
	_, err := c.command(line, func(r *response) error {
		if r.tag != "+" {
			return nil
		}
		if steps++; steps > maxSteps {
			return &cutError{err: errors.New("the server does not come to an end with the login")}
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.text))
		if err != nil {
			challenge = nil // such as text for people
		}
		answer, err := m.step(challenge)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		return c.send(base64.StdEncoding.EncodeToString(answer))
	})
	if err == nil && m.done != nil {
		err = m.done()
	}
	return err
}

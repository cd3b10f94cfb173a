package imapd

import (
	"bytes"
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"mailbox/internal/login"
)

// mechanisms are what this connection may log in with.
func (c *conn) mechanisms() []string {
	return login.Mechanisms(c.tlsState, c.cfg.PlaintextLogin)
}

// capabilities depend on the state: what is meaningless in it is left out.
func (c *conn) capabilities() string {
	caps := []string{"IMAP4rev1", "IMAP4rev2", "LITERAL+", "SASL-IR", "ENABLE", "ID"}
	if c.state == notAuthenticated {
		if c.tlsState == nil && c.s.TLS != nil {
			caps = append(caps, "STARTTLS")
		}
		mechanisms := c.mechanisms()
		if len(mechanisms) == 0 {
			caps = append(caps, "LOGINDISABLED")
		}
		for _, m := range mechanisms {
			caps = append(caps, "AUTH="+m)
		}
		return strings.Join(caps, " ")
	}
	caps = append(caps, "CONDSTORE", "QRESYNC", "ESEARCH", "SEARCHRES", "LIST-EXTENDED", "LIST-METADATA", "LIST-STATUS", "UTF8=ACCEPT")
	caps = append(caps, "CHILDREN", "IDLE", "NAMESPACE", "UIDPLUS", "MOVE", "UNSELECT", "SPECIAL-USE", "CREATE-SPECIAL-USE",
		"STATUS=SIZE", "APPENDLIMIT="+strconv.FormatInt(c.cfg.AppendLimit, 10))
	caps = append(caps, "BINARY", "COMPRESS=DEFLATE", "INPROGRESS", "METADATA", "MULTIAPPEND", "OBJECTID", "SAVEDATE", "PREVIEW", "QUOTA", "QUOTA=RES-STORAGE", "REPLACE", "UNAUTHENTICATE", "WITHIN")
	caps = append(caps, "SORT", "ESORT", "PARTIAL", "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT")
	return strings.Join(caps, " ")
}

func (c *conn) capability(context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	c.untagged("CAPABILITY %s", c.capabilities())
	return ok{text: "CAPABILITY completed"}, nil
}

func (c *conn) noop(context.Context) (ok, error) {
	return ok{text: "completed"}, c.dec.CRLF()
}

func (c *conn) logout(context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	c.enc.Status("*", "BYE", "", "logging out")
	return ok{}, errLogout
}

// identify reads what the client says of itself, and says our name (RFC 2971).
func (c *conn) identify(context.Context) (ok, error) {
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	var err error
	if next, perr := c.dec.Peek(); perr != nil {
		err = perr
	} else if next == '(' {
		n := 0
		err = c.dec.List(func() error {
			if n++; n > 60 { // RFC 2971 section 3.3: 30 pairs
				return bad("more than 30 fields")
			}
			_, _, err := c.dec.NString()
			return err
		})
	} else {
		err = c.dec.ExpectWord("NIL")
	}
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	c.untagged(`ID ("name" "Mailbox")`)
	return ok{text: "ID completed"}, nil
}

func (c *conn) startTLS(ctx context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	if c.tlsState != nil || c.s.TLS == nil {
		return ok{}, bad("STARTTLS is not available")
	}
	if c.dec.Buffered()+len(c.pushed) > 0 { // somebody between may have put it there
		return ok{}, &connError{bad("data behind STARTTLS")}
	}
	return ok{}, errStartTLS
}

func (c *conn) login(ctx context.Context) (ok, error) {
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	name, err := c.dec.Astring()
	if err != nil {
		return ok{}, err
	}
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	password, err := c.dec.Astring()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	if len(c.mechanisms()) == 0 {
		return ok{}, errPrivacy
	}
	id, err := c.s.Auth.Password(ctx, name, password, c.addr)
	return c.finishLogin(&id, err)
}

var errPrivacy = no("PRIVACYREQUIRED", "use TLS before a login")

func (c *conn) finishLogin(id *login.Identity, err error) (ok, error) {
	if err != nil {
		c.failed++
		c.s.stats.failedLogins.Add(1)
		return ok{}, err
	}
	c.loggedIn(*id)
	return ok{"CAPABILITY " + c.capabilities(), "logged in"}, nil
}

// authenticate runs a SASL exchange (RFC 3501 section 6.2.2, RFC 4959).
func (c *conn) authenticate(ctx context.Context) (ok, error) {
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	mechanism, err := c.dec.Word()
	if err != nil {
		return ok{}, err
	}
	var message []byte
	if more, err := c.dec.Accept(' '); err != nil {
		return ok{}, err
	} else if more {
		text, err := c.dec.Line()
		if err != nil {
			return ok{}, err
		}
		if message, err = decodeBase64(text); err != nil {
			return ok{}, err
		}
	} else if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	if len(c.mechanisms()) == 0 {
		return ok{}, errPrivacy
	}
	x, err := c.s.Auth.Start(mechanism, c.addr, c.tlsState)
	for err == nil {
		var challenge []byte
		var id *login.Identity
		challenge, id, err = x.Next(ctx, message)
		if err != nil || id != nil {
			return c.finishLogin(id, err)
		}
		message, err = c.challenge(challenge)
	}
	return ok{}, err
}

// challenge sends a challenge and returns the client's answer.
func (c *conn) challenge(challenge []byte) ([]byte, error) {
	c.enc.Continue(base64.StdEncoding.EncodeToString(challenge))
	text, err := c.line()
	if err != nil {
		return nil, err
	}
	if string(text) == "*" {
		return nil, bad("authentication cancelled")
	}
	return decodeBase64(text)
}

// decodeBase64 decodes what a client says. Nothing is "=" in an initial response
// (RFC 4959 section 3), and go-imap says so in later ones too.
func decodeBase64(text []byte) ([]byte, error) {
	if string(text) == "=" {
		return []byte{}, nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(out, bytes.TrimSpace(text))
	if err != nil {
		return nil, bad("malformed base64")
	}
	return out[:n], nil
}

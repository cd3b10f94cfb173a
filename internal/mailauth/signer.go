package mailauth

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"mailbox/internal/message"
)

// A Signer signs messages with all of its Keys, which are of one domain. It
// signs whatever it is given: that the message is of that domain is for the
// caller to know, and AuthorDomain tells.
type Signer struct {
	Keys []Key
}

// oversigned are the fields that nobody may add either: what readers see, and
// what says how the body is read (RFC 6376 section 5.4.1 and 8.15).
var oversigned = []string{
	"From", "Reply-To", "Subject", "Date", "To", "Cc", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

// signedIfThere are fields that mailing lists may add.
var signedIfThere = []string{
	"Sender", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Date", "Resent-Message-ID",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post",
	"List-Owner", "List-Archive", "Autocrypt",
}

// Sign returns the DKIM-Signature fields to put on top of a message, one for
// each key, in lines that end in CRLF (RFC 6376 section 5). header is that of
// the message as it will leave, body what follows the empty line, which is read
// to its end once.
func (s *Signer) Sign(header message.Header, body io.Reader) ([]byte, error) {
	if len(header.All("From")) == 0 {
		return nil, errors.New("sign: there is no From field")
	}
	hash := newBodyHash(true)
	if _, err := io.Copy(hash, body); err != nil {
		return nil, fmt.Errorf("sign: body: %w", err)
	}
	hash.finish()
	d := newDigest(header)
	names := d.toSign()
	now := time.Now()
	var fields []byte
	for _, key := range s.Keys {
		field, err := key.sign(d, names, hash.done, now)
		if err != nil {
			return nil, fmt.Errorf("sign: %s: %w", key.Name(), err)
		}
		fields = append(fields, field...)
	}
	return fields, nil
}

// maxOfName bounds the fields of one name that are signed.
const maxOfName = 20

// toSign lists the names of the fields to sign, each as often as there are
// such fields, and the oversigned ones once more.
func (d *digest) toSign() []string {
	var names []string
	add := func(name string, more int) {
		for range min(len(d.named[strings.ToLower(name)])+more, maxOfName) {
			names = append(names, name)
		}
	}
	for _, name := range oversigned {
		add(name, 1)
	}
	for _, name := range signedIfThere {
		add(name, 0)
	}
	return names
}

func (k Key) sign(d *digest, names []string, bodyHash []byte, now time.Time) ([]byte, error) {
	domain, goodDomain := asciiDomain(k.Domain)
	selector, goodSelector := asciiDomain(k.Selector)
	if !goodDomain || !goodSelector {
		return nil, errors.New("not a domain name")
	}
	algorithm, err := k.algorithm()
	if err != nil {
		return nil, err
	}
	var w folder
	w.word("DKIM-Signature: v=1;")
	for _, tag := range []string{"a=" + string(algorithm) + "-sha256", "c=relaxed/relaxed", "d=" + domain, "s=" + selector, fmt.Sprintf("t=%d", now.Unix())} {
		w.word(" " + tag + ";")
	}
	w.word(" h=" + names[0])
	for _, name := range names[1:] {
		w.word(":" + name)
	}
	w.word(";")
	w.word(" bh=" + base64.StdEncoding.EncodeToString(bodyHash) + ";")
	w.word(" b=")
	s, err := parseSignature(&message.Field{Name: "DKIM-Signature", Raw: []byte(w.String() + "AA==\r\n")})
	if err != nil {
		return nil, err
	}
	digest, hash := d.of(s), crypto.SHA256
	if algorithm == Ed25519 {
		hash = 0 // it signs the digest as if that were the message (RFC 8463 section 3)
	}
	value, err := k.Private.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, err
	}
	for text := base64.StdEncoding.EncodeToString(value); text != ""; {
		n := min(len(text), 64)
		w.word(text[:n])
		text = text[n:]
	}
	return []byte(w.String() + "\r\n"), nil
}

// A folder writes a header field in lines of at most 76 octets, where no word
// is longer than that (RFC 5322 section 2.2.3).
type folder struct {
	strings.Builder
	line int
}

// word adds a piece that is not broken. A line may end before it.
func (f *folder) word(s string) {
	if f.line > 0 && f.line+len(s) > 76 {
		f.WriteString("\r\n\t")
		f.line = 1
		s = strings.TrimPrefix(s, " ")
	}
	f.WriteString(s)
	f.line += len(s)
}

package mailauth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailbox/internal/message"
)

// maxSigned bounds the fields that one signature may name.
const maxSigned = 1000

// A signature is what one of the fields DKIM-Signature, ARC-Message-Signature
// and ARC-Seal says. They share their syntax and most of their tags.
type signature struct {
	field     *message.Field
	tags      tagList
	algorithm string // "rsa" or "ed25519"
	domain    string // in A-labels
	selector  string // likewise
	value     []byte // b=

	identityDomain string // of i=, or else domain

	// What signatures of messages have besides.
	fields        []string // h=, in lower case
	relaxedHeader bool
	relaxedBody   bool
	bodyHash      []byte
	length        int64 // l=; -1 where there is none
}

// parseSeal reads what all three have. What it could read it returns with a
// flaw too, so that the flaw can be reported.
func parseSeal(f *message.Field) (*signature, error) {
	_, value, _ := strings.Cut(string(f.Raw), ":")
	s := &signature{field: f, length: -1}
	var ok bool
	if s.tags, ok = parseTags(value); !ok {
		return s, flaw{PermError, "signature is malformed"}
	}
	d, _ := s.tags.get("d")
	selector, _ := s.tags.get("s")
	var goodDomain, goodSelector bool
	s.domain, goodDomain = asciiDomain(d)
	s.selector, goodSelector = asciiDomain(selector)
	if !goodDomain || !goodSelector {
		return s, flaw{PermError, "signature names no key"}
	}
	s.identityDomain = s.domain
	algorithm, _ := s.tags.get("a")
	switch strings.ToLower(algorithm) {
	case "rsa-sha256":
		s.algorithm = "rsa"
	case "ed25519-sha256": // RFC 8463 section 3
		s.algorithm = "ed25519"
	case "rsa-sha1": // RFC 8301 section 3.1
		return s, flaw{Policy, "SHA-1 is too weak"}
	default:
		return s, flaw{PermError, "unknown algorithm"}
	}
	if s.value, ok = s.tags.base64("b"); !ok {
		return s, flaw{PermError, "signature is malformed"}
	}
	return s, nil
}

// parseSignature reads what else a signature of a message has.
func parseSignature(f *message.Field) (*signature, error) {
	s, err := parseSeal(f)
	if err != nil {
		return s, err
	}
	var ok bool
	if s.bodyHash, ok = s.tags.base64("bh"); !ok {
		return s, flaw{PermError, "signature is malformed"}
	}
	s.fields = s.tags.words("h")
	if !slices.Contains(s.fields, "from") { // RFC 6376 section 5.4
		return s, flaw{PermError, "From is not signed"}
	}
	if len(s.fields) > maxSigned {
		return s, flaw{PermError, "too many signed fields"}
	}
	if q := s.tags.words("q"); q != nil && !slices.Contains(q, "dns/txt") {
		return s, flaw{PermError, "unknown way to get the key"}
	}
	if err := s.canonicalization(); err != nil {
		return s, err
	}
	if l, ok := s.tags.get("l"); ok {
		if s.length, ok = decimal(l); !ok {
			return s, flaw{PermError, "signature is malformed"}
		}
	}
	return s, s.times()
}

// parseDKIM reads a DKIM-Signature (RFC 6376 section 3.5).
func parseDKIM(f *message.Field) (*signature, error) {
	s, err := parseSignature(f)
	if err != nil {
		return s, err
	}
	if v, _ := s.tags.get("v"); v != "1" {
		return s, flaw{PermError, "unknown version"}
	}
	if i, ok := s.tags.get("i"); ok {
		s.identityDomain, ok = asciiDomain(i[strings.LastIndexByte(i, '@')+1:])
		if !ok || !strings.Contains(i, "@") || !isOrUnder(s.identityDomain, s.domain) {
			return s, flaw{PermError, "identity is not of the domain that signed"}
		}
	}
	return s, nil
}

// canonicalization reads c= (RFC 6376 section 3.5).
func (s *signature) canonicalization() error {
	c, _ := s.tags.get("c")
	header, body, _ := strings.Cut(strings.ToLower(dropSpace(c)), "/")
	for _, each := range []struct {
		name    string
		relaxed *bool
	}{{header, &s.relaxedHeader}, {body, &s.relaxedBody}} {
		switch each.name {
		case "relaxed":
			*each.relaxed = true
		case "", "simple":
		default:
			return flaw{PermError, "unknown canonicalization"}
		}
	}
	return nil
}

// times reads t= and x= (RFC 6376 section 3.5). A signature from the future is
// one of a clock that is wrong.
func (s *signature) times() error {
	made, expires := int64(-1), int64(-1)
	for name, to := range map[string]*int64{"t": &made, "x": &expires} {
		if text, ok := s.tags.get(name); ok {
			if *to, ok = decimal(text); !ok {
				return flaw{PermError, "signature is malformed"}
			}
		}
	}
	switch {
	case expires < 0:
		return nil
	case expires <= made:
		return flaw{PermError, "signature expires before it was made"}
	case time.Now().Unix() > expires:
		return flaw{Fail, "signature has expired"}
	}
	return nil
}

// decimal reads a number of digits only. One that is too large is the largest.
func decimal(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseInt(s, 10, 64) // at most out of range, which gives the largest
	return n, true
}

// A digest finds what signatures signed of one header.
type digest struct {
	header message.Header
	named  map[string][]int // where the fields of a name in lower case stand
}

func newDigest(h message.Header) *digest {
	d := &digest{h, map[string][]int{}}
	for i, f := range h {
		if f.Name != "" {
			name := strings.ToLower(f.Name)
			d.named[name] = append(d.named[name], i)
		}
	}
	return d
}

// of returns the hash that the signature s signs (RFC 6376 section 3.7). Of
// fields with the same name the last comes first (section 5.4.2); s's own is
// none of them, for it was not there yet.
func (d *digest) of(s *signature) []byte {
	sum := sha256.New()
	var buf []byte
	used := map[string]int{}
	for _, name := range s.fields {
		at := d.named[name]
		for used[name]++; used[name] <= len(at); used[name]++ {
			f := &d.header[at[len(at)-used[name]]]
			if f != s.field {
				buf = appendField(buf[:0], f.Raw, s.relaxedHeader)
				sum.Write(buf)
				break
			}
		}
	}
	buf = appendField(buf[:0], s.unsigned(), s.relaxedHeader)
	sum.Write(bytes.TrimSuffix(buf, []byte("\r\n")))
	return sum.Sum(nil)
}

// unsigned returns the field as it was when it was signed: b= is empty.
func (s *signature) unsigned() []byte {
	b, _ := s.tags.find("b")
	colon := bytes.IndexByte(s.field.Raw, ':') + 1
	return slices.Concat(s.field.Raw[:colon+b.from], s.field.Raw[colon+b.to:])
}

// verify tells what is wrong with a signature of a message, or returns nil.
func (s *signature) verify(key *publicKey, d *digest, b *bodies) error {
	switch {
	case key.algorithm != s.algorithm:
		return flaw{PermError, "key is of another kind"}
	case key.hashes != nil && !slices.Contains(key.hashes, "sha256"):
		return flaw{PermError, "key is not for SHA-256"}
	case key.exact && s.identityDomain != s.domain:
		return flaw{PermError, "key is not for subdomains"}
	}
	hash, length := b.of(s.relaxedBody)
	switch {
	case s.length > length:
		return flaw{PermError, "l= is more than there is"}
	case s.length >= 0 && s.length < length: // RFC 6376 section 8.2
		return flaw{Policy, "l= leaves a part of the body unsigned"}
	case subtle.ConstantTimeCompare(hash, s.bodyHash) != 1:
		return flaw{Fail, "body has been changed"}
	case !key.verify(d.of(s), s.value):
		return flaw{Fail, "signature does not match"}
	}
	return nil
}

// bodies are the hashes of one body in the two canonical forms; those that
// nobody asked for are nil.
type bodies [2]*bodyHash

func (b *bodies) need(relaxed bool) {
	i := index(relaxed)
	if b[i] == nil {
		b[i] = newBodyHash(relaxed)
	}
}

func (b *bodies) of(relaxed bool) (hash []byte, length int64) {
	h := b[index(relaxed)]
	return h.done, h.length
}

func index(relaxed bool) int {
	if relaxed {
		return 1
	}
	return 0
}

// read hashes a body, if any hash of it is needed.
func (b *bodies) read(body io.Reader) error {
	var to []io.Writer
	for _, h := range b {
		if h != nil {
			to = append(to, h)
		}
	}
	if to == nil {
		return nil
	}
	if _, err := io.Copy(io.MultiWriter(to...), body); err != nil {
		return err
	}
	for _, h := range b {
		if h != nil {
			h.finish()
		}
	}
	return nil
}

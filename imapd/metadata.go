package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// The bounds of one GETMETADATA or SETMETADATA.
const (
	maxEntries    = 100
	maxEntryName  = 255
	maxValuesSize = 256 << 10 // octets of all values together
)

// annotated reads a space and the name of what is annotated: a mailbox, or with
// the empty name the server, which for us is the account (RFC 5464 section 3.2).
func (c *conn) annotated() (name string, server bool, err error) {
	if err := c.dec.SP(); err != nil {
		return "", false, err
	}
	raw, err := c.dec.Mailbox()
	if err != nil || raw == "" || c.enc.UTF8 {
		return raw, raw == "", err
	}
	if name, err = wire.DecodeUTF7(raw); err != nil {
		return "", false, nil // no mailbox has the empty name
	}
	return name, false, nil
}

// annotatedID finds the mailbox; 0 is the server.
func (c *conn) annotatedID(ctx context.Context, name string, server bool) (storage.Mailbox, error) {
	if server {
		return storage.Mailbox{}, nil
	}
	return c.s.Store.Mailbox(ctx, c.account, name)
}

// entryName reads the name of an entry, in lower case, since case does not
// matter (RFC 5464 section 3.2).
func (c *conn) entryName() (string, error) {
	name, err := c.dec.Astring()
	if err != nil {
		return "", err
	}
	return cleanEntry(name)
}

func cleanEntry(name string) (string, error) {
	odd := func(r rune) bool { return r == '*' || r == '%' || r <= 0x19 || r >= 0x7f }
	switch {
	case len(name) > maxEntryName:
		return "", bad(fmt.Sprintf("name of an entry is over %d octets", maxEntryName))
	case name == "" || name[0] != '/' || strings.HasSuffix(name, "/") || strings.Contains(name, "//") || strings.ContainsFunc(name, odd):
		return "", bad("malformed name of an entry")
	}
	name = strings.ToLower(name)
	root, _, _ := strings.Cut(name[1:], "/")
	if root != "private" && root != "shared" {
		return "", bad("the name of an entry begins with /private or /shared")
	}
	return name, nil
}

// A metadataQuery is what GETMETADATA asks for.
type metadataQuery struct {
	entries []string
	depth   int // of what is below them too; below 0 is all
	maxSize uint64
}

// getMetadata is GETMETADATA (RFC 5464 section 4.2).
func (c *conn) getMetadata(ctx context.Context) (ok, error) {
	q := metadataQuery{maxSize: math.MaxUint64}
	options, err := c.dec.ListFollows()
	if err == nil && options {
		err = c.queryList(&q)
	}
	if err != nil {
		return ok{}, err
	}
	name, server, err := c.annotated()
	if err != nil {
		return ok{}, err
	}
	for len(q.entries) == 0 { // options stood here in the RFC's first examples
		if err := c.dec.SP(); err != nil {
			return ok{}, err
		}
		if err := c.queryList(&q); err != nil {
			return ok{}, err
		}
	}
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	m, err := c.annotatedID(ctx, name, server)
	if err != nil {
		return ok{}, err
	}
	all, err := c.s.Store.Annotations(ctx, c.account, m.ID)
	if err != nil {
		return ok{}, err
	}
	found, longest := q.choose(all)
	c.tellMetadata(m.Name, found)
	if longest > 0 {
		return ok{fmt.Sprintf("METADATA LONGENTRIES %d", longest), "GETMETADATA completed"}, nil
	}
	return ok{text: "GETMETADATA completed"}, nil
}

// queryList reads entries, or options, in parentheses, or one entry without.
func (c *conn) queryList(q *metadataQuery) error {
	next, err := c.dec.Peek()
	if err != nil {
		return err
	}
	if next != '(' {
		return c.queryItem(q)
	}
	n := 0
	err = c.dec.List(func() error {
		if n++; n > maxEntries {
			return bad("too many entries")
		}
		return c.queryItem(q)
	})
	if err == nil && n == 0 {
		return bad("expected an entry")
	}
	return err
}

func (c *conn) queryItem(q *metadataQuery) error {
	word, err := c.dec.Astring()
	if err != nil {
		return err
	}
	switch strings.ToUpper(word) {
	case "MAXSIZE":
		if err = c.dec.SP(); err == nil {
			q.maxSize, err = c.dec.Number64()
		}
		return err
	case "DEPTH":
		if err = c.dec.SP(); err == nil {
			q.depth, err = c.depth()
		}
		return err
	}
	if word, err = cleanEntry(word); err == nil {
		q.entries = append(q.entries, word)
	}
	return err
}

func (c *conn) depth() (int, error) {
	word, err := c.dec.Word()
	switch {
	case err != nil:
		return 0, err
	case word == "0":
		return 0, nil
	case word == "1":
		return 1, nil
	case word == "INFINITY":
		return -1, nil
	}
	return 0, bad("DEPTH is 0, 1 or infinity")
}

// choose returns the annotations that are asked for, each once, and the size of
// the longest value that is left out for its size. An entry that is asked for by
// its name and is not there comes without a value.
func (q *metadataQuery) choose(all []storage.Annotation) (found []storage.Annotation, longest int) {
	for _, a := range all {
		for _, e := range q.entries {
			if !a.Below(e, q.depth) {
				continue
			}
			if uint64(len(a.Value)) > q.maxSize {
				longest = max(longest, len(a.Value))
			} else {
				found = append(found, a)
			}
			break
		}
	}
	there := map[string]bool{}
	for _, a := range all {
		there[a.Entry] = true
	}
	for _, e := range q.entries {
		if !there[e] && q.depth == 0 {
			there[e] = true
			found = append(found, storage.Annotation{Entry: e})
		}
	}
	return found, longest
}

// tellMetadata sends annotations with their values (RFC 5464 section 4.4.1).
func (c *conn) tellMetadata(name string, list []storage.Annotation) {
	if len(list) == 0 {
		return
	}
	c.enc.Raw("* METADATA ")
	c.enc.Mailbox(name)
	c.enc.SP()
	c.enc.List(len(list), func(i int) {
		a := list[i]
		c.enc.Write(append(wire.AppendAstring(nil, a.Entry, false), ' ')) //nolint:errcheck // the encoder keeps its error
		if bytes.IndexByte(a.Value, 0) >= 0 {
			c.enc.LiteralBytes(a.Value, true)
			return
		}
		c.enc.NString(string(a.Value), a.Value != nil)
	})
	c.enc.CRLF()
}

// setMetadata is SETMETADATA (RFC 5464 section 4.3): all of it or nothing.
func (c *conn) setMetadata(ctx context.Context) (ok, error) {
	name, server, err := c.annotated()
	if err == nil {
		err = c.dec.SP()
	}
	if err != nil {
		return ok{}, err
	}
	var list []storage.Annotation
	room := int64(maxValuesSize)
	err = c.dec.List(func() error {
		a, err := c.annotation(room)
		if err != nil {
			return err
		}
		room -= int64(len(a.Value))
		if list = append(list, a); len(list) > maxEntries {
			return bad("too many entries")
		}
		return nil
	})
	if err == nil {
		err = c.dec.CRLF()
	}
	switch {
	case err != nil:
		return ok{}, err
	case len(list) == 0:
		return ok{}, bad("expected an entry")
	}
	m, err := c.annotatedID(ctx, name, server)
	if err != nil {
		return ok{}, err
	}
	for _, a := range list {
		if server && a.Entry == "/shared/admin" { // RFC 5464 section 6.2.1
			return ok{}, no("NOPERM", "only the operator sets this entry")
		}
		if strings.Count(a.Entry, "/") < 2 {
			return ok{}, no("CANNOT", "there is no such entry")
		}
	}
	err = c.s.Store.SetAnnotations(ctx, c.account, m.ID, list)
	if errors.Is(err, storage.ErrLimit) {
		err = no("METADATA TOOMANY", "too many annotations")
	}
	return ok{text: "SETMETADATA completed"}, err
}

// annotation reads an entry and its value, NIL for none, of at most room octets.
func (c *conn) annotation(room int64) (a storage.Annotation, err error) {
	if a.Entry, err = c.entryName(); err != nil {
		return a, err
	}
	if err = c.dec.SP(); err != nil {
		return a, err
	}
	next, err := c.dec.Peek()
	if err != nil {
		return a, err
	}
	if next == '{' || next == '~' {
		a.Value, err = c.annotationLiteral(room)
		return a, err
	}
	s, present, err := c.dec.NString()
	if present {
		a.Value = []byte(s)
	}
	if err == nil && int64(len(s)) > min(room, storage.MaxAnnotation) {
		err = errLongAnnotation(room)
	}
	return a, err
}

func (c *conn) annotationLiteral(room int64) ([]byte, error) {
	c.upload = func(size int64) error {
		if size > min(room, storage.MaxAnnotation) {
			return errLongAnnotation(room)
		}
		return nil
	}
	literal, err := c.dec.LiteralReader()
	c.upload = nil
	if err != nil {
		return nil, err
	}
	value := make([]byte, literal.Size)
	if _, err := io.ReadFull(literal, value); err != nil {
		return nil, err
	}
	if !literal.Binary && bytes.IndexByte(value, 0) >= 0 {
		return nil, bad("NUL is allowed in a binary literal only")
	}
	return value, nil
}

func errLongAnnotation(room int64) error {
	if room < storage.MaxAnnotation {
		return no("LIMIT", fmt.Sprintf("values of one command are over %d octets", maxValuesSize))
	}
	return no(fmt.Sprintf("METADATA MAXSIZE %d", storage.MaxAnnotation), "value is too long")
}

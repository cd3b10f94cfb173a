package imapd

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// The patterns of one LIST may be so many, and have this together.
const (
	maxPatterns      = 100
	maxPatternOctets = 4000
	maxWildcards     = 100
)

var errPatterns = &wire.LimitError{Text: "too many patterns or wildcards, or too long ones", Max: maxPatterns}

// A listOption selects mailboxes, or says what is told of them (RFC 5258
// sections 3.1 and 3.2, RFC 6154 section 5.2).
type listOption uint8

const (
	listSubscribed listOption = 1 << iota
	listSpecialUse
	listRemote // there are none
	listRecursive
	listChildren
)

// selectOptions is never changed.
var selectOptions = map[string]listOption{
	"SUBSCRIBED": listSubscribed, "SPECIAL-USE": listSpecialUse, "REMOTE": listRemote, "RECURSIVEMATCH": listRecursive,
}

// returnOptions is never changed. Special uses are told unasked.
var returnOptions = map[string]listOption{
	"SUBSCRIBED": listSubscribed, "SPECIAL-USE": listSpecialUse, "CHILDREN": listChildren,
}

// A listing is a LIST as its client asked for it.
type listing struct {
	extended bool // any option, or several patterns (RFC 5258 section 3)
	selects  listOption
	returns  listOption
	status   []string       // the items of STATUS that are told (RFC 5819)
	metadata *metadataQuery // the annotations that are told (RFC 9590); nil: none
	patterns []string

	parents map[string]bool // names with an existing mailbox below them
	below   map[string]bool // names with a selected one below them, if that matters
}

// listing reads the arguments of LIST, to the end of the line.
func (c *conn) listing() (*listing, error) {
	l := &listing{}
	if err := c.dec.SP(); err != nil {
		return nil, err
	}
	next, err := c.dec.Peek()
	if err != nil {
		return nil, err
	}
	if next == '(' {
		if err := c.listSelect(l); err != nil {
			return nil, err
		}
	}
	reference, err := c.mailboxName()
	if err == nil {
		err = c.dec.SP()
	}
	if err == nil {
		err = c.listPatterns(l, reference)
	}
	if err != nil {
		return nil, err
	}
	more, err := c.dec.Accept(' ')
	if err == nil && more {
		err = c.listReturn(l)
	}
	if err == nil {
		err = c.dec.CRLF()
	}
	return l, err
}

// listSelect reads the selection options and the space behind them.
func (c *conn) listSelect(l *listing) error {
	l.extended = true
	err := c.dec.Words(func(word string) error {
		if selectOptions[word] == 0 {
			return bad("unknown selection option " + word)
		}
		l.selects |= selectOptions[word]
		return nil
	})
	if err != nil {
		return err
	}
	if l.selects&listRecursive != 0 && l.selects&(listSubscribed|listSpecialUse) == 0 {
		return bad("RECURSIVEMATCH needs something that is to match")
	}
	return c.dec.SP()
}

// listPatterns reads one pattern, or several in parentheses.
func (c *conn) listPatterns(l *listing, reference string) error {
	octets, wild := 0, 0
	read := func() error {
		p, err := c.listPattern(reference)
		if err != nil {
			return err
		}
		l.patterns = append(l.patterns, p)
		octets, wild = octets+len(p), wild+wildcards(p)
		if octets > maxPatternOctets || wild > maxWildcards || len(l.patterns) > maxPatterns {
			return errPatterns
		}
		return nil
	}
	next, err := c.dec.Peek()
	if err != nil {
		return err
	}
	if next != '(' {
		return read()
	}
	l.extended = true
	if err := c.dec.List(read); err != nil {
		return err
	}
	if len(l.patterns) == 0 {
		return bad("expected a pattern")
	}
	return nil
}

// listReturn reads RETURN and its options.
func (c *conn) listReturn(l *listing) error {
	l.extended = true
	if err := c.dec.ExpectWord("RETURN"); err != nil {
		return err
	}
	if err := c.dec.SP(); err != nil {
		return err
	}
	return c.dec.Words(func(word string) error {
		if word == "STATUS" {
			err := c.dec.SP()
			if err == nil {
				l.status, err = c.statusItems()
			}
			return err
		}
		if word == "METADATA" {
			if err := c.dec.SP(); err != nil {
				return err
			}
			l.metadata = &metadataQuery{maxSize: math.MaxUint64}
			return c.queryList(l.metadata)
		}
		if returnOptions[word] == 0 {
			return bad("unknown return option " + word)
		}
		l.returns |= returnOptions[word]
		return nil
	})
}

// look finds out what the tree of names says of single ones.
func (l *listing) look(boxes []storage.Mailbox) {
	l.parents = parentsOf(boxes)
	if l.selects&listRecursive == 0 {
		return
	}
	l.below = map[string]bool{}
	for _, m := range boxes {
		if !l.selected(m) {
			continue
		}
		for name := range parentNames(m.Name) {
			l.below[name] = true
		}
	}
}

func (l *listing) fits(name string) bool {
	return slices.ContainsFunc(l.patterns, func(p string) bool { return match(p, name) })
}

// selected tells whether the selection options name a mailbox. A name without
// a mailbox is there as a parent, or as a subscription.
func (l *listing) selected(m storage.Mailbox) bool {
	if l.selects&listSubscribed != 0 {
		if !m.Subscribed {
			return false
		}
	} else if !m.Exists && !l.parents[m.Name] {
		return false
	}
	return l.selects&listSpecialUse == 0 || m.SpecialUse != ""
}

// listOne sends what was asked for of one mailbox.
func (c *conn) listOne(ctx context.Context, l *listing, m storage.Mailbox) error {
	var values []int64
	var notes []storage.Annotation
	var err error
	more := m.Exists && l.selected(m)
	if more && l.status != nil {
		values, err = c.statusValues(ctx, m, l.status)
	}
	if more && l.metadata != nil && err == nil {
		if notes, err = c.s.Store.Annotations(ctx, c.account, m.ID); err == nil {
			notes, _ = l.metadata.choose(notes)
		}
	}
	if errors.Is(err, storage.ErrNonexistent) { // it went meanwhile (RFC 5819 section 2)
		more, err = false, nil
	}
	if err != nil {
		return err
	}
	c.listLine("LIST", l.attributes(m), m.Name, l.childInfo(m))
	if more && l.status != nil {
		c.tellStatus(m, l.status, values)
	}
	if more {
		c.tellMetadata(m.Name, notes)
	}
	return nil
}

// attributes are those of RFC 9051 section 7.3.1.
func (l *listing) attributes(m storage.Mailbox) (attrs []string) {
	if !m.Exists {
		attrs = append(attrs, `\NonExistent`)
		if !l.extended { // who asks in the old way may know only this
			attrs = append(attrs, `\Noselect`)
		}
	}
	if (l.selects|l.returns)&listSubscribed != 0 && m.Subscribed {
		attrs = append(attrs, `\Subscribed`)
	}
	if !l.extended || l.returns&listChildren != 0 {
		if l.parents[m.Name] {
			attrs = append(attrs, `\HasChildren`)
		} else {
			attrs = append(attrs, `\HasNoChildren`)
		}
	}
	if m.SpecialUse != "" {
		attrs = append(attrs, m.SpecialUse)
	}
	return attrs
}

// childInfo says which options select something below a mailbox (RFC 5258 section 4).
func (l *listing) childInfo(m storage.Mailbox) string {
	if !l.below[m.Name] {
		return ""
	}
	var options []string
	if l.selects&listSubscribed != 0 {
		options = append(options, `"SUBSCRIBED"`)
	}
	if l.selects&listSpecialUse != 0 {
		options = append(options, `"SPECIAL-USE"`)
	}
	return `"CHILDINFO" (` + strings.Join(options, " ") + `)`
}

// withParents adds the names above subscriptions whose mailboxes are gone.
func withParents(boxes []storage.Mailbox) []storage.Mailbox {
	known := map[string]bool{}
	for _, m := range boxes {
		known[m.Name] = true
	}
	all := slices.Clone(boxes)
	for _, m := range boxes {
		for name := range parentNames(m.Name) {
			if !known[name] {
				known[name] = true
				all = append(all, storage.Mailbox{Name: name})
			}
		}
	}
	slices.SortFunc(all, func(a, b storage.Mailbox) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// parentNames yields the names above a name, the innermost first.
func parentNames(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name, '/') {
			if name = name[:i]; !yield(name) {
				return
			}
		}
	}
}

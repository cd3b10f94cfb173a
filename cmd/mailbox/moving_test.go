package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A moved is a message as any IMAP server shows it.
type moved struct {
	date  string // in UTC
	flags string // sorted
	sum   string // of the octets
}

// mailOf reads all mail of a user from an IMAP server without TLS, by mailbox,
// whose levels are parted by "/".
func mailOf(t testing.TB, address, user, password string) map[string][]moved {
	t.Helper()
	c, err := imapclient.DialInsecure(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(user, password).Wait(); err != nil {
		t.Fatal(err)
	}
	if c.Caps().Has(imap.CapIMAP4rev2) {
		if _, err := c.Enable(imap.CapIMAP4rev2).Wait(); err != nil { // it writes names in UTF-8 as soon as that is announced
			t.Fatal(err)
		}
	}
	boxes, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]moved{}
	for _, b := range boxes {
		if slices.Contains(b.Attrs, imap.MailboxAttrNoSelect) {
			continue
		}
		name := strings.ReplaceAll(b.Mailbox, string(b.Delim), "/")
		all[name] = nil
		s, err := c.Select(b.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatalf("%s: %v", b.Mailbox, err)
		}
		if s.NumMessages == 0 {
			continue
		}
		section := &imap.FetchItemBodySection{Peek: true}
		got, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			t.Fatalf("%s: %v", b.Mailbox, err)
		}
		for _, m := range got {
			all[name] = append(all[name], moved{m.InternalDate.UTC().Format(time.RFC3339), flagText(m.Flags), fmt.Sprintf("%.8x", sha256.Sum256(m.FindBodySection(section)))})
		}
	}
	return all
}

// flagText puts flags in order, without \Recent.
func flagText(flags []imap.Flag) string {
	var names []string
	for _, f := range flags {
		if !strings.EqualFold(string(f), `\Recent`) {
			names = append(names, strings.ToLower(string(f)))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// sameMail compares what two servers show, but for empty mailboxes.
func sameMail(t testing.TB, got, want map[string][]moved) {
	t.Helper()
	for name, list := range want {
		if !slices.Equal(got[name], list) {
			t.Errorf("mailbox %q: %d messages, want %d; the first that differs: %v", name, len(got[name]), len(list), difference(got[name], list))
		}
	}
	for name, list := range got {
		if _, ok := want[name]; !ok && len(list) > 0 {
			t.Errorf("there is a mailbox %q with %d messages", name, len(list))
		}
	}
}

func difference(got, want []moved) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("number %d is %v, want %v", i+1, got[i], want[i])
		}
	}
	return "the end"
}

package pull

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbox/admin/archive"
)

// An account is a Destination in memory.
type account struct {
	mu        sync.Mutex
	mailboxes map[string]*box
	pulled    map[Origin]map[uint32]*pulledMessage

	refuse func(Item) error // for one message
	broken error            // of every Add
}

type box struct {
	archive.Mailbox
	messages []*stored
}

type stored struct {
	text     string
	received time.Time
	flags    map[string]bool
}

type pulledMessage struct {
	Known
	copy *stored
}

func newAccount() *account {
	return &account{mailboxes: map[string]*box{}, pulled: map[Origin]map[uint32]*pulledMessage{}}
}

func (a *account) Create(_ context.Context, m archive.Mailbox) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.mailboxes[m.Name]
	if b == nil {
		b = &box{Mailbox: m}
		a.mailboxes[m.Name] = b
	}
	b.Subscribed = b.Subscribed || m.Subscribed
	return nil
}

func (a *account) Known(_ context.Context, o Origin, yield func(Known) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pulled[o] {
		if err := yield(p.Known); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) Copies(_ context.Context, o Origin, yield func(Copy) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, p := range a.pulled[o] {
		if !slices.Contains(a.mailboxes[p.Mailbox].messages, p.copy) {
			continue
		}
		c := Copy{UID: uid, Size: int64(len(p.copy.text)), SHA256: sha256.Sum256([]byte(p.copy.text))}
		if err := yield(c); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) Add(ctx context.Context, mailbox string, o Origin, items []Item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return a.broken
	}
	b := a.mailboxes[mailbox]
	if b == nil {
		return fmt.Errorf("there is no mailbox %q", mailbox)
	}
	copies := make([]*stored, len(items))
	for i, item := range items {
		if a.refuse != nil {
			if err := a.refuse(item); err != nil {
				return &Refused{UID: item.UID, Err: err}
			}
		}
		text, err := io.ReadAll(item.Content)
		if err != nil {
			return err
		}
		if int64(len(text)) != item.Size || sha256.Sum256(text) != item.SHA256 {
			return fmt.Errorf("UID %d is not what it says", item.UID)
		}
		copies[i] = &stored{string(text), item.Received, map[string]bool{}}
		for _, f := range item.Flags {
			copies[i].flags[f] = true
		}
	}
	for i, item := range items {
		a.remember(b, o, item, copies[i])
	}
	return nil
}

// remember adds a message, if it is not there already.
func (a *account) remember(b *box, o Origin, item Item, c *stored) {
	if a.pulled[o] == nil {
		a.pulled[o] = map[uint32]*pulledMessage{}
	}
	if a.pulled[o][item.UID] != nil {
		return
	}
	taken := map[*stored]bool{}
	for _, p := range a.pulled[o] {
		taken[p.copy] = true
	}
	i := slices.IndexFunc(b.messages, func(s *stored) bool {
		return !taken[s] && s.text == c.text && s.received.Unix() == c.received.Unix()
	})
	if i >= 0 {
		c = b.messages[i]
	} else {
		b.messages = append(b.messages, c)
	}
	a.pulled[o][item.UID] = &pulledMessage{Known{item.UID, b.Name, item.Flags, item.Size, item.SHA256}, c}
}

func (a *account) Change(_ context.Context, o Origin, changes []Change) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range changes {
		p := a.pulled[o][c.UID]
		if p == nil {
			return fmt.Errorf("UID %d is not known", c.UID)
		}
		if c.Gone {
			delete(a.pulled[o], c.UID)
			b := a.mailboxes[p.Mailbox]
			if c.Remove {
				b.messages = slices.DeleteFunc(b.messages, func(s *stored) bool { return s == p.copy })
			}
			continue
		}
		for _, f := range p.Flags {
			if !slices.Contains(c.Flags, f) {
				delete(p.copy.flags, f)
			}
		}
		for _, f := range c.Flags {
			if !slices.Contains(p.Flags, f) {
				p.copy.flags[f] = true
			}
		}
		p.Flags = c.Flags
	}
	return nil
}

// has calls f while nothing changes.
func (a *account) has(f func() bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return f()
}

// messages describes what is in a mailbox, in its order.
func (a *account) messages(mailbox string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.mailboxes[mailbox]
	if b == nil {
		return nil
	}
	var out []string
	for _, s := range b.messages {
		out = append(out, describe(s.text, s.received, slices.Collect(maps.Keys(s.flags))))
	}
	return out
}

// everything describes all mailboxes and what is in them.
func (a *account) everything() []string {
	a.mu.Lock()
	boxes := slices.Collect(maps.Values(a.mailboxes))
	a.mu.Unlock()
	var out []string
	for _, b := range boxes {
		out = append(out, fmt.Sprintf("%s %s %v", b.Name, b.SpecialUse, b.Subscribed))
		for i, m := range a.messages(b.Name) {
			out = append(out, fmt.Sprintf("%s %d: %s", b.Name, i, m))
		}
	}
	sort.Strings(out)
	return out
}

func describe(text string, received time.Time, flags []string) string {
	slices.Sort(flags)
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%d octets %x, %s, %s", len(text), sum[:6], received.Format(time.RFC3339), strings.Join(flags, " "))
}

// same fails the test with the first lines that differ.
func same(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	shown := 0
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w && shown < 5 {
			t.Errorf("here  %s\nthere %s", g, w)
			shown++
		}
	}
	t.Errorf("%d lines here, %d there", len(got), len(want))
}

var errBroken = errors.New("the disk is full")

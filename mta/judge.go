package mta

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mailbox/internal/mailauth"
	"mailbox/internal/message"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// A judgment is what is to become of a message because of who sent it.
type judgment struct {
	refuse  *smtpd.Status
	suspect map[storage.AccountID]bool // they get it in Junk
	met     []string                   // who sent it, as far as that is certain
	reasons []string                   // in words, for the operator
}

func (j *judgment) because(format string, args ...any) {
	j.reasons = append(j.reasons, fmt.Sprintf(format, args...))
}

// refused makes it a refusal.
func (j *judgment) refused(enhanced, format string, args ...any) {
	j.refuse = smtpd.Reply(550, enhanced, fmt.Sprintf(format, args...))
}

// evidence is what is known of a message and its sender.
type evidence struct {
	header  message.Header
	long    bool // there is more of the header than we look into
	results *mailauth.Results
	listed  []Listing
}

// judge decides about a message: what the operator says comes first, then what
// the owner of the author's domain wants (DMARC), then what blocklists say. What
// an account knows from before counts for it.
func (t *session) judge(ctx context.Context, m *Message, e evidence) (*judgment, error) {
	h, r := e.header, e.results
	j := &judgment{suspect: map[storage.AccountID]bool{}}
	author := authorOf(h, r)
	said := t.operatorSays(author, m.From, j)
	if j.refuse != nil {
		return j, nil
	}
	var known, lists []string
	if author != "" && r.DMARC.Result == mailauth.Pass {
		known = []string{"from " + author}
	}
	lists = listIdentities(h, r)
	j.met = append(known, lists...)
	if said == "accept" {
		return j, nil
	}
	if e.long {
		j.because("the header is longer than what is looked into")
	}
	if said == "junk" || e.long {
		j.suspect = m.everyone()
	}
	if err := t.obeyOwner(ctx, m, r, lists, j); err != nil || j.refuse != nil {
		return j, err
	}
	return j, t.obeyBlocklists(ctx, m, e.listed, known, j)
}

// operatorSays applies the policy for the author or, where it has none, for
// the reverse-path.
func (t *session) operatorSays(author, from string, j *judgment) (action string) {
	for _, sender := range []string{author, from} {
		if action = t.s.Store.SenderPolicy(sender); action != "" {
			j.because("the operator's policy for %s: %s", sender, action)
			break
		}
	}
	if action == "reject" {
		j.refused("5.7.1", "mail from this sender is not wanted here")
	}
	return action
}

// obeyOwner does what the owner of the author's domain wants, except for
// accounts that know the list by which the message comes.
func (t *session) obeyOwner(ctx context.Context, m *Message, r *mailauth.Results, lists []string, j *judgment) error {
	d := r.DMARC.Disposition
	if d == mailauth.DispositionNone {
		return nil
	}
	vouched := 0
	for _, to := range m.To {
		known, err := t.knows(ctx, to.Account, lists, t.s.trust)
		if err != nil {
			return err
		}
		if known {
			vouched++
			j.because("%s knows the mailing list by which it comes", to.Address)
		} else {
			j.suspect[to.Account] = true
		}
	}
	if r.DMARC.Record == "" {
		j.because("nobody can tell who the author is: %s", r.DMARC.Reason)
	} else {
		j.because("DMARC: %s wants %s", r.DMARC.Record, d)
	}
	if d == mailauth.DispositionReject && vouched == 0 {
		j.refused("5.7.26", "%s says that mail in its name is to be refused where neither SPF nor DKIM proves it, as here (DMARC)", r.DMARC.Record)
	}
	return nil
}

// obeyBlocklists refuses what comes from a listed address, unless the sender is
// certain and known to one of the recipients.
func (t *session) obeyBlocklists(ctx context.Context, m *Message, listed []Listing, known []string, j *judgment) error {
	if len(listed) == 0 {
		return nil
	}
	for _, l := range listed {
		j.because("the peer's address is on the blocklist %s (%s)", l.Zone, l.Text)
	}
	for _, to := range m.To {
		ok, err := t.knows(ctx, to.Account, known, trust{messages: 1})
		if err != nil {
			return err
		}
		if ok {
			j.because("%s has had mail from this sender", to.Address)
			return nil
		}
	}
	j.refused("5.7.1", "your address %s is on the blocklist %s: %s", t.conn.Addr(), listed[0].Zone, listed[0].Text)
	return nil
}

// everyone is all local recipients.
func (m *Message) everyone() map[storage.AccountID]bool {
	all := map[storage.AccountID]bool{}
	for _, to := range m.To {
		all[to.Account] = true
	}
	return all
}

// trust is how well someone must be known to be vouched for.
type trust struct {
	messages int
	age      time.Duration
}

// listTrust keeps a stranger from making a list known in a few minutes.
var listTrust = trust{messages: 3, age: 24 * time.Hour}

// knows tells whether an account knows one of who that well.
func (t *session) knows(ctx context.Context, account storage.AccountID, who []string, how trust) (bool, error) {
	for _, w := range who {
		a, err := t.s.Store.Acquainted(ctx, account, w)
		if err != nil {
			return false, fmt.Errorf("acquaintances: %w", err)
		}
		if a.Messages >= how.messages && time.Since(a.First) >= how.age {
			return true, nil
		}
	}
	return false, nil
}

// authorOf is the one address in From, in the form in which addresses are kept.
func authorOf(h message.Header, r *mailauth.Results) string {
	if r.DMARC.Domain == "" {
		return ""
	}
	list := message.ParseAddresses(h.Get("From"))
	if len(list) != 1 {
		return ""
	}
	clean, err := storage.ParseAddress(list[0].Mailbox + "@" + list[0].Host)
	if err != nil {
		return ""
	}
	return clean
}

// maxListIdentities bounds the domains that may stand for one list.
const maxListIdentities = 5

// listIdentities names the mailing list by which a message comes (RFC 2919),
// together with each domain that is certain to have sent it.
func listIdentities(h message.Header, r *mailauth.Results) []string {
	value := h.Get("List-Id")
	begin, end := strings.LastIndexByte(value, '<'), strings.LastIndexByte(value, '>')
	if begin < 0 || end < begin || end-begin > 256 {
		return nil
	}
	id := strings.ToLower(strings.Join(strings.Fields(value[begin+1:end]), ""))
	var all []string
	add := func(domain string) {
		if domain != "" && len(all) < maxListIdentities {
			all = appendNew(all, []string{"list " + id + " " + domain})
		}
	}
	for _, s := range r.DKIM {
		if s.Result == mailauth.Pass {
			add(s.Domain)
		}
	}
	if r.MailFrom.Result == mailauth.Pass {
		add(r.MailFrom.Domain)
	}
	return all
}

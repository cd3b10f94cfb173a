package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A SenderPolicy is what the operator wants done with mail of a sender,
// whatever the checks say.
type SenderPolicy struct {
	Sender  string // an address, or a domain ("@domain" is the same), for which its subdomains count too
	Action  string // "accept", "junk" or "reject"
	Note    string // why
	Created time.Time
}

// SetSenderPolicy adds or replaces a policy. ErrInvalid: sender is neither an
// address nor a domain, or there is no such action.
func (db *DB) SetSenderPolicy(ctx context.Context, p SenderPolicy) error {
	sender, err := cleanSender(p.Sender)
	if err != nil {
		return err
	}
	switch p.Action {
	case "accept", "junk", "reject":
	default:
		return fmt.Errorf("action %q is none of accept, junk, reject: %w", p.Action, ErrInvalid)
	}
	return db.changePolicies(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO sender_policy (sender, action, note, created) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET action = excluded.action, note = excluded.note`, sender, p.Action, p.Note, now())
	})
}

// changePolicies changes the rows, and then what SenderPolicy answers.
func (db *DB) changePolicies(ctx context.Context, change func(t *tx) error) error {
	db.policies.changing.Lock()
	defer db.policies.changing.Unlock()
	if err := db.writer.do(ctx, change); err != nil {
		return err
	}
	return db.loadPolicies(context.WithoutCancel(ctx))
}

// policies are the actions by sender, in memory: every message asks for some,
// and there are few.
type policies struct {
	changing sync.Mutex
	actions  atomic.Pointer[map[string]string]
}

func (db *DB) loadPolicies(ctx context.Context) error {
	list, err := db.SenderPolicies(ctx)
	if err != nil {
		return err
	}
	actions := make(map[string]string, len(list))
	for _, p := range list {
		actions[p.Sender] = p.Action
	}
	db.policies.actions.Store(&actions)
	return nil
}

func cleanSender(s string) (string, error) {
	if domain := strings.TrimPrefix(s, "@"); !strings.Contains(domain, "@") {
		return cleanDomain(domain)
	}
	return ParseAddress(s)
}

// RemoveSenderPolicy forgets one. ErrNotFound: there is none.
func (db *DB) RemoveSenderPolicy(ctx context.Context, sender string) error {
	sender, err := cleanSender(sender)
	if err != nil {
		return err
	}
	return db.changePolicies(ctx, func(t *tx) error {
		n, err := t.affected(`DELETE FROM sender_policy WHERE sender = ?`, sender)
		if err == nil && n == 0 {
			err = fmt.Errorf("policy for %s: %w", sender, ErrNotFound)
		}
		return err
	})
}

// SenderPolicies returns all policies.
func (db *DB) SenderPolicies(ctx context.Context) ([]SenderPolicy, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT sender, action, note, created FROM sender_policy ORDER BY sender`)
	return collect(rows, err, func(scan func(...any) error) (p SenderPolicy, err error) {
		var created int64
		err = scan(&p.Sender, &p.Action, &p.Note, &created)
		p.Created = time.Unix(created, 0)
		return p, err
	})
}

// SenderPolicy returns the action for mail of an address: that of the address,
// else that of its domain or of the nearest one above. "" means that there is none.
func (db *DB) SenderPolicy(address string) (action string) {
	clean, err := ParseAddress(address)
	if err != nil {
		return ""
	}
	actions := *db.policies.actions.Load()
	_, domain, _ := cutAddress(clean)
	for _, sender := range append([]string{clean}, andAbove(domain)...) {
		if action := actions[sender]; action != "" {
			return action
		}
	}
	return ""
}

// andAbove are a domain and those above it, at most ten, the nearest first.
func andAbove(domain string) []string {
	var list []string
	for len(list) < 10 {
		list = append(list, domain)
		_, up, ok := strings.Cut(domain, ".")
		if !ok {
			break
		}
		domain = up
	}
	return list
}

// maxAcquaintances is how many of them an account may have for long; those not
// seen for the longest time are forgotten.
const maxAcquaintances = 10_000

// meet notes whose mail an account has had.
func (t *tx) meet(account AccountID, who []string, at int64) error {
	for _, w := range who {
		err := t.exec(`INSERT INTO acquaintance (account, who, messages, first, last) VALUES (?1, ?2, 1, ?3, ?3)
			ON CONFLICT DO UPDATE SET messages = messages + 1, last = excluded.last`, account, w, at)
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetAcquaintances leaves every account those that it met last.
func (t *tx) forgetAcquaintances() error {
	rows, err := t.query(`SELECT account FROM acquaintance GROUP BY account HAVING count(*) > ?`, maxAcquaintances)
	accounts, err := collect(rows, err, func(scan func(...any) error) (a AccountID, err error) { return a, scan(&a) })
	for _, a := range accounts {
		err = errors.Join(err, t.exec(`DELETE FROM acquaintance WHERE account = ?1 AND who IN
			(SELECT who FROM acquaintance WHERE account = ?1 ORDER BY last DESC LIMIT -1 OFFSET ?2)`, a, maxAcquaintances))
	}
	return err
}

// An Acquaintance is someone whose mail an account has had.
type Acquaintance struct {
	Messages int
	First    time.Time // of the first of them
}

const selectAcquaintance = `SELECT messages, first FROM acquaintance WHERE account = ? AND who = ?`

// Acquainted tells how well an account knows someone; not at all is no error.
func (db *DB) Acquainted(ctx context.Context, account AccountID, who string) (a Acquaintance, err error) {
	var first int64
	err = db.reads.acquaintance.QueryRowContext(ctx, account, who).Scan(&a.Messages, &first)
	if errors.Is(err, sql.ErrNoRows) {
		return a, nil
	}
	a.First = time.Unix(first, 0)
	return a, classify(err)
}

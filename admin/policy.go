package admin

import (
	"context"
	"fmt"
	"time"

	"mailbox/storage"
)

// A Policy is what becomes of mail of a sender, whatever the checks say.
type Policy struct {
	Sender  string    `json:"sender"`         // an address, or a domain with its subdomains
	Action  string    `json:"action"`         // "accept", "junk" or "reject"
	Note    string    `json:"note,omitempty"` // at most 500 octets
	Created time.Time `json:"created,omitzero"`
}

// A PolicyRef names a policy by its sender.
type PolicyRef struct {
	Sender string `json:"sender"`
}

const maxNote = 500

func (a *API) policyList(ctx context.Context, _ None) ([]Policy, error) {
	policies, err := a.DB.SenderPolicies(ctx)
	all := make([]Policy, 0, len(policies))
	for _, p := range policies {
		all = append(all, Policy(p))
	}
	return all, err
}

// policyAdd takes the place of what was there for the sender.
func (a *API) policyAdd(ctx context.Context, in Policy) (None, error) {
	if len(in.Note) > maxNote {
		return None{}, fmt.Errorf("the note is longer than %d octets: %w", maxNote, storage.ErrInvalid)
	}
	return None{}, a.DB.SetSenderPolicy(ctx, storage.SenderPolicy(in))
}

func (a *API) policyRemove(ctx context.Context, in PolicyRef) (None, error) {
	return None{}, a.DB.RemoveSenderPolicy(ctx, in.Sender)
}

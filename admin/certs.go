package admin

import (
	"context"
	"time"
)

// Certificates are those that a running server hands out.
type Certificates interface {
	Certificates() []Certificate                  // that of the host is the first
	Renew(ctx context.Context, newKey bool) error // asks the CA now; what comes is in use when it returns
}

// A Certificate is one that is in use.
type Certificate struct {
	Names       []string   `json:"names"`
	Source      string     `json:"source"` // "acme", "files", "self-signed"
	Issuer      string     `json:"issuer"`
	Serial      string     `json:"serial"` // hexadecimal
	From        time.Time  `json:"from"`
	Until       time.Time  `json:"until"`
	TLSA        string     `json:"tlsa"`                   // data of the TLSA record of its key (RFC 6698)
	NextTLSA    string     `json:"next_tlsa,omitempty"`    // the same of the key that comes next
	Problem     string     `json:"problem,omitempty"`      // why the CA gave none
	NextAttempt *time.Time `json:"next_attempt,omitempty"` // when it is asked again
}

func (a *API) certList(context.Context, None) ([]Certificate, error) {
	if a.Certificates == nil {
		return nil, errNeedsServer
	}
	return append([]Certificate{}, a.Certificates.Certificates()...), nil
}

// A Renewal asks for new certificates.
type Renewal struct {
	NewKey bool `json:"new_key"` // the next key becomes the one in use
}

func (a *API) certRenew(ctx context.Context, in Renewal) ([]Certificate, error) {
	if a.Certificates == nil {
		return nil, errNeedsServer
	}
	if err := a.Certificates.Renew(ctx, in.NewKey); err != nil {
		return nil, err
	}
	return a.certList(ctx, None{})
}

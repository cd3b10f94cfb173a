package storage

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The bounds of a mailbox name, in octets and levels.
const (
	maxComponent = 255
	maxName      = 1000
	maxLevels    = 20
)

// CleanName brings a mailbox name to the form in which it is kept: NFC, INBOX
// in capitals also as the first component (RFC 9051 section 5.1), no trailing
// separator. It fails with ErrInvalid for a name that no mailbox may have.
func CleanName(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", fmt.Errorf("mailbox name is not UTF-8: %w", ErrInvalid)
	}
	name = Normalize(strings.TrimSuffix(name, "/"))
	if len(name) > maxName {
		return "", fmt.Errorf("mailbox name is longer than %d octets: %w", maxName, ErrInvalid)
	}
	components := strings.Split(name, "/")
	if len(components) > maxLevels {
		return "", fmt.Errorf("mailbox name has more than %d levels: %w", maxLevels, ErrInvalid)
	}
	for _, c := range components {
		if err := checkComponent(c); err != nil {
			return "", err
		}
	}
	if strings.EqualFold(components[0], "INBOX") {
		name = "INBOX" + name[len("INBOX"):]
	}
	return name, nil
}

// Normalize brings text that is to be compared with names to the form that
// they are kept in (RFC 5198 section 2).
func Normalize(s string) string { return norm.NFC.String(s) }

func checkComponent(c string) error {
	if c == "" {
		return fmt.Errorf("mailbox name has an empty component: %w", ErrInvalid)
	}
	if len(c) > maxComponent {
		return fmt.Errorf("component of a mailbox name is longer than %d octets: %w", maxComponent, ErrInvalid)
	}
	for _, r := range c {
		if r == '*' || r == '%' || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("mailbox name holds %q: %w", r, ErrInvalid)
		}
	}
	return nil
}

// parents yields the names above a name, the outermost first.
func parents(name string) []string {
	var out []string
	for i, r := range name {
		if r == '/' {
			out = append(out, name[:i])
		}
	}
	return out
}

// below is the range in which all names under a mailbox lie: from ≤ name < to.
// ('0' is the character after the separator.)
func below(name string) (from, to string) { return name + "/", name + "0" }

func splitKeywords(s string) []string { return strings.Fields(s) }

func joinKeywords(names []string) string { return strings.Join(names, " ") }

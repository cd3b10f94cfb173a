package pull

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// fail records that a message cannot be pulled, and keeps aside what there is
// of it. part may be nil.
func (r *run) fail(m *mailbox, e entry, reason error, part *content) error {
	f := Failure{UID: e.uid, Size: e.size, Reason: reason.Error()}
	if r.Aside != "" {
		path, err := r.keepAside(m, f, part)
		if err != nil {
			return &localError{fmt.Errorf("keep aside: %w", err)}
		}
		f.Aside = path
	}
	r.Log.Warn("a message cannot be pulled", "mailbox", m.wire, "uid", e.uid, "err", reason, "aside", f.Aside)
	r.mu.Lock()
	defer r.mu.Unlock()
	m.failed[e.uid] = f
	r.dismiss(m, e.size)
	return nil
}

// keepAside writes what there is of a message, and why that is all. It returns
// the name of the message's file, or of the reason's if there is no other.
func (r *run) keepAside(m *mailbox, f Failure, part *content) (string, error) {
	if err := os.MkdirAll(r.Aside, 0o700); err != nil {
		return "", err
	}
	base := filepath.Join(r.Aside, asideName(m.origin, f.UID))
	why := fmt.Sprintf("source: %s\nmailbox: %q\nUIDVALIDITY: %d\nUID: %d\nsize: %d\nreason: %q\n",
		r.source, m.wire, m.origin.UIDValidity, f.UID, f.Size, f.Reason)
	if err := os.WriteFile(base+".txt", []byte(why), 0o600); err != nil {
		return "", err
	}
	if part == nil {
		return base + ".txt", nil
	}
	w, err := os.OpenFile(base+".eml", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(w, part.reader())
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	return base + ".eml", err
}

// asideName names the files of a message: the same in every run, another for
// every message, and nothing in it that the source could choose but letters and
// digits.
func asideName(o Origin, uid uint32) string {
	plain := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, o.Mailbox)
	id := sha256.Sum256([]byte(o.Source + "\x00" + o.Mailbox))
	return fmt.Sprintf("%s-%x-%d-%d", plain[:min(len(plain), 40)], id[:4], o.UIDValidity, uid)
}

package imapsql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	imapsql "github.com/foxcpp/go-imap-sql"
	"golang.org/x/sys/unix"

	"mailbox/admin/archive"
)

// What the files are called in maddy's state directory.
const (
	databaseName = "imapsql.db"
	messagesName = "messages"
)

// A Store is a new store of maddy's.
type Store struct {
	backend *imapsql.Backend
	dir     string
}

// Create makes a store in a directory, which is made where it is missing. There
// must be none in it yet.
func Create(dir string) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, messagesName), 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, databaseName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s is there already; give an empty directory", path)
	}
	if err != nil {
		return nil, err
	}
	f.Close() //nolint:errcheck // nothing was written
	b, err := imapsql.New("sqlite", storeURI(path), lateStore{imapsql.FSStore{Root: filepath.Join(dir, messagesName)}},
		imapsql.Opts{Log: silent{}, PRNG: validities{}})
	if err != nil {
		return nil, err
	}
	return &Store{b, dir}, nil
}

// validities draws UIDVALIDITY numbers. The library's own begin anew each second.
type validities struct{}

// Uint32 implements imapsql.Rand.
func (validities) Uint32() uint32 { return rand.Uint32N(1<<31-1) + 1 }

// Close makes the store durable: the files of the messages, then the database
// that names them.
func (s *Store) Close() error {
	err := s.backend.Close()
	d, derr := os.Open(s.dir)
	if derr != nil {
		return errors.Join(err, derr)
	}
	defer d.Close()
	return errors.Join(err, unix.Syncfs(int(d.Fd())))
}

// lateStore leaves the fsync of each message to Close of the store.
type lateStore struct{ imapsql.FSStore }

type lateFile struct{ imapsql.ExtStoreObj }

// Sync implements imapsql.ExtStoreObj.
func (lateFile) Sync() error { return nil }

// Create implements imapsql.ExternalStore.
func (l lateStore) Create(key string, size int64) (imapsql.ExtStoreObj, error) {
	f, err := l.FSStore.Create(key, size)
	if err != nil {
		return nil, err
	}
	return lateFile{f}, nil
}

// Open implements imapsql.ExternalStore.
func (l lateStore) Open(key string) (imapsql.ExtStoreObj, error) { return l.FSStore.Open(key) }

// Delete implements imapsql.ExternalStore.
func (l lateStore) Delete(keys []string) error { return l.FSStore.Delete(keys) }

// A Writer writes the mail of one user.
type Writer struct {
	user  *imapsql.User
	names map[string]bool // that are taken
	box   *imapsql.Mailbox
}

var _ archive.Writer = (*Writer)(nil)

// User makes a user, who must be new.
func (s *Store) User(address string) (*Writer, error) {
	users, err := s.backend.ListUsers()
	if err == nil && slices.Contains(users, strings.ToLower(address)) {
		err = fmt.Errorf("user %s is there already", address)
	}
	if err == nil {
		err = s.backend.CreateUser(address)
	}
	if err != nil {
		return nil, err
	}
	u, err := s.backend.GetUser(address)
	if err != nil {
		return nil, err
	}
	return &Writer{user: u.(*imapsql.User), names: map[string]bool{"INBOX": true}}, nil
}

// Mailbox implements archive.Writer.
func (w *Writer) Mailbox(_ context.Context, m archive.Mailbox) error {
	name := m.Name
	if name != "INBOX" {
		name = w.nameTo(m.Name)
		create := func() error { return w.user.CreateMailbox(name) }
		if m.SpecialUse != "" {
			create = func() error {
				err := w.user.CreateMailboxSpecial(name, m.SpecialUse)
				if errors.Is(err, imapsql.ErrUnsupportedSpecialAttr) {
					err = w.user.CreateMailbox(name)
				}
				return err
			}
		}
		if err := create(); err != nil {
			return err
		}
	}
	if err := w.user.SetSubscribed(name, m.Subscribed); err != nil {
		return err
	}
	_, box, err := w.user.GetMailbox(name, false, nil)
	if err != nil {
		return err
	}
	w.box = box.(*imapsql.Mailbox)
	return nil
}

// nameTo turns our levels into maddy's. A parent comes before what is below it,
// so the library makes none on its own.
func (w *Writer) nameTo(name string) string {
	base := strings.ReplaceAll(strings.ReplaceAll(name, imapsql.MailboxPathSep, "_"), "/", imapsql.MailboxPathSep)
	fit := base
	for n := 2; w.names[fit]; n++ {
		fit = fmt.Sprintf("%s (%d)", base, n)
	}
	w.names[fit] = true
	return fit
}

// Message implements archive.Writer. A message that the library does not take is
// an archive.RefusedError.
func (w *Writer) Message(_ context.Context, m *archive.Message) error {
	octets, err := io.ReadAll(m.Content)
	if err != nil {
		return err
	}
	if err := w.box.CreateMessage(m.Flags, m.Received, bytes.NewBuffer(octets)); err != nil {
		return &archive.RefusedError{Err: err, Content: octets}
	}
	return nil
}

// Close implements archive.Writer. What was written is durable when the Store is closed.
func (w *Writer) Close() error { return nil }

// fileURI is the name of a database for the driver.
func fileURI(path string, params ...string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(params, "&")
}

// storeURI is the name of a database that nobody else has, and that is not
// needed before it is closed.
func storeURI(path string) string {
	return fileURI(path, "_pragma=foreign_keys(1)", "_pragma=journal_mode(wal)", "_pragma=synchronous(off)", "_pragma=busy_timeout(60000)", "_txlock=immediate")
}

// silent is a logger of the library; what matters it returns too.
type silent struct{}

// Printf implements imapsql.Logger.
func (silent) Printf(string, ...any) {}

// Println implements imapsql.Logger.
func (silent) Println(...any) {}

// Debugf implements imapsql.Logger.
func (silent) Debugf(string, ...any) {}

// Debugln implements imapsql.Logger.
func (silent) Debugln(...any) {}

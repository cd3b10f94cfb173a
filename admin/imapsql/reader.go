// Package imapsql reads and writes the mail stores of maddy, by the library
// that maddy itself keeps them with (go-imap-sql).
package imapsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	imapsql "github.com/foxcpp/go-imap-sql"
	"github.com/klauspost/compress/zstd"
	_ "github.com/lib/pq" // the driver "postgres"
	"github.com/pierrec/lz4"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"mailbox/admin/archive"
)

// A Source says where a store is.
type Source struct {
	Path     string // of the database's file, or of the directory that has imapsql.db; or the DSN of a PostgreSQL database
	Messages string // directory of the messages; "" is "messages" beside the database's file
	User     string // whose mail is read; maddy's users are addresses
}

// A Reader reads the mail of one user.
type Reader struct {
	backend  *imapsql.Backend
	messages string
	dir      string // with our copy of the database; "" where there is none
	user     int64
	boxes    map[string]int64
}

var _ archive.Reader = (*Reader)(nil)

// Open opens a store. To open one writes to it, so that of SQLite is copied
// first, which may be done while maddy runs.
func Open(ctx context.Context, src Source) (_ *Reader, err error) {
	r := &Reader{messages: src.Messages}
	driver, dsn := "postgres", src.Path
	if !isPostgres(src.Path) {
		driver = "sqlite"
		if dsn, err = r.copySQLite(ctx, src.Path); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	if r.messages == "" {
		return nil, errors.Join(errors.New("where are the messages? a PostgreSQL store keeps them in a directory of its own"), r.Close())
	}
	if err := checkMessages(r.messages); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if r.backend, err = imapsql.New(driver, dsn, &imapsql.FSStore{Root: r.messages}, imapsql.Opts{Log: silent{}}); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", src.Path, err), r.Close())
	}
	err = r.backend.DB.QueryRowContext(ctx, `SELECT id FROM users WHERE username = $1`, strings.ToLower(src.User)).Scan(&r.user)
	if errors.Is(err, sql.ErrNoRows) {
		users, _ := r.backend.ListUsers() // for the message only
		err = fmt.Errorf("the store has no user %q; it has %s", src.User, strings.Join(users, ", "))
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func isPostgres(s string) bool {
	return strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") || strings.Contains(s, "dbname=")
}

func checkMessages(dir string) error {
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s is no directory", dir)
	}
	if err != nil {
		return fmt.Errorf("the messages: %w", err)
	}
	return nil
}

// copySQLite makes a copy of a database as it is at one moment.
func (r *Reader) copySQLite(ctx context.Context, path string) (dsn string, err error) {
	if st, err := os.Stat(path); err != nil {
		return "", err
	} else if st.IsDir() {
		path = filepath.Join(path, databaseName)
	}
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	if r.messages == "" {
		r.messages = filepath.Join(filepath.Dir(path), messagesName)
	}
	if r.dir, err = os.MkdirTemp("", "mailbox-imapsql-*"); err != nil {
		return "", err
	}
	from, err := sql.Open("sqlite", fileURI(path, "mode=ro", "_pragma=busy_timeout(60000)"))
	if err != nil {
		return "", err
	}
	defer from.Close()
	copied := filepath.Join(r.dir, databaseName)
	if _, err := from.ExecContext(ctx, `VACUUM INTO ?`, copied); err != nil {
		return "", fmt.Errorf("copy %s: %w", path, err)
	}
	return storeURI(copied), nil
}

// Mailboxes implements archive.Reader.
func (r *Reader) Mailboxes(ctx context.Context) ([]archive.Mailbox, error) {
	rows, err := r.backend.DB.QueryContext(ctx, `SELECT b.id, b.name, b.sub, coalesce(b.specialuse, ''), count(m.msgId), coalesce(sum(m.bodyLen), 0)
		FROM mboxes b LEFT JOIN msgs m ON m.mboxId = b.id WHERE b.uid = $1 GROUP BY b.id, b.name, b.sub, b.specialuse ORDER BY b.name`, r.user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	r.boxes = map[string]int64{}
	var all []archive.Mailbox
	for rows.Next() {
		var m archive.Mailbox
		var id int64
		var name string
		if err := rows.Scan(&id, &name, &m.Subscribed, &m.SpecialUse, &m.Messages, &m.Bytes); err != nil {
			return nil, err
		}
		m.Name = nameFrom(name)
		for n := 2; r.boxes[m.Name] != 0; n++ {
			m.Name = fmt.Sprintf("%s (%d)", nameFrom(name), n)
		}
		r.boxes[m.Name] = id
		all = append(all, m)
	}
	return all, rows.Err()
}

// nameFrom turns maddy's levels, which are parted by dots, into ours.
func nameFrom(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "/", "_"), imapsql.MailboxPathSep, "/")
}

// A row is a message in the database.
type row struct {
	uid       int64
	date      int64
	size      int64
	key       sql.NullString // of its file
	algorithm sql.NullString // of its compression, with parameters
	flags     []string
}

// slice is how many rows are read at a time.
const slice = 500

// Messages implements archive.Reader.
func (r *Reader) Messages(ctx context.Context, mailbox string, yield func(*archive.Message) error) error {
	if r.boxes == nil {
		if _, err := r.Mailboxes(ctx); err != nil {
			return err
		}
	}
	id, ok := r.boxes[mailbox]
	if !ok {
		return fmt.Errorf("the store has no mailbox %q", mailbox)
	}
	for after := int64(0); ; {
		rows, err := r.rows(ctx, id, after)
		if err != nil {
			return err
		}
		for _, m := range rows {
			after = m.uid
			if err := r.message(m, yield); err != nil {
				return err
			}
		}
		if len(rows) < slice {
			return nil
		}
	}
}

func (r *Reader) rows(ctx context.Context, mailbox, after int64) ([]row, error) {
	rows, err := r.backend.DB.QueryContext(ctx, fmt.Sprintf(`SELECT msgId, date, bodyLen, extBodyKey, compressAlgo FROM msgs
		WHERE mboxId = $1 AND msgId > $2 ORDER BY msgId LIMIT %d`, slice), mailbox, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []row
	at := map[int64]int{}
	for rows.Next() {
		var m row
		if err := rows.Scan(&m.uid, &m.date, &m.size, &m.key, &m.algorithm); err != nil {
			return nil, err
		}
		at[m.uid] = len(all)
		all = append(all, m)
	}
	if err := rows.Err(); err != nil || len(all) == 0 {
		return nil, err
	}
	flags, err := r.backend.DB.QueryContext(ctx, `SELECT msgId, flag FROM flags WHERE mboxId = $1 AND msgId BETWEEN $2 AND $3 ORDER BY msgId, flag`,
		mailbox, all[0].uid, all[len(all)-1].uid)
	if err != nil {
		return nil, err
	}
	defer flags.Close()
	for flags.Next() {
		var uid int64
		var flag string
		if err := flags.Scan(&uid, &flag); err != nil {
			return nil, err
		}
		if i, ok := at[uid]; ok && !strings.EqualFold(flag, `\Recent`) {
			all[i].flags = append(all[i].flags, flag)
		}
	}
	return all, flags.Err()
}

// message yields one message. The octets come from its file as they are: the
// library would render the header anew, and leave out what it does not understand.
func (r *Reader) message(m row, yield func(*archive.Message) error) error {
	out := &archive.Message{Place: fmt.Sprintf("message %d, file %s", m.uid, m.key.String), Received: time.Unix(m.date, 0).UTC(), Flags: m.flags}
	if m.key.String == "" || m.key.String != filepath.Base(m.key.String) {
		out.Err = fmt.Errorf("the database names no file that could hold it: %q", m.key.String)
		return yield(out)
	}
	f, err := os.Open(filepath.Join(r.messages, m.key.String))
	if err != nil {
		out.Err = err
		return yield(out)
	}
	defer f.Close()
	content, done, err := decompressed(f, m.algorithm.String)
	if err != nil {
		out.Err, out.Content = err, f
		return yield(out)
	}
	defer done()
	out.Content = &exact{r: content, want: m.size}
	return yield(out)
}

func decompressed(r io.Reader, algorithm string) (_ io.Reader, done func(), err error) {
	name, _, _ := strings.Cut(algorithm, " ")
	switch name {
	case "":
		return r, func() {}, nil
	case "lz4":
		return lz4.NewReader(r), func() {}, nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return nil, nil, fmt.Errorf("its compression %q is unknown", name)
}

// exact fails at the end of a file that has not the length that the database says.
type exact struct {
	r         io.Reader
	got, want int64
}

// Read implements io.Reader.
func (e *exact) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	e.got += int64(n)
	if errors.Is(err, io.EOF) && e.got != e.want {
		err = fmt.Errorf("its file has %d octets, the database says %d", e.got, e.want)
	}
	return n, err
}

// Close implements archive.Reader.
func (r *Reader) Close() error {
	var err error
	if r.backend != nil {
		err = r.backend.Close()
	}
	if r.dir != "" {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	return err
}

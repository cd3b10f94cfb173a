package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"mailbox/internal/message"
)

// spoolMemory is how much of a message is kept in memory, and in rows; more
// goes to a file.
const spoolMemory = 256 << 10

// A Spool takes the bytes of a message while they come in. It holds up to 256
// KiB in memory, the rest in a file that nobody else knows.
type Spool struct {
	db      *DB
	builder *message.Builder
	buf     []byte
	size    int64
	w       *frameWriter // nil while all is in memory
	onDisk  bool
	err     error
}

// NewSpool begins a message. Finish or Discard must follow.
func (db *DB) NewSpool() *Spool { return &Spool{db: db, builder: message.NewBuilder()} }

// Size is how many bytes were written.
func (s *Spool) Size() int64 { return s.size }

// Write takes the next bytes. ErrNoSpace: the disk is full.
func (s *Spool) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.builder.Write(p)
	s.size += int64(len(p))
	n := len(p)
	for len(p) > 0 {
		room := min(spoolMemory-len(s.buf), len(p))
		s.buf = append(s.buf, p[:room]...)
		p = p[room:]
		if len(p) > 0 {
			if s.err = s.flush(); s.err != nil {
				return 0, s.err
			}
		}
	}
	return n, nil
}

// flush moves what is in memory to the file.
func (s *Spool) flush() error {
	if !s.db.writer.reserve.there() {
		return ErrNoSpace
	}
	if s.w == nil {
		f, err := os.CreateTemp(filepath.Join(s.db.dir, "spool"), "message-*")
		if err != nil {
			return diskError(err)
		}
		s.w = &frameWriter{f: f}
	}
	err := s.w.write(s.buf)
	s.buf = s.buf[:0]
	return diskError(err)
}

// OnDisk puts the message into a file however small it is, for who has many.
func (s *Spool) OnDisk() { s.onDisk = true }

// Discard forgets the message.
func (s *Spool) Discard() {
	if s.w != nil {
		discard(s.w.f)
	}
	s.w, s.buf, s.err = nil, nil, errors.New("spool was discarded")
}

func discard(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

// Finish ends the message, on top of which prefix is put: header fields in
// lines that end in CRLF, or nothing. After an error the spool is discarded.
func (s *Spool) Finish(prefix []byte) (*Spooled, error) {
	if s.err != nil {
		err := s.err
		s.Discard()
		return nil, err
	}
	m := &Spooled{db: s.db, Size: s.size + int64(len(prefix)), Message: s.builder.Finish(prefix)}
	if s.w == nil && !s.onDisk {
		m.memory = s.buf
		if len(prefix) > 0 {
			m.memory = append(append(make([]byte, 0, m.Size), prefix...), s.buf...)
		}
		m.SHA256 = sha256.Sum256(m.memory)
		m.r = bytes.NewReader(m.memory)
		return m, nil
	}
	err := s.flush()
	s.buf = nil
	if err == nil && len(prefix) > 0 {
		s.buf = append(s.buf, prefix...)
		err = s.flush()
		s.w.lastFirst()
	}
	if err == nil {
		err = diskError(s.w.finish())
	}
	if err != nil {
		s.Discard()
		return nil, err
	}
	m.file, m.SHA256 = s.w.f, digest(s.w.frames)
	m.r = newFrameReader(s.w.f, s.w.frames)
	return m, nil
}

// A Spooled is a whole message that is not stored yet.
type Spooled struct {
	Size    int64
	SHA256  [sha256.Size]byte // of the bytes; of a message in a file, over the digests of its frames
	Message *message.Message

	db     *DB
	r      io.ReaderAt
	memory []byte
	file   *os.File
	stored bool
}

// ReadAt implements io.ReaderAt.
func (s *Spooled) ReadAt(p []byte, off int64) (int, error) { return s.r.ReadAt(p, off) }

// Close forgets the message, unless it was stored.
func (s *Spooled) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if !s.stored {
		err = os.Remove(s.file.Name())
	}
	return err
}

// Memory is about how many octets of memory the message takes: its own, unless
// they are in a file, its headers and its parts.
func (s *Spooled) Memory() int64 {
	var headers, parts int64
	s.Message.Root.Walk(func(p *message.Part) bool {
		headers += p.BodyOffset - p.Offset
		parts += partMemory
		return true
	})
	return int64(len(s.memory)) + min(headers, maxHeaders) + parts
}

const (
	partMemory = 512     // octets that a part takes beside its header
	maxHeaders = 1 << 20 // octets that internal/message keeps of all headers together
)

// row returns the bytes as they stand in rows; ok is false for what belongs
// in a file.
func (s *Spooled) row() (data []byte, ok bool) {
	if s.file != nil {
		return nil, false
	}
	return encoder().EncodeAll(s.memory, make([]byte, 0, len(s.memory)/2+64)), true
}

// adopt makes the file that of a blob. It is on the disk with its directory
// when adopt returns.
func (s *Spooled) adopt(id BlobID) error {
	if s.stored {
		return fmt.Errorf("blob %d: a message in a file can be stored once", id)
	}
	if err := s.db.synced(s.file.Sync()); err != nil {
		return err
	}
	path := s.db.blobs.path(id)
	if err := os.Rename(s.file.Name(), path); err != nil {
		return diskError(err)
	}
	s.stored = true
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return s.db.synced(dir.Sync())
}

// synced takes the result of an fsync: one that failed means that the disk did
// not keep its word, unless it is only full.
func (db *DB) synced(err error) error {
	err = diskError(err)
	if err != nil && !errors.Is(err, ErrNoSpace) {
		db.writer.broken(err)
	}
	return err
}

// full tries whether the disk takes more.
func (db *DB) full() bool {
	f, err := os.CreateTemp(filepath.Join(db.dir, "spool"), "full-*")
	if err == nil {
		defer discard(f)
		_, err = f.Write(make([]byte, 64<<10))
	}
	return errors.Is(diskError(err), ErrNoSpace)
}

// diskError tells a full disk from other errors.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

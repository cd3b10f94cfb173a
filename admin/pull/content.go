package pull

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
)

// content is what stood in a literal: in memory, or in a file without a name
// that goes away with its descriptor.
type content struct {
	size   int64
	sha256 [sha256.Size]byte
	memory []byte
	file   *os.File
}

// A localError is about this machine, not about the source: nothing that
// another try would mend.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }

func (e *localError) Unwrap() error { return e.err }

// contentOf returns octets that are in memory already.
func contentOf(p []byte) *content {
	return &content{size: int64(len(p)), sha256: sha256.Sum256(p), memory: p}
}

// readContent reads size octets, into memory or into a file. What could be
// read comes also with an error.
func readContent(r io.Reader, size int64, memory bool) (*content, error) {
	c, h := &content{}, sha256.New()
	var err error
	if memory {
		c.memory = make([]byte, size)
		var n int
		n, err = io.ReadFull(r, c.memory)
		c.memory = c.memory[:n]
		c.size = int64(n)
		h.Write(c.memory)
	} else {
		err = c.spool(r, size, h)
	}
	h.Sum(c.sha256[:0])
	return c, err
}

func (c *content) spool(r io.Reader, size int64, h hash.Hash) error {
	f, err := os.CreateTemp("", "mailbox-pull-*")
	if err != nil {
		return &localError{fmt.Errorf("spool: %w", err)}
	}
	c.file = f
	if err := os.Remove(f.Name()); err != nil {
		return &localError{fmt.Errorf("spool: %w", err)}
	}
	w := &spoolWriter{f: f}
	c.size, err = io.CopyN(io.MultiWriter(w, h), r, size)
	if w.err != nil {
		return &localError{fmt.Errorf("spool: %w", w.err)}
	}
	return err
}

// A spoolWriter remembers that it was the file that failed, not the source.
type spoolWriter struct {
	f   *os.File
	err error
}

func (w *spoolWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.err = err
	return n, err
}

// reader reads the content from its beginning.
func (c *content) reader() io.Reader {
	if c.file == nil {
		return bytes.NewReader(c.memory)
	}
	return io.NewSectionReader(c.file, 0, c.size)
}

func (c *content) close() {
	if c != nil && c.file != nil {
		_ = c.file.Close() // it has no name, and nobody will read it again
	}
}

package archive

import (
	"bytes"
	"io"
	"os"
)

// spoolMemory is how much of a message is held in memory. The rest is in a file.
const spoolMemory = 1 << 20

// A Spool holds one message after the other, because how a message is written
// depends on all of it. Temporary makes the file that holds what is too large
// for the memory; the Spool removes nothing.
type Spool struct {
	Temporary func() (*os.File, error)

	memory bytes.Buffer
	file   *os.File
	size   int64
	scan   scan
}

// Fill replaces what the Spool holds by what r gives.
func (s *Spool) Fill(r io.Reader) error {
	s.memory.Reset()
	s.scan = scan{}
	var err error
	s.size, err = s.memory.ReadFrom(io.TeeReader(io.LimitReader(r, spoolMemory), &s.scan))
	if err != nil || s.size < spoolMemory {
		return err
	}
	if s.file == nil {
		if s.file, err = s.Temporary(); err != nil {
			return err
		}
	}
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	n, err := io.Copy(io.MultiWriter(io.NewOffsetWriter(s.file, 0), &s.scan), r)
	s.size += n
	return err
}

// Size is how many octets the Spool holds.
func (s *Spool) Size() int64 { return s.size }

// Content reads what the Spool holds. It is good until the next Fill.
func (s *Spool) Content() io.Reader {
	memory := bytes.NewReader(s.memory.Bytes())
	if s.file == nil {
		return memory
	}
	return io.MultiReader(memory, io.NewSectionReader(s.file, 0, s.size-int64(s.memory.Len())))
}

// Close must be called at the end.
func (s *Spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// CleanCRLF reports whether the message comes back as it is when it is written
// with LF: every LF has one CR before it, and not two.
func (s *Spool) CleanCRLF() bool { return !s.scan.bareLF && !s.scan.doubleCR }

// BareLF reports whether an LF has no CR before it, and whether that is so at
// the end of the first line.
func (s *Spool) BareLF() (anywhere, first bool) { return s.scan.bareLF, s.scan.firstBare }

// CRLFs counts the ends of lines that WithLF shortens.
func (s *Spool) CRLFs() int64 { return s.scan.crlfs }

// EndsInLF reports whether the last line is ended.
func (s *Spool) EndsInLF() bool { return s.size > 0 && s.scan.last == '\n' }

// A scan looks at the ends of lines.
type scan struct {
	bareLF    bool
	firstBare bool
	doubleCR  bool // CR CR LF
	lines     bool // one has ended
	crlfs     int64
	last      byte
	before    byte // the last
}

func (s *scan) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			s.see(p[i:])
			break
		}
		s.see(p[i : i+n])
		switch {
		case s.last != '\r':
			s.bareLF = true
			s.firstBare = s.firstBare || !s.lines
		case s.before == '\r':
			s.doubleCR = true
		default:
			s.crlfs++
		}
		s.lines = true
		s.see([]byte{'\n'})
		i += n + 1
	}
	return len(p), nil
}

// see remembers the last two octets.
func (s *scan) see(p []byte) {
	switch len(p) {
	case 0:
	case 1:
		s.before, s.last = s.last, p[0]
	default:
		s.before, s.last = p[len(p)-2], p[len(p)-1]
	}
}

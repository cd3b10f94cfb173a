package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Limits bound one command. A zero field means the value that its comment
// names.
type Limits struct {
	Line    int   // octets outside of literals, over all lines of the command; 64 KiB
	Literal int   // octets of one literal that is read into memory; 64 KiB
	Command int   // octets of all literals that are read into memory; 256 KiB
	Depth   int   // nesting of lists, and of whatever calls Enter; 50
	Skip    int64 // octets that SkipLine discards before it gives up; 1 MiB
}

// withDefaults returns l with its zero fields filled in.
func (l Limits) withDefaults() Limits {
	if l.Line == 0 {
		l.Line = 64 << 10
	}
	if l.Literal == 0 {
		l.Literal = 64 << 10
	}
	if l.Command == 0 {
		l.Command = 256 << 10
	}
	if l.Depth == 0 {
		l.Depth = 50
	}
	if l.Skip == 0 {
		l.Skip = 1 << 20
	}
	return l
}

// A Decoder reads commands of a client, one at a time. It is not safe for
// concurrent use.
//
// Errors of the connection are returned as they are wrapped by "read"; the
// end of the stream inside a command is io.ErrUnexpectedEOF. No octet of the
// stream is lost by an error of Wait, so Wait may be called again after a
// deadline; after an error of the connection in any other method the
// connection must be closed.
type Decoder struct {
	// OnLiteral is called before the octets of each literal are read, after
	// the limits were checked. For a synchronising literal (nonSync false) it
	// must send a continuation request before it returns nil. If it returns
	// an error, the literal is refused, the primitive returns that error as
	// it is, and SkipLine knows what has to be discarded. binary says that
	// the literal is a literal8 (RFC 3516). Nil refuses every literal.
	OnLiteral func(size int64, nonSync, binary bool) error

	// UTF8 allows UTF-8 in quoted strings (RFC 9051 section 4.3, RFC 6855
	// section 3). Invalid UTF-8 is refused always.
	UTF8 bool

	src  io.Reader
	bufs *Buffers
	lim  Limits

	buf  *[readSize]byte // nil while nothing is buffered
	r, w int             // unread octets are buf[r:w]
	line int             // the current line, as far as it is still known, starts at buf[line]
	tok  []byte          // a token that did not lie in buf as a whole

	inside  bool  // a command was begun, and its end not been read
	used    int   // octets of the command outside of literals
	memory  int   // octets of its literals that were read into memory
	depth   int   // of Enter
	pending int64 // unread octets of the current literal

	one [1]byte // what Wait reads into
}

// NewDecoder returns a Decoder for src with default Limits. Buffers are lent
// from bufs, which must not be nil.
func NewDecoder(src io.Reader, bufs *Buffers) *Decoder {
	return &Decoder{src: src, bufs: bufs, lim: Limits{}.withDefaults()}
}

// SetLimits sets the limits, beginning with what is read next.
func (d *Decoder) SetLimits(l Limits) { d.lim = l.withDefaults() }

// Buffered returns the number of octets that were read from the connection
// but not consumed. It must be 0 when STARTTLS is answered: what a client, or
// somebody between, sent behind STARTTLS was not protected (RFC 9051 section
// 6.2.1).
func (d *Decoder) Buffered() int { return d.w - d.r }

// Unread returns a copy of the octets that Buffered counts. For COMPRESS
// (RFC 4978), where they belong to the compressed stream.
func (d *Decoder) Unread() []byte {
	if d.buf == nil {
		return nil
	}
	return bytes.Clone(d.buf[d.r:d.w])
}

// Reset makes d read from src, and forgets all that was buffered and every
// state of a command. OnLiteral, UTF8 and the limits stay.
func (d *Decoder) Reset(src io.Reader) {
	d.r = d.w
	d.release()
	d.src = src
	d.inside, d.used, d.memory, d.depth, d.pending = false, 0, 0, 0, 0
}

// Wait blocks until the client has begun its next line, and starts that line's
// accounting. While it blocks, d holds no buffer. Every command begins with
// it, and so does every line that answers a continuation request (see Line).
// It returns io.EOF if the stream ended here, between commands.
func (d *Decoder) Wait() error {
	if d.inside {
		return errors.New("wait: the command before was not read to its end")
	}
	if d.r == d.w {
		d.release()
		n, err := d.readSource(d.one[:])
		if n == 0 {
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("read: %w", err)
		}
		d.buf = d.bufs.getRead()
		d.buf[0] = d.one[0]
		d.one[0] = 0
		d.r, d.w = 0, 1
	}
	d.inside, d.used, d.memory, d.depth, d.pending = true, 0, 0, 0, 0
	d.line = d.r
	return nil
}

// release gives the buffers back. Nothing unread may be in them.
func (d *Decoder) release() {
	if d.buf != nil {
		d.bufs.putRead(d.buf)
		d.buf = nil
	}
	d.tok = nil
	d.r, d.w, d.line = 0, 0, 0
}

// readSource reads at least one octet from the connection, or returns an
// error and 0.
func (d *Decoder) readSource(p []byte) (int, error) {
	for range 100 {
		n, err := d.src.Read(p)
		if n > 0 {
			// An error beside octets will come again at the next read.
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// fill reads more octets behind buf[:w]. It keeps the last octets of the
// current line, in which SkipLine may have to find the header of a literal.
func (d *Decoder) fill() error {
	if d.buf == nil {
		d.buf = d.bufs.getRead()
		d.r, d.w, d.line = 0, 0, 0
	}
	if d.w == len(d.buf) {
		from := max(d.line, d.r-headerSize)
		d.w = copy(d.buf[:], d.buf[from:d.w])
		d.r -= from
		d.line = max(0, d.line-from)
	}
	n, err := d.readSource(d.buf[d.w:])
	if n == 0 {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read: %w", err)
	}
	d.w += n
	return nil
}

// window returns the unread octets of the command that are in memory and
// within the limit of the line: at least one, or an error.
func (d *Decoder) window() ([]byte, error) {
	if !d.inside {
		return nil, syntaxf("expected more, but the command has ended")
	}
	if d.pending > 0 {
		return nil, syntaxf("octets of a literal are unread")
	}
	left := d.lim.Line - d.used
	if left <= 0 {
		return nil, d.lineTooLong()
	}
	if d.r == d.w {
		if err := d.fill(); err != nil {
			return nil, err
		}
	}
	return d.buf[d.r:min(d.w, d.r+left)], nil
}

// lineTooLong is the error for a command over Limits.Line.
func (d *Decoder) lineTooLong() error {
	return &LimitError{
		Text: fmt.Sprintf("command line is over %d octets", d.lim.Line),
		Max:  int64(d.lim.Line),
	}
}

// advance consumes n octets of the window.
func (d *Decoder) advance(n int) {
	d.r += n
	d.used += n
}

// endLine records that the command's line end was consumed.
func (d *Decoder) endLine() {
	d.inside = false
	d.line = d.r
}

// SkipLine discards what is left of the current command, so that Wait finds
// the next one: unread octets of a literal that was announced without
// waiting, the rest of the line, and further literals {n+} with their lines.
// A line that ends with a synchronising literal {n} ends the command, since
// the client waits and will take the server's tagged answer for a refusal.
// It does nothing if the command was read to its end. It returns
// ErrUnskippable if more than Limits.Skip octets would have to be read, or an
// error of the connection; both mean that the connection must be closed.
func (d *Decoder) SkipLine() error {
	budget := d.lim.Skip
	for d.inside {
		if d.pending > 0 {
			if d.pending > budget {
				return ErrUnskippable
			}
			budget -= d.pending
			if err := d.discardLiteral(); err != nil {
				return err
			}
		}
		if d.r == d.w {
			if err := d.fill(); err != nil {
				return err
			}
		}
		i := bytes.IndexByte(d.buf[d.r:d.w], '\n')
		if i < 0 {
			i = d.w - d.r - 1
		}
		if budget -= int64(i + 1); budget < 0 {
			return ErrUnskippable
		}
		d.r += i + 1
		if d.buf[d.r-1] != '\n' {
			continue
		}
		h, ok := headerAtEnd(d.buf[d.line:d.r])
		d.endLine()
		if ok && h.nonSync {
			d.inside, d.pending = true, h.size
		}
	}
	d.pending = 0
	return nil
}

// Line reads the rest of the line as it stands, without its end. It is meant
// for what answers a continuation request: base64 of SASL, and DONE of IDLE.
// The result is valid until the next call of a method.
func (d *Decoder) Line() ([]byte, error) {
	d.tok = d.tok[:0]
	for {
		win, err := d.window()
		if err != nil {
			return nil, err
		}
		i := bytes.IndexByte(win, '\n')
		if i >= 0 {
			d.tok = append(d.tok, win[:i]...)
			d.advance(i + 1)
			d.endLine()
			return bytes.TrimSuffix(d.tok, []byte{'\r'}), nil
		}
		d.tok = append(d.tok, win...)
		d.advance(len(win))
	}
}

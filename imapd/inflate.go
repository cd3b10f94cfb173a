package imapd

import (
	"errors"
	"io"
)

const (
	windowSize  = 32 << 10 // how far back a match may lie (RFC 1951 section 2)
	inputSize   = 1 << 10
	maxIdle     = 1000 // blocks in a row that hold nothing
	needBits    = 48   // more than any code with its distance takes
	maxLitCodes = 288
)

var errDeflate = errors.New("malformed deflate stream")

// errDry says that there is output, and no input at hand.
var errDry = errors.New("no input")

// An inflater reads a raw DEFLATE stream (RFC 1951) while it comes in. Other
// than compress/flate it never waits for input while it has output: whatever
// the octets that came can say is said, wherever in a block they end, and in
// whatever way the peer flushes. It decodes no more than it is asked for, and
// its window grows with what was read, to 32 KiB.
type inflater struct {
	src  io.Reader
	err  error
	in   []byte // read, not decoded
	bits uint64 // taken from in, the next one lowest
	n    uint   // how many

	window []byte // the last octets of the output; a ring once it is full
	at     int    // where the ring begins

	block    blockKind
	final    bool // the block is the last one
	idle     int  // blocks since the last octet
	stored   int  // octets that a stored block still has
	length   int  // of the match that is being copied
	distance int

	literals  huffman
	distances huffman
	input     [inputSize]byte
}

type blockKind uint8

const (
	noBlock blockKind = iota
	storedBlock
	codedBlock
)

// Read implements io.Reader.
func (d *inflater) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && d.err == nil {
		k, err := d.step(p[n:], n > 0)
		n += k
		if err == errDry { //nolint:errorlint // it is our own, and never wrapped
			break
		}
		d.err = err
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, d.err
}

// step decodes one code, or some octets. Where have is set it returns errDry
// rather than wait.
func (d *inflater) step(p []byte, have bool) (int, error) {
	switch {
	case d.length > 0:
		return d.copyMatch(p)
	case d.block == storedBlock:
		return d.copyStored(p, have)
	case d.block == codedBlock:
		return d.code(p, have)
	case d.final:
		return 0, io.EOF
	case have:
		return 0, errDry
	}
	return 0, d.header()
}

// more reads input; it may block.
func (d *inflater) more() error {
	for range 100 {
		n, err := d.src.Read(d.input[:])
		if n > 0 {
			d.in = d.input[:n]
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// fill takes what is at hand, to needBits at most.
func (d *inflater) fill() {
	for d.n < needBits && len(d.in) > 0 {
		d.bits |= uint64(d.in[0]) << d.n
		d.in = d.in[1:]
		d.n += 8
	}
}

func (d *inflater) drop(n uint) {
	d.bits >>= n
	d.n -= n
}

// take reads n bits, 32 at most.
func (d *inflater) take(n uint) (int, error) {
	for d.fill(); d.n < n; d.fill() {
		if err := d.more(); err != nil {
			return 0, err
		}
	}
	v := d.bits & (1<<n - 1)
	d.drop(n)
	return int(v), nil
}

// put adds an octet to the window.
func (d *inflater) put(c byte) {
	if len(d.window) < windowSize {
		d.window = append(d.window, c)
		return
	}
	d.window[d.at] = c
	d.at = (d.at + 1) % windowSize
}

// back returns the octet at a distance that the window has.
func (d *inflater) back(distance int) byte {
	return d.window[(d.at+len(d.window)-distance)%len(d.window)]
}

func (d *inflater) copyMatch(p []byte) (int, error) {
	n := min(len(p), d.length)
	for i := range n {
		p[i] = d.back(d.distance)
		d.put(p[i])
	}
	d.length -= n
	return n, nil
}

func (d *inflater) copyStored(p []byte, have bool) (int, error) {
	n := 0
	for n < min(len(p), d.stored) {
		if d.n > 0 { // whole octets
			p[n] = byte(d.bits)
			d.drop(8)
		} else if len(d.in) > 0 {
			p[n], d.in = d.in[0], d.in[1:]
		} else if n > 0 || have {
			break
		} else if err := d.more(); err != nil {
			return 0, err
		} else {
			continue
		}
		d.put(p[n])
		n++
	}
	if d.stored -= n; d.stored == 0 {
		d.block = noBlock
	}
	if n == 0 {
		return 0, errDry
	}
	d.idle = 0
	return n, nil
}

// code decodes a literal, a match or the end of the block, all or nothing: of
// a code that has not come whole nothing is taken.
func (d *inflater) code(p []byte, have bool) (int, error) {
	d.fill()
	symbol, length, distance, used := d.match()
	switch {
	case used == tooFew && have:
		return 0, errDry
	case used == tooFew:
		return 0, d.more()
	case used == invalid:
		return 0, errDeflate
	}
	d.drop(uint(used))
	switch {
	case symbol < endOfBlock:
		p[0] = byte(symbol)
		d.put(p[0])
		d.idle = 0
		return 1, nil
	case symbol == endOfBlock:
		d.block = noBlock
		return 0, nil
	case distance > len(d.window):
		return 0, errDeflate
	}
	d.idle = 0
	d.length, d.distance = length, distance
	return d.copyMatch(p)
}

// header begins a block (RFC 1951 section 3.2.3). There is no output that waits.
func (d *inflater) header() error {
	if d.idle++; d.idle > maxIdle {
		return errDeflate
	}
	v, err := d.take(3)
	if err != nil {
		return err
	}
	final := v&1 != 0
	switch v >> 1 {
	case 0:
		err = d.storedHeader()
	case 1:
		err = d.fixedCodes()
	case 2:
		err = d.dynamicCodes()
	default:
		err = errDeflate
	}
	d.final = final
	return err
}

func (d *inflater) storedHeader() error {
	d.drop(d.n % 8)
	n, err := d.take(16)
	if err != nil {
		return err
	}
	check, err := d.take(16)
	if err != nil {
		return err
	}
	if n != check^0xffff {
		return errDeflate
	}
	if d.stored = n; n > 0 {
		d.block = storedBlock
	}
	return nil
}

// end leaves the stream behind the flush that ends it, a stored block of no
// octets or the last block, and returns what was read beyond. What holds
// output before that is malformed.
func (d *inflater) end() ([]byte, error) {
	var p [1]byte
	for !d.final || d.block != noBlock {
		if d.block == noBlock && d.length == 0 {
			d.stored = -1
			if err := d.header(); err != nil {
				return nil, err
			}
			if d.stored == 0 {
				break
			}
		}
		if d.block == noBlock {
			continue
		}
		n, err := d.step(p[:], false)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return nil, errDeflate
		}
	}
	d.drop(d.n % 8)
	var rest []byte
	for ; d.n > 0; d.drop(8) {
		rest = append(rest, byte(d.bits))
	}
	return append(rest, d.in...), nil
}

package message

import (
	"bufio"
	"errors"
	"io"
)

// ErrLongHeader says that a header is longer than it may be.
var ErrLongHeader = errors.New("header is too long")

// A Head is the header of a message that is still coming in. Fields, Gap and
// Begun are all that was read, octet by octet.
type Head struct {
	Fields Header
	Gap    []byte // the empty line; nothing where the message ends before it, or the body begins without one
	Begun  []byte // of the body's first line, where there is no Gap
}

// ReadHead reads a header as Builder finds it: up to an empty line, or to the
// first line that is neither a field nor the continuation of one. It fails with
// ErrLongHeader where that is not within limit octets; the Head then has what
// was read, the last piece of it as Begun. Other errors are those of in.
func ReadHead(in *bufio.Reader, limit int) (*Head, error) {
	var raw []byte
	h := &Head{}
	for {
		begin := len(raw)
		var err error
		raw, err = appendLine(raw, in, limit)
		line := raw[begin:]
		switch {
		case err != nil && err != io.EOF && err != ErrLongHeader:
			return nil, err
		case isEmptyLine(line):
			h.Gap = line
		case err == ErrLongHeader || len(line) > 0 && !isOfHeader(line):
			h.Begun = line
		case err == nil:
			continue
		default:
			begin = len(raw) // the header is all there is
		}
		h.Fields = parseHeader(raw[:begin:begin], 0)
		if err == io.EOF {
			err = nil
		}
		return h, err
	}
}

// appendLine appends the next line; with ErrLongHeader, a piece of it that
// reaches beyond limit.
func appendLine(raw []byte, in *bufio.Reader, limit int) ([]byte, error) {
	for {
		piece, err := in.ReadSlice('\n')
		raw = append(raw, piece...)
		switch {
		case len(raw) > limit:
			return raw, ErrLongHeader
		case err != bufio.ErrBufferFull:
			return raw, err
		}
	}
}

func isEmptyLine(line []byte) bool { return string(line) == "\r\n" || string(line) == "\n" }

// isOfHeader tells whether a line is a field or continues what was before it,
// be that nothing.
func isOfHeader(line []byte) bool { return line[0] == ' ' || line[0] == '\t' || beginsField(line) }

package message

import (
	"bufio"
	"bytes"
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
	for begin := true; ; {
		piece, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return nil, err
		}
		if begin && len(piece) > 0 && !isOfHeader(piece) {
			if isEmptyLine(piece) {
				h.Gap = bytes.Clone(piece)
			} else {
				h.Begun = bytes.Clone(piece)
			}
			break
		}
		if len(raw)+len(piece) > limit {
			h.Begun = bytes.Clone(piece)
			h.Fields = parseHeader(raw, 0)
			return h, ErrLongHeader
		}
		raw = append(raw, piece...)
		begin = bytes.HasSuffix(piece, []byte{'\n'})
		if err == io.EOF {
			break
		}
	}
	h.Fields = parseHeader(raw, 0)
	return h, nil
}

func isEmptyLine(line []byte) bool { return string(line) == "\r\n" || string(line) == "\n" }

// isOfHeader tells whether a line is a field or continues what was before it,
// be that nothing.
func isOfHeader(line []byte) bool { return line[0] == ' ' || line[0] == '\t' || beginsField(line) }

package mbox

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"mailbox/admin/archive"
	"mailbox/imapd/wire"
)

// An encoder writes a message with LF, and with the quotes of a variant.
type encoder struct {
	w       io.Writer
	variant Variant
	lines   *bufio.Reader // in which lines are looked at; what it reads is set by encode
	count   int64         // octets written
	body    int64         // those behind the first empty line
}

func (e *encoder) Write(p []byte) (int, error) {
	n, err := e.w.Write(p)
	e.count += int64(n)
	return n, err
}

func (e *encoder) encode(content io.Reader) error {
	lines, r := archive.WithLF(e), e.lines
	r.Reset(content)
	header, header64 := true, int64(0)
	for start := true; ; {
		line, err := r.ReadSlice('\n')
		if start && e.quoted(line, header) {
			if _, err := lines.Write([]byte{'>'}); err != nil {
				return err
			}
		}
		if _, err := lines.Write(line); err != nil {
			return err
		}
		if header && start && isBlank(line) {
			header, header64 = false, e.count
		}
		start = err == nil
		if err == io.EOF {
			break
		} else if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
	if err := lines.Flush(); err != nil {
		return err
	}
	if !header {
		e.body = e.count - header64
	}
	return nil
}

// quoted reports whether a line gets a ">". Content-Length does not count the
// header, so that what looks like a From_ line is quoted there, always.
func (e *encoder) quoted(line []byte, header bool) bool {
	switch {
	case e.variant == RD:
		return bytes.HasPrefix(bytes.TrimLeft(line, ">"), fromPrefix)
	case e.variant == CL2 && !header:
		return false
	default:
		return bytes.HasPrefix(line, fromPrefix)
	}
}

// formatNotes returns the fields that hold flags, the last of which is Status,
// and what has no place in them.
func formatNotes(flags []string) (notes string, lost []string) {
	status, xStatus := "O", ""
	var keywords []string
	for _, flag := range flags {
		switch strings.ToLower(flag) {
		case `\seen`:
			status = "RO"
		case `\answered`:
			xStatus += "A"
		case `\flagged`:
			xStatus += "F"
		case `\deleted`:
			xStatus += "D"
		case `\draft`:
			xStatus += "T"
		case `\recent`:
		default:
			if archive.IsKeyword(flag) {
				keywords = append(keywords, flag)
			} else {
				lost = append(lost, "there is no place for "+flag)
			}
		}
	}
	if len(keywords) > 0 {
		notes = "X-Keywords: " + strings.Join(keywords, " ") + "\n"
	}
	if xStatus != "" {
		notes += "X-Status: " + xStatus + "\n"
	}
	return notes + "Status: " + status + "\n", lost
}

// fileName returns the path of a mailbox's file, without ".mbox", and the name
// that it is read as. A level that begins with "." gets "_" before it, and one
// too long for a file is shortened.
func fileName(used map[string]bool, mailbox string) (file, is string) {
	var levels []string
	for level := range strings.SplitSeq(mailbox, "/") {
		if strings.HasPrefix(level, ".") {
			level = "_" + level
		}
		levels = append(levels, shorten(level))
	}
	file = path.Join(levels...)
	if file = archive.Distinct(used, file); file == mailbox && decodeName(file) == mailbox {
		return file, mailbox
	}
	levels = strings.Split(file, "/")
	var names []string
	for i, level := range levels {
		if decodeName(level) != level { // it would be taken for modified UTF-7
			levels[i] = wire.EncodeUTF7(level)
		}
		names = append(names, level)
	}
	return path.Join(levels...), archive.Name(names...)
}

// shorten makes room for ".mbox" and a number.
func shorten(level string) string {
	const most = 240
	if len(level) <= most {
		return level
	}
	end := fmt.Sprintf("_%x", sha256.Sum256([]byte(level)))[:17]
	for len(level)+len(end) > most {
		_, n := utf8.DecodeLastRuneInString(level)
		level = level[:len(level)-n]
	}
	return level + end
}

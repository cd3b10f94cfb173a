package message

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// charsetOf finds a charset by the names that mail uses; nil where it is unknown.
func charsetOf(name string) encoding.Encoding {
	name = strings.ToLower(strings.Trim(strings.TrimSpace(name), `"'`))
	switch name {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "unknown-8bit":
		return nil
	case "utf-16":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "cp437", "ibm437":
		return charmap.CodePage437
	case "cp850", "ibm850":
		return charmap.CodePage850
	case "latin1", "iso8859-1":
		name = "iso-8859-1"
	case "ks_c_5601-1987", "cp949":
		name = "euc-kr"
	case "cp932", "ms932":
		name = "shift_jis"
	case "cp936", "gb2312", "hz-gb-2312":
		name = "gb18030"
	}
	if after, ok := strings.CutPrefix(name, "cp125"); ok {
		name = "windows-125" + after
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	return e
}

// decodeCharset turns bytes into UTF-8. What is no text of that charset is
// taken as UTF-8 where it is, else as Windows-1252, which gives every byte a meaning.
func decodeCharset(name string, b []byte) string {
	if e := charsetOf(name); e != nil {
		if out, err := e.NewDecoder().Bytes(b); err == nil {
			return strings.ToValidUTF8(string(out), "\ufffd")
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	return string(out)
}

// DecodeWords returns the text of an unstructured header value: encoded-words
// of RFC 2047 decoded, raw 8-bit text (RFC 6532, or older habits) as UTF-8.
// What is no encoded-word stays as it is.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		if utf8.ValidString(s) {
			return s
		}
		return decodeCharset("", []byte(s))
	}
	var out strings.Builder
	var pending []byte // decoded bytes of adjacent words of one charset: characters may be split
	var charset string
	flush := func() {
		if pending != nil {
			out.WriteString(decodeCharset(charset, pending))
			pending = nil
		}
	}
	for s != "" {
		at := strings.Index(s, "=?")
		if at < 0 {
			flush()
			out.WriteString(decodeCharset("", []byte(s)))
			break
		}
		set, decoded, n := encodedWord(s[at:])
		if n == 0 {
			flush()
			out.WriteString(decodeCharset("", []byte(s[:at+2])))
			s = s[at+2:]
			continue
		}
		if pending == nil || strings.Trim(s[:at], " \t\r\n") != "" {
			flush()
			out.WriteString(decodeCharset("", []byte(s[:at]))) // space between two words is not text
		}
		if pending != nil && !strings.EqualFold(set, charset) {
			flush()
		}
		if pending == nil {
			pending = []byte{}
		}
		charset, pending = set, append(pending, decoded...)
		s = s[at+n:]
	}
	flush()
	return out.String()
}

// maxWord bounds the text of an encoded-word, in octets. RFC 2047 section 2
// allows 75 for all of it; programs put whole subjects into one. Without a
// bound, a field of beginnings would be searched for an end from each of them.
const maxWord = 4 << 10

// Certain tells whether every program that decodes the encoded-words of s can
// only read in them what DecodeWords does: they are well-formed, not overlong,
// and of a charset that is known here.
func Certain(s string) bool {
	for {
		_, rest, found := strings.Cut(s, "=?")
		if !found {
			return true
		}
		parts := strings.SplitN(rest, "?", 4)
		if len(parts) < 4 || len(parts[2]) > maxWord || !strings.HasPrefix(parts[3], "=") {
			return false
		}
		charset, _, _ := strings.Cut(parts[0], "*")
		if charsetOf(charset) == nil && !isUTF8(charset) {
			return false
		}
		switch parts[1] {
		case "b", "B":
			if _, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[2], "=")); err != nil {
				return false
			}
		case "q", "Q":
		default:
			return false
		}
		s = parts[3][1:]
	}
}

// isUTF8 tells whether a charset is UTF-8 or a part of it.
func isUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "us-ascii", "ascii", "utf-8", "utf8":
		return true
	}
	return false
}

// encodedWord reads one encoded-word at the start of s; n is its length, or 0.
func encodedWord(s string) (charset string, text []byte, n int) {
	rest := s[2:]
	q1 := strings.IndexByte(rest, '?')
	if q1 <= 0 || q1 > 100 || len(rest) < q1+3 || rest[q1+2] != '?' {
		return "", nil, 0
	}
	charset = rest[:q1]
	if star := strings.IndexByte(charset, '*'); star >= 0 { // a language (RFC 2231 section 5)
		charset = charset[:star]
	}
	body := rest[q1+3:]
	body = body[:min(len(body), maxWord)]
	end := strings.Index(body, "?=")
	if end < 0 {
		return "", nil, 0
	}
	n = 2 + q1 + 3 + end + 2
	switch rest[q1+1] {
	case 'q', 'Q':
		return charset, decodeQ(body[:end]), n
	case 'b', 'B':
		return charset, decodeBase64(body[:end]), n
	}
	return "", nil, 0
}

func decodeQ(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			b = append(b, ' ')
		case s[i] == '=' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return b
}

// decodeBase64 decodes what can be decoded.
func decodeBase64(s string) []byte {
	s = strings.Map(func(r rune) rune {
		if r > 0x7f || r == '=' || r <= ' ' {
			return -1
		}
		return r
	}, s)
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, _ := base64.RawStdEncoding.Decode(out, []byte(s))
	return out[:n]
}

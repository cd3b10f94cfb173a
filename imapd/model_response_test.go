package imapd

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A response is one that a client got.
type response struct {
	line   string
	number int     // of "* 3 EXISTS"; otherwise 0
	kind   string  // EXISTS, FETCH, SEARCH …
	code   string  // of OK, NO, BAD, BYE: what stands in brackets
	values []value // of the others: what stands behind the kind
}

// A value is an atom, a string, or a list.
type value struct {
	text string
	list []value
}

func (v value) String() string {
	if v.list == nil {
		return v.text
	}
	return "(" + strings.Join(wordsOf(v.list), " ") + ")"
}

func wordsOf(values []value) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}

var statusResponse = regexp.MustCompile(`^(OK|NO|BAD|BYE)(?: \[([^\]]*)\])?`)

// readResponse understands a line without its tag, and without the "* ".
func readResponse(line string) (r response, err error) {
	r.line = line
	if s := statusResponse.FindStringSubmatch(line); s != nil {
		r.kind, r.code = s[1], s[2]
		return r, nil
	}
	if number, rest, found := strings.Cut(line, " "); found {
		if n, err := strconv.Atoi(number); err == nil {
			r.number, line = n, rest
		}
	}
	r.kind, line, _ = strings.Cut(line, " ")
	rest := line
	for rest != "" && err == nil {
		var v value
		v, rest, err = readValue(strings.TrimPrefix(rest, " "))
		r.values = append(r.values, v)
	}
	return r, err
}

func readValue(s string) (v value, rest string, err error) {
	switch {
	case strings.HasPrefix(s, "("):
		v.list = []value{}
		for s = s[1:]; !strings.HasPrefix(s, ")"); s = strings.TrimPrefix(s, " ") {
			var item value
			if item, s, err = readValue(s); err != nil {
				return v, s, err
			}
			v.list = append(v.list, item)
		}
		return v, s[1:], nil
	case strings.HasPrefix(s, `"`):
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '"':
				return v, s[i+1:], nil
			case '\\':
				i++
			}
			v.text += s[i : i+1]
		}
	case strings.HasPrefix(s, "{"), strings.HasPrefix(s, "~{"):
		size, rest, _ := strings.Cut(s[strings.IndexByte(s, '{')+1:], "}\r\n")
		if n, err := strconv.Atoi(size); err == nil && n <= len(rest) {
			return value{text: rest[:n]}, rest[n:], nil
		}
	default:
		depth := 0 // of brackets, in which everything belongs to the atom
		end := strings.IndexFunc(s, func(c rune) bool {
			switch c {
			case '[':
				depth++
			case ']':
				depth--
			}
			return depth == 0 && (c == ' ' || c == '(' || c == ')')
		})
		if end < 0 {
			end = len(s)
		}
		if end > 0 {
			return value{text: s[:end]}, s[end:], nil
		}
	}
	return v, "", fmt.Errorf("no value: %q", s)
}

// short is the response without what is not compared: the text behind a
// response code, the order of flags, and object ids, which settle looks at.
func (r response) short() string {
	switch {
	case r.kind == "OK" || r.kind == "NO" || r.kind == "BAD":
		code, _, _ := strings.Cut(r.code, " (")
		return strings.TrimSuffix(r.kind+" ["+code+"]", " []")
	case (r.kind == "LIST" || r.kind == "LSUB") && len(r.values) > 0:
		slices.SortFunc(r.values[0].list, func(a, b value) int { return strings.Compare(a.text, b.text) })
		return r.kind + " " + strings.Join(wordsOf(r.values), " ")
	}
	return r.line
}

// pairs makes a map of a list of names and values.
func pairs(list []value) map[string]value {
	all := map[string]value{}
	for i := 0; i+1 < len(list); i += 2 {
		all[list[i].text] = list[i+1]
	}
	return all
}

// setOf writes numbers as a set, in their order: neighbours become a range.
func setOf(numbers []uint32) string {
	var b strings.Builder
	for i := 0; i < len(numbers); i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		first := numbers[i]
		for i+1 < len(numbers) && numbers[i+1] == numbers[i]+1 {
			i++
		}
		if fmt.Fprint(&b, first); numbers[i] != first {
			fmt.Fprint(&b, ":", numbers[i])
		}
	}
	return b.String()
}

// numbersOf reads such a set.
func numbersOf(set string) (numbers []uint32, err error) {
	for part := range strings.SplitSeq(set, ",") {
		from, to, found := strings.Cut(part, ":")
		if !found {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 32)
		last, err2 := strconv.ParseUint(to, 10, 32)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("no set: %q", set)
		}
		for n := first; n <= last; n++ {
			numbers = append(numbers, uint32(n))
		}
	}
	return numbers, nil
}

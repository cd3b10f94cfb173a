package wire

import (
	"iter"
	"math"
	"slices"
	"strconv"
)

// MaxRanges is how many ranges and numbers a sequence set may have on the
// wire. Clients that need more send several commands (RFC 9051 section 9 sets
// no limit; RFC 7162 section 3.2.5 advises one).
const MaxRanges = 10_000

// A Range is the numbers from First to Last, both included.
type Range struct {
	First, Last uint32
}

// A NumSet is a sequence set as a client wrote it: message numbers or UIDs,
// perhaps relative to the highest one, or the result of a SEARCH that was
// saved. The zero value is empty, which no client can write.
type NumSet struct {
	// Saved says that the set is "$" (RFC 5182, RFC 9051 section 6.4.4.1).
	// It has no ranges of its own then.
	Saved bool

	ranges []Range // 0 stands for "*"
}

// NumSetOf returns the set of the given ranges, in which 0 stands for "*".
func NumSetOf(ranges ...Range) NumSet { return NumSet{ranges: slices.Clone(ranges)} }

// ParseNumSet converts a sequence set. A set with more than MaxRanges ranges
// is a LimitError.
func ParseNumSet(s []byte) (NumSet, error) {
	if len(s) == 1 && s[0] == '$' {
		return NumSet{Saved: true}, nil
	}
	var ranges []Range
	for rest, more := s, true; more; {
		if len(ranges) == MaxRanges {
			return NumSet{}, &LimitError{Text: "sequence set is over 10000 ranges", Max: MaxRanges}
		}
		var r Range
		var ok bool
		if r.First, rest, ok = cutNumber(rest); !ok {
			return NumSet{}, malformedSet(s)
		}
		r.Last = r.First
		if len(rest) > 0 && rest[0] == ':' {
			if r.Last, rest, ok = cutNumber(rest[1:]); !ok {
				return NumSet{}, malformedSet(s)
			}
		}
		if more = len(rest) > 0; more {
			if rest[0] != ',' {
				return NumSet{}, malformedSet(s)
			}
			rest = rest[1:]
		}
		if n := len(ranges); n == 0 || ranges[n-1] != r {
			ranges = append(ranges, r)
		}
	}
	return NumSet{ranges: ranges}, nil
}

// malformedSet is the SyntaxError for the set s.
func malformedSet(s []byte) error {
	return syntaxf("malformed sequence set %+q", s[:min(len(s), maxWord)])
}

// cutNumber converts the seq-number at the start of s; "*" is 0.
func cutNumber(s []byte) (n uint32, rest []byte, ok bool) {
	if len(s) > 0 && s[0] == '*' {
		return 0, s[1:], true
	}
	i := 0
	for i < len(s) && classes[s[i]]&digit != 0 {
		i++
	}
	if i == 0 || s[0] == '0' {
		return 0, nil, false
	}
	v, ok := parseNumber(s[:i], math.MaxUint32)
	return uint32(v), s[i:], ok
}

// Empty reports whether the set has no ranges and is not "$".
func (s NumSet) Empty() bool { return !s.Saved && len(s.ranges) == 0 }

// HasStar reports whether the set names "*".
func (s NumSet) HasStar() bool {
	return slices.ContainsFunc(s.ranges, func(r Range) bool { return r.First == 0 || r.Last == 0 })
}

// Highest returns the highest number that the set names as such, which
// excludes "*". It is 0 if there is none. A server answers BAD if a message
// number is higher than the mailbox has messages.
func (s NumSet) Highest() uint32 {
	var n uint32
	for _, r := range s.ranges {
		n = max(n, r.First, r.Last)
	}
	return n
}

// Normalize returns the numbers of the set, with maximum, the highest number
// in use, for "*". If maximum is 0, nothing is in use, and ranges that name
// "*" have no number. Numbers above maximum stay: of UIDs they are legal, and
// "9:*" is 4:9 if the maximum is 4 (RFC 9051 section 9, seq-range). The
// numbers of "$" are not known here: it has none.
func (s NumSet) Normalize(maximum uint32) Ranges {
	out := make(Ranges, 0, len(s.ranges))
	for _, r := range s.ranges {
		if r.First == 0 {
			r.First = maximum
		}
		if r.Last == 0 {
			r.Last = maximum
		}
		if r.First == 0 || r.Last == 0 {
			continue
		}
		if r.First > r.Last {
			r.First, r.Last = r.Last, r.First
		}
		out = append(out, r)
	}
	return out.merge()
}

// Append appends the set as it was written, but for a number that followed
// itself.
func (s NumSet) Append(b []byte) []byte {
	if s.Saved {
		return append(b, '$')
	}
	for i, r := range s.ranges {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendRange(b, r)
	}
	return b
}

func (s NumSet) String() string { return string(s.Append(nil)) }

// appendRange appends r, in which 0 stands for "*".
func appendRange(b []byte, r Range) []byte {
	b = appendStar(b, r.First)
	if r.First != r.Last {
		b = appendStar(append(b, ':'), r.Last)
	}
	return b
}

func appendStar(b []byte, n uint32) []byte {
	if n == 0 {
		return append(b, '*')
	}
	return strconv.AppendUint(b, uint64(n), 10)
}

// Ranges is a set of numbers in its shortest form: ascending ranges with at
// least one number missing between them. Nil is the empty set.
type Ranges []Range

// merge sorts and merges rs in place.
func (rs Ranges) merge() Ranges {
	slices.SortFunc(rs, func(a, b Range) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	n := 0
	for _, r := range rs {
		if n > 0 && (rs[n-1].Last == math.MaxUint32 || r.First <= rs[n-1].Last+1) {
			rs[n-1].Last = max(rs[n-1].Last, r.Last)
			continue
		}
		rs[n] = r
		n++
	}
	return rs[:n]
}

// Add returns the set with n, which must not be 0. It may change rs. Adding
// numbers in ascending order costs no search.
func (rs Ranges) Add(n uint32) Ranges {
	last := len(rs) - 1
	switch {
	case last < 0 || n > rs[last].Last && n-rs[last].Last > 1:
		return append(rs, Range{n, n})
	case n > rs[last].Last:
		rs[last].Last = n
		return rs
	case rs.Contains(n):
		return rs
	}
	return append(rs, Range{n, n}).merge()
}

// Contains reports whether n is in the set. It takes logarithmic time.
func (rs Ranges) Contains(n uint32) bool {
	lo, hi := 0, len(rs)
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		if rs[m].Last < n {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo < len(rs) && rs[lo].First <= n
}

// Count returns how many numbers the set has.
func (rs Ranges) Count() uint64 {
	var n uint64
	for _, r := range rs {
		n += uint64(r.Last-r.First) + 1
	}
	return n
}

// Clip returns the numbers of the set that are in r. It shares no memory with
// rs.
func (rs Ranges) Clip(r Range) Ranges {
	var out Ranges
	for _, x := range rs {
		if first, last := max(x.First, r.First), min(x.Last, r.Last); first <= last {
			out = append(out, Range{first, last})
		}
	}
	return out
}

// Slice returns the numbers of the set from index i up to j, of which the
// lowest has index 0. It shares no memory with rs.
func (rs Ranges) Slice(i, j uint64) Ranges {
	var out Ranges
	for _, r := range rs {
		n := uint64(r.Last-r.First) + 1
		if end := min(j, n); i < end {
			out = append(out, Range{r.First + uint32(i), r.First + uint32(end-1)})
		}
		i, j = i-min(i, n), j-min(j, n)
	}
	return out
}

// All yields the numbers of the set in ascending order. A set of a client may
// have four thousand million: Clip it to what exists first.
func (rs Ranges) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, r := range rs {
			for n := uint64(r.First); n <= uint64(r.Last); n++ {
				if !yield(uint32(n)) {
					return
				}
			}
		}
	}
}

// Append appends the set as a sequence set. The empty set has no such form,
// and appends nothing.
func (rs Ranges) Append(b []byte) []byte {
	for i, r := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendRange(b, r)
	}
	return b
}

func (rs Ranges) String() string { return string(rs.Append(nil)) }

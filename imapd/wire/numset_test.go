package wire

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNormalize(t *testing.T) {
	for _, c := range []struct {
		in      string
		maximum uint32
		want    string
	}{
		{"1:*,1:*,1:*", 10, "1:10"},
		{"5,3,1", 10, "1,3,5"},
		{"2,1,4,3", 10, "1:4"},
		{"1:3,2:5,9:7", 10, "1:5,7:9"},
		{"1:9,2:3,10", 10, "1:10"},
		{"*", 10, "10"},
		{"*:*", 10, "10"},
		{"9:*", 4, "4:9"},
		{"*:4", 9, "4:9"},
		{"*", 0, ""},
		{"5:*,2", 0, "2"},
		{"4294967295,1:*", math.MaxUint32, "1:4294967295"},
		{"4294967294:4294967295,4294967295", 1, "4294967294:4294967295"},
		{"$", 10, ""},
	} {
		s, err := ParseNumSet([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := s.Normalize(c.maximum).String(); got != c.want {
			t.Errorf("%s of %d: %s, want %s", c.in, c.maximum, got, c.want)
		}
	}
}

func TestNumSetSaysWhatItNames(t *testing.T) {
	s, err := ParseNumSet([]byte("3:*,7"))
	if err != nil || s.Empty() || s.Saved || !s.HasStar() || s.Highest() != 7 {
		t.Errorf("%+v %v", s, err)
	}
	if s, err = ParseNumSet([]byte("$")); err != nil || s.Empty() || !s.Saved || s.HasStar() || s.Highest() != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if s := (NumSet{}); !s.Empty() || s.String() != "" {
		t.Errorf("%+v", s)
	}
	if s := NumSetOf(Range{1, 0}, Range{7, 7}); s.String() != "1:*,7" {
		t.Errorf("%v", s)
	}
}

func TestNumSetIsBounded(t *testing.T) {
	if _, err := ParseNumSet([]byte(strings.Repeat("1:*,", MaxRanges) + "1:*")); err != nil {
		t.Errorf("a range that repeats costs: %v", err)
	}
	if _, err := ParseNumSet([]byte(strings.Repeat("1,2,", MaxRanges/2-1) + "1,2")); err != nil {
		t.Error(err)
	}
	var limit *LimitError
	if _, err := ParseNumSet([]byte(strings.Repeat("1,2,", MaxRanges/2) + "1")); !errors.As(err, &limit) {
		t.Errorf("%v", err)
	}
}

// numbers draws few numbers that lie close together.
func numbers() *rapid.Generator[[]uint32] { return rapid.SliceOfN(rapid.Uint32Range(1, 60), 0, 80) }

func TestRangesAreTheSetOfTheirNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := numbers().Draw(t, "numbers")
		var rs Ranges
		for _, n := range want {
			rs = rs.Add(n)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		checkShortest(t, rs)
		if got := slices.Collect(rs.All()); !slices.Equal(got, want) || rs.Count() != uint64(len(want)) {
			t.Fatalf("%v (%d), want %v", got, rs.Count(), want)
		}
		for n := range uint32(62) {
			if _, found := slices.BinarySearch(want, n); rs.Contains(n) != found {
				t.Fatalf("%s contains %d: %t", rs, n, !found)
			}
		}
		window := Range{rapid.Uint32Range(1, 60).Draw(t, "first"), rapid.Uint32Range(1, 60).Draw(t, "last")}
		for _, n := range slices.Collect(rs.Clip(window).All()) {
			if n < window.First || n > window.Last || !rs.Contains(n) {
				t.Fatalf("%s clipped to %v has %d", rs, window, n)
			}
		}
		i := rapid.IntRange(0, len(want)).Draw(t, "i")
		j := rapid.IntRange(i, len(want)).Draw(t, "j")
		part := rs.Slice(uint64(i), uint64(j))
		if got := slices.Collect(part.All()); !slices.Equal(got, want[i:j]) {
			t.Fatalf("%s from %d to %d is %v", rs, i, j, part)
		}
		checkShortest(t, part)
		if len(rs) == 0 {
			return
		}
		again, err := ParseNumSet(rs.Append(nil))
		if err != nil || !slices.Equal(again.Normalize(1), rs) {
			t.Fatalf("%s read again: %v, %v", rs, again, err)
		}
	})
}

func TestAllEndsAtTheHighestNumber(t *testing.T) {
	got := slices.Collect(Ranges{{math.MaxUint32 - 1, math.MaxUint32}}.All())
	if !slices.Equal(got, []uint32{math.MaxUint32 - 1, math.MaxUint32}) {
		t.Errorf("%v", got)
	}
	for range (Ranges{{1, math.MaxUint32}}).All() {
		break
	}
}

type fataler interface{ Fatalf(string, ...any) }

// checkShortest checks that rs keeps the promise of Ranges.
func checkShortest(t fataler, rs Ranges) {
	for i, r := range rs {
		if r.First == 0 || r.First > r.Last || i > 0 && uint64(r.First) <= uint64(rs[i-1].Last)+1 {
			t.Fatalf("not the shortest form: %v", rs)
		}
	}
}

func FuzzNumSet(f *testing.F) {
	for _, s := range []string{"1", "1:*,*:3", "$", "4294967295:1", "1,,2", "0", "*:*,7"} {
		f.Add(s, uint32(5))
	}
	f.Fuzz(func(t *testing.T, in string, maximum uint32) {
		s, err := ParseNumSet([]byte(in))
		if err != nil {
			checkText(t, err)
			return
		}
		again, err := ParseNumSet(s.Append(nil))
		if err != nil || again.String() != s.String() {
			t.Errorf("%q is written %q and read %q, %v", in, s, again, err)
		}
		rs := s.Normalize(maximum)
		checkShortest(t, rs)
		for _, r := range s.ranges {
			if r.First != 0 && r.Last != 0 && (!rs.Contains(r.First) || !rs.Contains(r.Last)) {
				t.Errorf("%q of %d is %v", in, maximum, rs)
			}
		}
	})
}

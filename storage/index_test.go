package storage

import (
	"slices"
	"testing"
)

// TestBackward: the entries come as they stand, the last first, over the ends
// of chunks.
func TestBackward(t *testing.T) {
	e := (&Index{}).edit()
	for uid := UID(1); uid <= 3*chunkLen; uid += 2 {
		e.apply(Change{Kind: Added, Entries: []entryChange{{uid: uid}}})
	}
	x := e.done()
	var there, back []int
	x.All(func(pos int, e Entry) bool {
		there = append(there, pos, int(e.UID))
		return true
	})
	x.Backward(func(pos int, e Entry) bool {
		back = append(back, int(e.UID), pos)
		return pos > 0
	})
	slices.Reverse(back)
	if x.Len() != 3*chunkLen/2 || !slices.Equal(there, back) {
		t.Errorf("%d entries: %v, backward %v", x.Len(), there, back)
	}
}

package imapd

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"mailbox/storage"
)

// thread is THREAD and UID THREAD (RFC 5256 section 3).
func (c *conn) thread(ctx context.Context, uid bool) (ok, error) {
	if err := c.sync(ctx, syncOptions{}); err != nil {
		return ok{}, err
	}
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	algorithm, err := c.dec.Word()
	if err != nil {
		return ok{}, err
	}
	want := storage.KeySent | storage.KeySubject
	form := orderedSubject
	switch algorithm {
	case "REFERENCES":
		want |= storage.KeyID
		form = references
	case "ORDEREDSUBJECT":
	default:
		return ok{}, bad("unknown threading algorithm " + algorithm)
	}
	q := &query{}
	if err := c.keysBehindCharset(q); err != nil {
		return ok{}, err
	}
	found, err := c.find(ctx, q.key, page{})
	if err != nil {
		return ok{}, err
	}
	keys, err := c.emailKeys(ctx, found, want)
	if err != nil {
		return ok{}, err
	}
	f := newForest(keys)
	form(f)
	b := []byte("* THREAD")
	if len(f.roots) > 0 {
		b = append(b, ' ')
	}
	for _, root := range f.roots {
		b = f.appendThread(b, root, func(n int32) uint32 { return found[n].number(uid) })
	}
	c.enc.Write(append(b, "\r\n"...)) //nolint:errcheck // the encoder keeps its error
	return ok{text: "THREAD completed"}, nil
}

// A forest is messages in threads. Its nodes are the messages, by their place
// in keys, and behind them dummies, which stand for messages that are not there.
type forest struct {
	keys   []storage.EmailKey
	parent []int32 // of each node; none
	count  []int32 // of its children while it is linked
	kids   [][]int32
	roots  []int32
}

const none = -1

func newForest(keys []storage.EmailKey) *forest {
	f := &forest{keys: keys}
	for range keys {
		f.node()
	}
	return f
}

func (f *forest) node() int32 {
	f.parent = append(f.parent, none)
	f.count = append(f.count, 0)
	f.kids = append(f.kids, nil)
	return int32(len(f.parent) - 1)
}

func (f *forest) isDummy(n int32) bool { return int(n) >= len(f.keys) }

// first is a message, or the first one below a dummy, once siblings are sorted.
func (f *forest) first(n int32) int32 {
	for f.isDummy(n) {
		n = f.kids[n][0]
	}
	return n
}

// byDate compares the sent dates of what two nodes begin with; equal ones keep
// the order of the mailbox (RFC 5256 section 2.2).
func (f *forest) byDate(a, b int32) int {
	a, b = f.first(a), f.first(b)
	return cmp.Or(cmp.Compare(f.keys[a].Sent, f.keys[b].Sent), cmp.Compare(a, b))
}

// orderedSubject puts messages of one base subject under the first of them
// (RFC 5256 section 3, ORDEREDSUBJECT).
func orderedSubject(f *forest) {
	order := make([]int32, len(f.keys))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, f.byDate)
	bySubject := map[string]int32{}
	for _, n := range order {
		root, known := bySubject[f.keys[n].Subject]
		if known {
			f.kids[root] = append(f.kids[root], n)
			continue
		}
		bySubject[f.keys[n].Subject] = n
		f.roots = append(f.roots, n)
	}
}

// references makes the threads of RFC 5256 section 3, REFERENCES.
func references(f *forest) {
	f.link()       // step 1
	f.plant()      // steps 2 and 3
	f.bySubjects() // steps 4 and 5
	f.sort()       // step 6
}

// spareDummies is how many more messages that are not there may be referred to
// than there are messages: others are passed over.
const spareDummies = 100_000

// link makes each message a child of the last that it refers to, and that one
// of the one before.
func (f *forest) link() {
	most := 2*len(f.keys) + spareDummies
	byID := make(map[int64]int32, len(f.keys))
	for n := range f.keys {
		id := f.keys[n].ID
		if _, taken := byID[id]; id != 0 && !taken { // a second one of that name has none
			byID[id] = int32(n)
		}
	}
	for n := range f.keys {
		last := int32(none)
		for id := range f.keys[n].EachRef {
			ref, known := byID[id]
			if !known && len(f.parent) == most {
				continue
			}
			if !known {
				ref = f.node()
				byID[id] = ref
			}
			if last != none && f.parent[ref] == none {
				f.adopt(last, ref)
			}
			last = ref
		}
		f.orphan(int32(n))
		if last != none {
			f.adopt(last, int32(n))
		}
	}
}

func (f *forest) orphan(n int32) {
	if p := f.parent[n]; p != none {
		f.count[p]--
		f.parent[n] = none
	}
}

// maxClimb is how far up a loop is looked for. What has messages below it, and
// would stand deeper, stays where it is: else the time would be the square of
// the messages.
const maxClimb = 1000

// adopt makes a node without a parent the child of another, unless it is above that.
func (f *forest) adopt(parent, child int32) {
	if parent == child {
		return
	}
	if f.count[child] > 0 { // else it is above nothing
		steps := 0
		for n := parent; n != none; n = f.parent[n] {
			if steps++; n == child || steps > maxClimb {
				return
			}
		}
	}
	f.parent[child] = parent
	f.count[parent]++
}

// plant gives all nodes their children. Dummies tell something only at a root,
// of several: the children of others take their place.
func (f *forest) plant() {
	for n := range f.keys {
		if p := f.above(int32(n)); p != none {
			f.kids[p] = append(f.kids[p], int32(n))
		} else {
			f.roots = append(f.roots, int32(n))
		}
	}
	for n := len(f.keys); n < len(f.parent); n++ {
		switch kids := f.kids[n]; len(kids) {
		case 0:
		case 1:
			f.roots = append(f.roots, kids[0])
		default:
			f.roots = append(f.roots, int32(n))
		}
	}
}

// above is the nearest message above a node, or else the dummy at its root. The
// way there is made short for those that come after.
func (f *forest) above(n int32) int32 {
	top := f.parent[n]
	for top != none && f.isDummy(top) && f.parent[top] != none {
		top = f.parent[top]
	}
	for n != top && f.parent[n] != top {
		n, f.parent[n] = f.parent[n], top
	}
	return top
}

// postOrder returns all nodes that are in a thread, children before parents. A
// thread may be as deep as the mailbox has messages: no recursion.
func (f *forest) postOrder() []int32 {
	order := make([]int32, 0, len(f.parent))
	order = append(order, f.roots...)
	for i := 0; i < len(order); i++ {
		order = append(order, f.kids[order[i]]...)
	}
	slices.Reverse(order)
	return order
}

// sort sorts all siblings by their dates.
func (f *forest) sort() {
	for _, n := range f.postOrder() {
		slices.SortFunc(f.kids[n], f.byDate)
	}
	slices.SortFunc(f.roots, f.byDate)
}

// bySubjects joins threads of the same base subject.
func (f *forest) bySubjects() {
	for _, n := range f.roots {
		if f.isDummy(n) {
			slices.SortFunc(f.kids[n], f.byDate)
		}
	}
	slices.SortFunc(f.roots, f.byDate)
	table := map[string]int32{}
	for _, n := range f.roots { // step 5.B
		subject := f.keys[f.first(n)].Subject
		if subject == "" {
			continue
		}
		in, known := table[subject]
		if !known || !f.isDummy(in) && (f.isDummy(n) || f.isReply(in) && !f.isReply(n)) {
			table[subject] = n
		}
	}
	joined := map[int32]bool{}  // no root any more
	places := map[int32]int32{} // of roots for which a new dummy stands
	for _, n := range f.roots { // step 5.C
		subject := f.keys[f.first(n)].Subject
		in := table[subject]
		if subject == "" || in == n || joined[n] {
			continue
		}
		joined[n] = true
		switch {
		case f.isDummy(in) && f.isDummy(n):
			f.kids[in] = append(f.kids[in], f.kids[n]...)
		case f.isDummy(in), f.isReply(n) && !f.isReply(in):
			f.kids[in] = append(f.kids[in], n)
		default:
			d := f.node()
			f.kids[d] = []int32{in, n}
			table[subject], places[in] = d, d
		}
	}
	var roots []int32
	for _, n := range f.roots {
		if d, found := places[n]; found {
			n = d
		}
		if !joined[n] {
			roots = append(roots, n)
		}
	}
	f.roots = roots
}

func (f *forest) isReply(n int32) bool { return !f.isDummy(n) && f.keys[n].Reply }

// appendThread renders a thread: a message behind its parent, and children in
// parentheses where they are several (RFC 5256 section 4).
func (f *forest) appendThread(b []byte, root int32, number func(int32) uint32) []byte {
	type step struct {
		node  int32
		close bool
	}
	todo := []step{{root, false}}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s.close {
			b = append(b, ')')
			continue
		}
		b = append(b, '(')
		todo = append(todo, step{close: true})
		n := s.node
		for {
			if !f.isDummy(n) {
				if b[len(b)-1] != '(' {
					b = append(b, ' ')
				}
				b = strconv.AppendUint(b, uint64(number(n)), 10)
			}
			if len(f.kids[n]) != 1 {
				break
			}
			n = f.kids[n][0]
		}
		if len(f.kids[n]) > 0 && !f.isDummy(n) {
			b = append(b, ' ')
		}
		for _, k := range slices.Backward(f.kids[n]) {
			todo = append(todo, step{k, false})
		}
	}
	return b
}

package imapd

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mailbox/imapd/wire"
)

// drawPage draws a page of a short list, perhaps beside or beyond it.
func drawPage(t *rapid.T) page {
	end := func(label string) uint32 {
		return rapid.OneOf(rapid.Uint32Range(1, 12), rapid.Uint32Range(1, 1<<32-1)).Draw(t, label)
	}
	return page{from: end("from"), to: end("to"), last: rapid.Bool().Draw(t, "from the last")}
}

// pageOf is what RFC 9394 section 3.1 says of a page.
func pageOf[E any](list []E, p page) (out []E) {
	for i, e := range list {
		n := uint32(i + 1)
		if p.last {
			n = uint32(len(list) - i)
		}
		if n >= min(p.from, p.to) && n <= max(p.from, p.to) {
			out = append(out, e)
		}
	}
	return out
}

var (
	partialItem = regexp.MustCompile(`PARTIAL \((\S+) (\S+)\)`)
	fetchLine   = regexp.MustCompile(`(?s)^\* (\d+) FETCH \((.*)\)$`)
)

// inOrder are the numbers of a set as it was written.
func inOrder(t *rapid.T, set string) (out []string) {
	if set == "NIL" || set == "" {
		return nil
	}
	for part := range strings.SplitSeq(set, ",") {
		first, last, more := strings.Cut(part, ":")
		a, err := strconv.Atoi(first)
		b := a
		if more && err == nil {
			b, err = strconv.Atoi(last)
		}
		if err != nil || more && a >= b { // RFC 5267 section 3.2
			t.Fatalf("%s in %s", part, set)
		}
		for ; a <= b; a++ {
			out = append(out, strconv.Itoa(a))
		}
	}
	return out
}

// shuffled is two clients of one mailbox with messages in no order. Neither was
// told which another session has expunged since: these are still numbers to
// the first, until it uses a UID command, and never to the second.
func shuffled(f *fixture) (bySequence, byUID *client) {
	bySequence, byUID = f.login(), f.login()
	for i := range 20 {
		flags := []string{"", `(\Seen) `, `(\Flagged) `}[i%3]
		bySequence.upload("INBOX", flags, fmt.Sprintf("Date: Mon, %d Jan 2024 10:00:00 +0000\r\nSubject: %d\r\n\r\n", 1+i*7%20, i%4))
	}
	expunge := func(c *client, uids string) {
		c.ok("SELECT INBOX")
		c.ok("UID STORE " + uids + ` +FLAGS.SILENT (\Deleted)`)
		c.ok("EXPUNGE")
	}
	expunge(bySequence, "2,8:9")
	byUID.ok("SELECT INBOX")
	expunge(f.login(), "4,12:13,20")
	return bySequence, byUID
}

// TestPagesOfWhatIsFound: a page of SEARCH and SORT is that part of the whole
// answer, and the other options and "$" agree with it.
func TestPagesOfWhatIsFound(t *testing.T) {
	bySequence, byUID := shuffled(newFixture(t, nil))
	rapid.Check(t, func(t *rapid.T) {
		c, uid := bySequence, ""
		if rapid.Bool().Draw(t, "by UID") {
			c, uid = byUID, "UID "
		}
		command := uid + rapid.SampledFrom([]string{"SEARCH", "SORT"}).Draw(t, "command")
		query := rapid.SampledFrom([]string{"ALL", "SEEN", "NOT FLAGGED", "SUBJECT 3", "SUBJECT nothing", "UID 3:7", "YOUNGER 5000 NOT SEEN"}).Draw(t, "key")
		if strings.HasSuffix(command, "SORT") {
			query = rapid.SampledFrom([]string{"(DATE)", "(REVERSE ARRIVAL)", "(SUBJECT REVERSE DATE)"}).Draw(t, "order") + " UTF-8 " + query
		}
		first := func(command string) string { return strings.Split(c.untaggedOf(command), "\n")[0] }
		all := strings.Fields(first(command + " " + query))[2:]
		p := drawPage(t)
		options := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"MIN", "MAX", "COUNT", "SAVE"}), rapid.ID[string]).Draw(t, "options")
		has := func(o string) bool { return slices.Contains(options, o) }
		asked := command + " RETURN (" + strings.Join(append(options, "PARTIAL "+p.String()), " ") + ") " + query
		got := first(asked)
		part := partialItem.FindStringSubmatch(got)
		want := pageOf(all, p)
		if part == nil || part[1] != p.String() || !slices.Equal(inOrder(t, part[2]), want) || (part[2] == "NIL") != (len(want) == 0) {
			t.Fatalf("%s: %s, want %s of %s", asked, got, want, all)
		}
		expect := func(item string, told bool) {
			if strings.Contains(got, item) != told {
				t.Fatalf("%s: %s, but%q: %t", asked, got, item, told)
			}
		}
		expect(fmt.Sprintf(" COUNT %d ", len(all)), has("COUNT"))
		if len(all) > 0 {
			expect(" MIN "+all[0]+" ", has("MIN"))
			expect(" MAX "+all[len(all)-1]+" ", has("MAX"))
		}
		if !has("SAVE") {
			return
		}
		if len(all) > 0 && has("MIN") { // RFC 9394 section 3.2, table 1
			want = append(want, all[0])
		}
		if len(all) > 0 && has("MAX") {
			want = append(want, all[len(all)-1])
		}
		if has("COUNT") {
			want = all
		}
		saved := strings.TrimPrefix(strings.TrimPrefix(first(uid+"SEARCH $"), "* SEARCH"), " ")
		if saved != strings.Join(ascending(want), " ") {
			t.Fatalf("%s saved %s, want %s", asked, saved, want)
		}
	})
}

// ascending is the set of some numbers.
func ascending(list []string) []string {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return slices.Compact(out)
}

// TestPagesOfFetch: FETCH of a page is that part of the whole FETCH, whatever
// the set and whatever is gone.
func TestPagesOfFetch(t *testing.T) {
	bySequence, byUID := shuffled(newFixture(t, nil))
	gone := []string{"3", "9", "10", "17"} // numbers of bySequence
	bySequence.ok("SEARCH RETURN (SAVE) NOT SEEN")
	byUID.ok("UID SEARCH RETURN (SAVE) NOT SEEN")
	rapid.Check(t, func(t *rapid.T) {
		p := drawPage(t)
		set := rapid.OneOf(rapid.Just("$"), rapid.Just("1:*"), rapid.StringMatching(`([1-9]|1[0-7])(:([1-9]|1[0-7]|\*))?(,([1-9]|1[0-7])(:([1-9]|1[0-7]|\*))?){0,3}`)).Draw(t, "set")
		named, err := wire.ParseNumSet([]byte(set))
		if err != nil {
			t.Fatal(err)
		}
		fetch := func(c *client, command string) (numbers []string, tagged string) {
			untagged, tagged := c.do(command)
			for _, l := range untagged {
				if m := fetchLine.FindStringSubmatch(l); m != nil {
					numbers = append(numbers, m[1])
				}
			}
			return numbers, tagged
		}
		all, _ := fetch(byUID, "UID FETCH "+set+" FLAGS")
		if got, tagged := fetch(byUID, "UID FETCH "+set+" FLAGS (PARTIAL "+p.String()+")"); !slices.Equal(got, pageOf(all, p)) || !strings.HasPrefix(tagged, "OK") {
			t.Fatalf("UID FETCH %s (PARTIAL %s): %s %s, of %s", set, p, got, tagged, all)
		}
		all, _ = fetch(bySequence, "FETCH $ FLAGS")
		if !named.Saved {
			all = nil
			for n := range named.Normalize(17).All() {
				all = append(all, fmt.Sprint(n))
			}
		}
		want := slices.DeleteFunc(pageOf(all, p), func(n string) bool { return slices.Contains(gone, n) })
		answer := "OK"
		if len(want) < len(pageOf(all, p)) {
			answer = "NO [EXPUNGEISSUED]"
		}
		if got, tagged := fetch(bySequence, "FETCH "+set+" FLAGS (PARTIAL "+p.String()+")"); !slices.Equal(got, want) || !strings.HasPrefix(tagged, answer) {
			t.Fatalf("FETCH %s (PARTIAL %s): %s %s, want %s %s", set, p, got, tagged, want, answer)
		}
	})
}

package imapd

import (
	"fmt"
	"sort"
	"strings"
	"testing"
)

// TestListExtended has the mailboxes of RFC 5258 section 5, and asks about them
// in every way.
func TestListExtended(t *testing.T) {
	c := newFixture(t, nil).login()
	for _, name := range []string{"Fruit", "Fruit/Apple", "Fruit/Banana", "Tofu", "Vegetable", "Vegetable/Broccoli", "Vegetable/Corn"} {
		c.ok("CREATE " + name)
	}
	for _, name := range []string{"Archive", "Drafts", "Junk", "Sent", "Trash"} {
		c.ok("UNSUBSCRIBE " + name)
	}
	for _, name := range []string{"Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli", "lost/and/found"} {
		c.ok("SUBSCRIBE " + name)
	}
	for query, want := range map[string]string{
		`(SUBSCRIBED) "" "*"`: `(\Subscribed) INBOX|(\Subscribed) Fruit/Banana|(\Subscribed \NonExistent) Fruit/Peach|(\Subscribed) Vegetable|(\Subscribed) Vegetable/Broccoli|(\Subscribed \NonExistent) lost/and/found`,
		`(SUBSCRIBED) "" "%"`: `(\Subscribed) INBOX|(\Subscribed) Vegetable`,
		`(SUBSCRIBED RECURSIVEMATCH) "" "%"`: `(\Subscribed) INBOX|() Fruit ("CHILDINFO" ("SUBSCRIBED"))|` +
			`(\Subscribed) Vegetable ("CHILDINFO" ("SUBSCRIBED"))|(\NonExistent) lost ("CHILDINFO" ("SUBSCRIBED"))`,
		`(RECURSIVEMATCH SUBSCRIBED REMOTE) "" ("F*" "lost/%")`: `() Fruit ("CHILDINFO" ("SUBSCRIBED"))|(\Subscribed) Fruit/Banana|` +
			`(\Subscribed \NonExistent) Fruit/Peach|(\NonExistent) lost/and ("CHILDINFO" ("SUBSCRIBED"))`,
		`() "" "Fruit*"`:                              `() Fruit|() Fruit/Apple|() Fruit/Banana`,
		`(REMOTE) "" "Tofu"`:                          `() Tofu`,
		`"" "V*" RETURN (SUBSCRIBED)`:                 `(\Subscribed) Vegetable|(\Subscribed) Vegetable/Broccoli|() Vegetable/Corn`,
		`"" ("F%" "Tofu") RETURN (CHILDREN)`:          `(\HasChildren) Fruit|(\HasNoChildren) Tofu`,
		`"" ("INBOX" "Fruit/%" "%t")`:                 `() INBOX|() Fruit/Apple|() Fruit/Banana|() Fruit|(\Sent) Sent`,
		`(SPECIAL-USE) "" "*" RETURN (SPECIAL-USE)`:   `(\Archive) Archive|(\Drafts) Drafts|(\Junk) Junk|(\Sent) Sent|(\Trash) Trash`,
		`(SPECIAL-USE SUBSCRIBED) "" "*"`:             ``,
		`(SUBSCRIBED) "" "Fruit/%" RETURN (CHILDREN)`: `(\Subscribed \HasNoChildren) Fruit/Banana|(\Subscribed \NonExistent \HasNoChildren) Fruit/Peach`,
		`"Fruit/" ("A%" "P%") RETURN (SUBSCRIBED)`:    `() Fruit/Apple`,
		`() "" ""`:             ``,
		`"" "Fruit" RETURN ()`: `() Fruit`,
		`"" "Fruit"`:           `(\HasChildren) Fruit`,
		`(SUBSCRIBED) "" "Tofu" RETURN (STATUS (UIDNEXT))`: ``,
	} {
		got := c.untaggedOf("LIST " + query)
		if sortedLines(strings.ReplaceAll(got, ` "/" `, " "), "\n") != sortedLines(strings.ReplaceAll("* LIST "+want, "|", "|* LIST "), "|") && (got != "" || want != "") {
			t.Errorf("LIST %s:\n%s\nwant\n%s", query, got, want)
		}
	}
	for _, wrong := range []string{
		`(RECURSIVEMATCH) "" "*"`, `(RECURSIVEMATCH REMOTE) "" "*"`, `(NOSUCH) "" "*"`, `"" "*" RETURN (NOSUCH)`, `"" "*" RETURN`, `"" ()`,
		`"" "*" RETURN (STATUS)`, `"" "*" RETURN (STATUS (NOSUCH))`, `(SUBSCRIBED)`,
	} {
		c.fails("LIST "+wrong, "BAD")
	}
	c.fails(`LIST "" (`+strings.Repeat("a ", maxPatterns)+"a)", "BAD [LIMIT]")
	c.fails(`LIST "" `+strings.Repeat("a", maxPatternOctets+1), "BAD [LIMIT]")
}

// sortedLines puts lines, with the attributes in each, in an order of their own.
func sortedLines(s, sep string) string {
	lines := strings.Split(s, sep)
	for i, l := range lines {
		if before, rest, found := strings.Cut(l, "("); found {
			attrs, rest, _ := strings.Cut(rest, ")")
			words := strings.Fields(attrs)
			sort.Strings(words)
			lines[i] = before + "(" + strings.Join(words, " ") + ")" + rest
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// TestListStatus: each mailbox that can be selected and was asked for comes
// with its STATUS behind it.
func TestListStatus(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	c.ok("CREATE a/b/c")
	c.ok("DELETE a/b")
	c.upload("a", `(\Deleted) `, hello)
	c.ok("SUBSCRIBE a/b/c")
	if got, want := c.untaggedOf(`LIST "" a* RETURN (STATUS (MESSAGES UNSEEN) CHILDREN)`), `* LIST (\HasChildren) "/" a
* STATUS a (MESSAGES 1 UNSEEN 1)
* LIST (\NonExistent \HasChildren) "/" a/b
* LIST (\HasNoChildren) "/" a/b/c
* STATUS a/b/c (MESSAGES 0 UNSEEN 0)`; got != want {
		t.Errorf("list:\n%s", got)
	}
	if got, want := c.untaggedOf(`LIST (SUBSCRIBED RECURSIVEMATCH) "" a% RETURN (STATUS (MESSAGES))`), `* LIST () "/" a ("CHILDINFO" ("SUBSCRIBED"))`; got != want {
		t.Errorf("what only leads to a subscription:\n%s", got)
	}
	size := fmt.Sprint(len(hello))
	wantAll(t, c.ok(`LIST "" a RETURN (STATUS (SIZE DELETED UIDNEXT UIDVALIDITY RECENT HIGHESTMODSEQ APPENDLIMIT))`),
		"* STATUS a (SIZE "+size+" DELETED 1 UIDNEXT 2 UIDVALIDITY ", " RECENT 1 HIGHESTMODSEQ ")
}

package main

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A goCopy is a copy of a scene's mailbox that is kept with go-imap's client.
type goCopy struct {
	*scene
	c       *imapclient.Client
	folders map[string]*goFolder
}

// A goFolder is what the copy has of a folder.
type goFolder struct {
	known map[imap.UID]entry
	next  imap.UID
	seen  uint64 // modseq
}

// TestGoIMAP has the client speak IMAP4rev2, over TLS and after a login that is
// bound to it. Of other sessions' changes it learns by modseqs.
func TestGoIMAP(t *testing.T) {
	s := newScene(t)
	s.server.ok("DELETE R&D") // go-imap takes & for the begin of UTF-7 where names are UTF-8
	s.want.take(entry{folder: "R&D"})
	local := &goCopy{scene: s, folders: map[string]*goFolder{}}
	local.connect()
	local.sync()
	s.agree(local.contents(), keeper{})
	s.changeOnServer()
	for _, a := range s.plan() {
		local.do(a)
	}
	local.sync()
	s.agree(local.contents(), keeper{})
	local.must(local.c.Logout().Wait())
}

func (g *goCopy) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *goCopy) connect() {
	g.t.Helper()
	pem, err := os.ReadFile(g.ca)
	g.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	tc, err := tls.Dial("tcp", "localhost:"+g.ports, &tls.Config{RootCAs: roots})
	g.must(err)
	g.c = imapclient.New(tc, nil)
	g.t.Cleanup(func() { g.c.Close() })
	g.must(g.c.Authenticate(&scramPlus{state: tc.ConnectionState(), name: "alice@home.example", password: testPassword}))
	_, err = g.c.Enable(imap.CapIMAP4rev2).Wait()
	g.must(err)
}

// sync brings the copy up to date.
func (g *goCopy) sync() {
	g.t.Helper()
	listed, err := g.c.List("", "*", nil).Collect()
	g.must(err)
	for _, l := range listed {
		if g.folders[l.Mailbox] == nil {
			g.folders[l.Mailbox] = &goFolder{known: map[imap.UID]entry{}, next: 1}
		}
		g.syncFolder(l.Mailbox, g.folders[l.Mailbox])
	}
}

func (g *goCopy) syncFolder(name string, f *goFolder) {
	g.t.Helper()
	selected, err := g.c.Select(name, &imap.SelectOptions{CondStore: true}).Wait()
	g.must(err)
	whole := &imap.FetchItemBodySection{Peek: true}
	added, err := g.c.Fetch(imap.UIDSet{{Start: f.next, Stop: max(f.next, selected.UIDNext-1)}},
		&imap.FetchOptions{UID: true, Flags: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	g.must(err)
	changed, err := g.c.Fetch(imap.UIDSet{{Start: 1}}, &imap.FetchOptions{UID: true, Flags: true, ModSeq: true, ChangedSince: max(f.seen, 1)}).Collect()
	g.must(err)
	there, err := g.c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
	g.must(err)
	for _, m := range added {
		f.known[m.UID] = entry{folder: name, digest: digest(string(m.FindBodySection(whole)))}
	}
	for _, m := range slices.Concat(changed, added) {
		var flags []string
		for _, flag := range m.Flags {
			flags = append(flags, string(flag))
		}
		e := f.known[m.UID]
		e.flags = flagList(flags...)
		f.known[m.UID] = e
	}
	uids := there.AllUIDs()
	maps.DeleteFunc(f.known, func(uid imap.UID, _ entry) bool { return !slices.Contains(uids, uid) })
	f.next, f.seen = selected.UIDNext, selected.HighestModSeq
}

// do does something on the server.
func (g *goCopy) do(a action) {
	g.t.Helper()
	switch a.verb {
	case "create":
		g.must(g.c.Create(a.folder, nil).Wait())
		return
	case "append":
		text, err := os.ReadFile(a.file)
		g.must(err)
		up := g.c.Append(a.folder, int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.Flag(a.to)}})
		_, err = up.Write(text)
		g.must(err)
		g.must(up.Close())
		_, err = up.Wait()
		g.must(err)
		return
	}
	_, err := g.c.Select(a.folder, nil).Wait()
	g.must(err)
	var uids imap.UIDSet
	for uid, e := range g.folders[a.folder].known {
		if e.digest == a.digest {
			uids.AddNum(uid)
		}
	}
	store := func(op imap.StoreFlagsOp, flag string) {
		g.must(g.c.Store(uids, &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{imap.Flag(flag)}}, nil).Close())
	}
	switch a.verb {
	case "delete":
		store(imap.StoreFlagsAdd, `\Deleted`)
		g.must(g.c.UIDExpunge(uids).Close())
	case "flag":
		store(imap.StoreFlagsAdd, a.to)
	case "unflag":
		store(imap.StoreFlagsDel, a.to)
	case "move":
		_, err := g.c.Move(uids, a.to).Wait()
		g.must(err)
	}
}

func (g *goCopy) contents() contents {
	got := contents{}
	for name, f := range g.folders {
		got[entry{folder: name}]++
		for _, e := range f.known {
			got[e]++
		}
	}
	return got
}

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"mailbox/admin"
)

// TestAdminDKIM runs every command on the keys with the server stopped and
// running: the same commands do the same. A server that starts has made the
// first keys.
func TestAdminDKIM(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "running"}[running], func(t *testing.T) {
			s := newSite(t)
			dkim := func(args ...string) string {
				t.Helper()
				return s.run("", append([]string{"admin", "dkim"}, args...)...)
			}
			list := func() (all []admin.DKIMKey) {
				t.Helper()
				if err := json.Unmarshal([]byte(dkim("list", "--json")), &all); err != nil {
					t.Fatal(err)
				}
				return all
			}
			says := func(out string, wants ...string) {
				t.Helper()
				for _, want := range wants {
					if !strings.Contains(out, want) {
						t.Errorf("dkim says\n%s\nwithout %q", out, want)
					}
				}
			}
			if running {
				s.start()
				for until := time.Now().Add(20 * time.Second); !strings.Contains(s.logged(), "DKIM keys were made"); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(until) {
						t.Fatalf("the server made no keys:\n%s", s.logged())
					}
				}
				says(s.logged(), "mailbox admin dkim list home.example --records")
			} else {
				says(dkim("add", "home.example"), "signs since", "._domainkey.home.example")
			}
			keys := list()
			if len(keys) != 2 || keys[0].State != "signs" || keys[1].State != "signs" {
				t.Fatalf("the first keys: %+v", keys)
			}
			rsa, ed := keys[0], keys[1]
			says(dkim("list", "home.example", "--records"), "signs since", "name   "+rsa.Selector+"._domainkey.home.example\n  type   TXT\n  value  "+rsa.Value+"\n",
				rsa.Selector+`._domainkey.home.example. IN TXT ( "v=DKIM1; k=rsa; p=MII`, ed.Name+". IN TXT ( "+ed.Zone+" )\n")

			out := dkim("rotate", "home.example")
			says(out, "waits for its DNS record", rsa.Selector+"2._domainkey.home.example. IN TXT (", ed.Selector+"2._domainkey")
			if strings.Contains(out, rsa.Value) {
				t.Errorf("the old record is to be published again:\n%s", out)
			}
			says(dkim("retire", "home.example", ed.Selector), "retired on", "its record must stay until")
			says(dkim("retire", "home.example", ed.Selector+"2"), "its record is not needed")
			records := dkim("list", "--records")
			says(records, ed.Zone)
			if strings.Contains(records, ed.Selector+"2._domainkey") {
				t.Errorf("a record that nobody needs is to be published:\n%s", records)
			}
			says(dkim("remove", "home.example", ed.Selector), "Removed the key", "must stay in the DNS until")
			if out := dkim("remove", "home.example", ed.Selector+"2"); strings.Contains(out, "must stay") {
				t.Errorf("the record of a key that never signed must stay:\n%s", out)
			}
			var made []admin.DKIMKey
			if err := json.Unmarshal([]byte(dkim("add", "home.example", "--selector", "Mine", "--algorithm", "ed25519", "--json")), &made); err != nil || len(made) != 1 || made[0].Selector != "mine" || made[0].State != "signs" {
				t.Errorf("add --json: %+v, %v", made, err)
			}
			var states string
			for _, k := range list() {
				states += strings.TrimPrefix(k.Selector, rsa.Selector) + " " + k.State + "; "
			}
			if want := " signs; 2 waits; mine signs; "; states != want {
				t.Errorf("left are %q, want %q", states, want)
			}
		})
	}
}

package maildir

import (
	"strings"
	"testing"

	"mailbox/admin/archive"
)

func FuzzKeywords(f *testing.F) {
	f.Add("0 $Forwarded\n1 Foo\n25 x\n26 y\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := readKeywords(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := readKeywords(strings.NewReader(string(k.file())))
		if err != nil || *again != *k {
			t.Fatalf("%q: %v, then %v, %v", text, k, again, err)
		}
	})
}

func FuzzUIDList(f *testing.F) {
	f.Add("3 V1795604989 N1 G195f1c03fcc1066bb47e000083ecc375\n1 :1795604988.M113417P32436.vm,S=15,W=18\n2 W9 :x:2,S\n")
	f.Add("1 1 3\n1 a\n2 b:2,S\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = readUIDs(strings.NewReader(text), func(unique string, uid uint32) {
			if uid == 0 || strings.Contains(unique, "\n") {
				t.Fatalf("%q: %d %q", text, uid, unique)
			}
		})
	})
}

func FuzzFileName(f *testing.F) {
	f.Add("1795604988.M113417P32436.vm,S=15,W=18:2,Sab")
	f.Add("1.H:2,DFPRST,x")
	f.Add("5.M7H00112233445566778899aabbccddeeff_0.mailbox,S=1:2,")
	f.Fuzz(func(t *testing.T, name string) {
		stays, letters := splitName(name)
		if !strings.HasPrefix(name, stays) {
			t.Fatalf("%q stays %q", name, stays)
		}
		k := &keywords{}
		k.names[0] = "Kind"
		flags, _ := k.flags(letters)
		back, lost := k.letters(flags)
		if flags2, _ := k.flags(back); lost != nil || strings.Join(sorted(flags), " ") != strings.Join(sorted(flags2), " ") {
			t.Fatalf("%q: %q, then %q, lost %q", name, flags, flags2, lost)
		}
		if u, ok := parseUnique(name); ok {
			if again, ok := parseUnique(u.String()); !ok || again != u {
				t.Fatalf("%q: %v, then %v", name, u, again)
			}
		}
		_ = archive.Readable(decodeName(name))
	})
}

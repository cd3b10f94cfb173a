package pull

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestScram plays the examples of RFC 5802 section 5 and RFC 7677 section 3.
func TestScram(t *testing.T) {
	for _, test := range []struct{ name, nonce, first, final, server string }{
		{
			"SCRAM-SHA-1", "fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
			"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
		},
		{
			"SCRAM-SHA-256", "rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		},
	} {
		for _, server := range []string{test.server, "v=" + base64.StdEncoding.EncodeToString([]byte("guessed"))} {
			m := newScram(test.name, "user", "pencil", test.nonce)
			first, err := m.step(nil)
			if string(first) != "n,,n=user,r="+test.nonce || err != nil {
				t.Errorf("first is %q, %v", first, err)
			}
			final, err := m.step([]byte(test.first))
			if string(final) != test.final || err != nil {
				t.Errorf("final is %q, %v", final, err)
			}
			if m.done() == nil {
				t.Error("the server need not prove anything")
			}
			_, err = m.step([]byte(server))
			if good := server == test.server; (err == nil) != good || (m.done() == nil) != good {
				t.Errorf("%s: %v, %v", server, err, m.done())
			}
		}
	}
}

func FuzzScram(f *testing.F) {
	f.Add("r=abc1,s=QSXCR+Q6sek8bf92,i=1")
	f.Add("r=abc1,s=,i=-1,x")
	f.Fuzz(func(t *testing.T, challenge string) {
		if strings.Contains(challenge, "i=") && len(challenge[strings.Index(challenge, "i="):]) > 5 {
			t.Skip() // it works for its living
		}
		m := newScram("SCRAM-SHA-1", "user", "pencil", "abc")
		_, _ = m.step(nil)
		if final, err := m.step([]byte(challenge)); err == nil && !strings.HasPrefix(string(final), "c=biws,r=abc") {
			t.Errorf("%q is answered %q", challenge, final)
		}
	})
}

package listen

import "testing"

func TestCheckAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		":25": true, "127.0.0.1:25": true, "[::1]:25": true, "mx.example.org:25": true,
		"25": false, "127.0.0.1": false, "::1:25": false, "": false,
	} {
		if err := CheckAddresses("mta.listen", 25, []string{address}); (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestCheckPlaintext(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:143": true, "127.9.9.9:143": true, "[::1]:143": true,
		":143": false, "0.0.0.0:143": false, "192.0.2.1:143": false, "localhost:143": false, "nonsense": false,
	} {
		if err := CheckPlaintext("imapd.plaintext_login", []string{address}); (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
	}
}

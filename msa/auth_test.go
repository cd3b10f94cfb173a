package msa

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"testing"
)

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestMechanisms: each way to log in opens MAIL, and says so once.
func TestMechanisms(t *testing.T) {
	f := newFixture(t, nil)
	for name, exchange := range map[string]string{
		"plain":                  "C: AUTH PLAIN ${ALICE}",
		"plain, later":           "C: auth plain\nS: 334 \nC: ${ALICE}",
		"plain, as herself":      "C: AUTH PLAIN " + encode("alice@home.example\x00alice@home.example\x00"+password),
		"login":                  "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: " + encode("alice@home.example") + "\nS: 334 UGFzc3dvcmQ6\nC: " + encode(password),
		"login, initial":         "C: AUTH LOGIN " + encode("Alice@HOME.example") + "\nS: 334 UGFzc3dvcmQ6\nC: " + encode(password),
		"login, empty initial":   "C: AUTH LOGIN =\nS: 334 VXNlcm5hbWU6\nC: " + encode("alice@home.example") + "\nS: 334 UGFzc3dvcmQ6\nC: " + encode(password),
		"after one that failed":  "C: AUTH PLAIN ${WRONG}\nS: 535 5.7.8 *\nC: AUTH PLAIN ${ALICE}",
		"after one that gave up": "C: AUTH PLAIN\nS: 334 \nC: *\nS: 501 *\nC: AUTH PLAIN ${ALICE}",
	} {
		t.Run(name, func(t *testing.T) {
			f.play(t, "connect submissions\nS: 220 *\nC: EHLO client.example\nS* 250 *\nC: MAIL FROM:<alice@home.example>\nS: 530 5.7.0 *\n"+exchange+`
S: 235 2.7.0 *
C: AUTH PLAIN ${BOB}
S: 503 5.5.1 *
C: MAIL FROM:<bob@home.example>
S: 553 5.7.1 bob@home.example is not an address of yours
C: MAIL FROM:<alice@home.example>
S: 250 *
C: AUTH PLAIN ${BOB}
S: 503 5.5.1 *
C: EHLO client.example
S* 250 *
C: AUTH PLAIN ${BOB}
S: 503 5.5.1 *
C: MAIL FROM:<alice@home.example>
S: 250 *`)
		})
	}
}

// TestBrokenLogins: none of them lets anybody in, or leaves the exchange open.
func TestBrokenLogins(t *testing.T) {
	shared := newFixture(t, nil)
	for name, exchange := range map[string]string{
		"no mechanism":          "C: AUTH\nS: 501 5.5.4 *",
		"unknown mechanism":     "C: AUTH CRAM-MD5\nS: 504 5.5.4 *",
		"plus without binding":  "C: AUTH SCRAM-SHA-256-PLUS " + encode("n,,n=alice@home.example,r=x") + "\nS: 504 5.5.4 *",
		"too many words":        "C: AUTH PLAIN ${ALICE} ${ALICE}\nS: 501 5.5.4 *",
		"bad base64":            "C: AUTH PLAIN %%%\nS: 501 5.5.2 *",
		"bad base64, later":     "C: AUTH PLAIN\nS: 334 \nC: AGE\nS: 501 5.5.2 *",
		"empty":                 "C: AUTH PLAIN =\nS: 501 5.5.2 *",
		"empty line":            "C: AUTH PLAIN\nS: 334 \nC: \nS: 501 5.5.2 *",
		"two parts":             "C: AUTH PLAIN " + encode("alice@home.example\x00"+password) + "\nS: 501 5.5.2 *",
		"no password":           "C: AUTH PLAIN " + encode("\x00alice@home.example\x00") + "\nS: 501 5.5.2 *",
		"as another":            "C: AUTH PLAIN " + encode("bob@home.example\x00alice@home.example\x00"+password) + "\nS: 535 5.7.8 *",
		"wrong":                 "C: AUTH PLAIN ${WRONG}\nS: 535 5.7.8 *",
		"unknown user":          "C: AUTH PLAIN " + encode("\x00nobody@home.example\x00"+password) + "\nS: 535 5.7.8 *",
		"by an alias":           "C: AUTH PLAIN " + encode("\x00staff@home.example\x00"+password) + "\nS: 535 5.7.8 *",
		"cancelled":             "C: AUTH LOGIN\nS: 334 *\nC: *\nS: 501 *",
		"a command in between":  "C: AUTH LOGIN\nS: 334 *\nC: QUIT\nS: 334 *\nC: *\nS: 501 *",
		"broken line":           "C: AUTH LOGIN\nS: 334 *\nC| abc\\n\nS: 500 5.5.2 *\nclosed",
		"control characters":    "C: AUTH LOGIN\nS: 334 *\nC: \\x00\nS: 500 5.5.2 *\nclosed",
		"endless answer":        "C: AUTH LOGIN\nS: 334 *\nC* 13000 A\nC|\\r\\n\nS: 500 5.5.2 *\nclosed",
		"long answer":           "C: AUTH PLAIN\nS: 334 *\nC* 12000 A\nC|\\r\\n\nS: 501 5.5.2 *",
		"three, with TLS begun": "C: AUTH PLAIN ${WRONG}\nS: 535 *\nC: AUTH PLAIN ${WRONG}\nS: 535 *\nC: STARTTLS\nS: 220 *\ntls\nC: EHLO client.example\nS* 250 *\nC: AUTH PLAIN ${WRONG}\nS: 535 *\nS: 421 4.7.0 *\nclosed",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := shared
			if strings.Contains(exchange, "535") { // the answers to wrong passwords are held back, the more there were
				f = newFixture(t, nil)
			}
			if !strings.HasSuffix(exchange, "closed") {
				exchange += "\nC: MAIL FROM:<alice@home.example>\nS: 530 5.7.0 *"
			}
			f.play(t, "connect submission\nS: 220 *\nC: EHLO client.example\nS* 250 *\n"+exchange)
		})
	}
}

// TestStartTLSForgets: a login before TLS is none after it.
func TestStartTLSForgets(t *testing.T) {
	f := newFixture(t, nil)
	f.play(t, loggedIn("ALICE")+`C: STARTTLS
S: 220 *
tls
C: EHLO client.example
S* 250 *
C: MAIL FROM:<alice@home.example>
S: 530 5.7.0 *
C: AUTH PLAIN ${BOB}
S: 235 *
C: MAIL FROM:<bob@home.example>
S: 250 *`)
}

// TestNoPlaintext: without TLS nobody logs in, and nothing else is told.
func TestNoPlaintext(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.PlaintextLogin = false })
	f.play(t, `connect submission
S: 220 *
C: EHLO client.example
S* 250 *
C: AUTH PLAIN ${ALICE}
S: 538 5.7.11 *
C: AUTH NONSENSE
S: 538 5.7.11 *
C: MAIL FROM:<alice@home.example> REQUIRETLS
S: 530 5.7.0 *
C: STARTTLS
S: 220 *
tls
C: EHLO client.example
S* 250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN
S* 250 *
C: AUTH PLAIN ${ALICE}
S: 235 *`)
}

// TestScram logs in by SCRAM-SHA-256 (RFC 7677), written from RFC 5802. The
// server's signature comes as a challenge, because SMTP has no data with success.
func TestScram(t *testing.T) {
	f := newFixture(t, nil)
	for secret, want := range map[string]string{password: "334 ", "wrong": "535 "} {
		c := f.bare(t)
		const bare = "n=alice@home.example,r=client"
		first, ok := strings.CutPrefix(c.say("AUTH SCRAM-SHA-256 "+encode("n,,"+bare)), "334 ")
		decoded, err := base64.StdEncoding.DecodeString(first)
		if !ok || err != nil {
			t.Fatalf("%q %v", first, err)
		}
		parts := strings.Split(string(decoded), ",")
		salt, err := base64.StdEncoding.DecodeString(parts[1][2:])
		if err != nil || parts[2] != "i=10" {
			t.Fatalf("%q %v", parts, err)
		}
		salted, err := pbkdf2.Key(sha256.New, secret, salt, 10, sha256.Size)
		if err != nil {
			t.Fatal(err)
		}
		mac := func(key []byte, text string) []byte {
			h := hmac.New(sha256.New, key)
			h.Write([]byte(text))
			return h.Sum(nil)
		}
		key := mac(salted, "Client Key")
		stored := sha256.Sum256(key)
		final := "c=biws," + parts[0]
		text := bare + "," + string(decoded) + "," + final
		subtle.XORBytes(key, key, mac(stored[:], text))
		reply := c.say(encode(final + ",p=" + base64.StdEncoding.EncodeToString(key)))
		if !strings.HasPrefix(reply, want) {
			t.Fatalf("%s: %s", secret, reply)
		}
		if want == "334 " {
			if reply != want+encode("v="+base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), text))) {
				t.Errorf("the server does not prove itself: %s", reply)
			}
			if reply = c.say(""); !strings.HasPrefix(reply, "235 ") {
				t.Error(reply)
			}
		}
		c.Close()
	}
}

package mailauth

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-msgauth/dkim"

	"mailbox/internal/message"
)

// randomMessages returns messages from a@bank.example, odd in all ways in
// which a message that came over SMTP can be.
func randomMessages(t *testing.T, n int) []string {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	text := func(max int) string {
		var b strings.Builder
		for range r.IntN(max) {
			b.WriteString(pick("word", "x", "longer words ", " ", "\t", "  ", "=", ";", ":", "ä", "\xff\xfe", "€", "b=", "(", "\"", "\\", "<a@b>", ","))
		}
		return b.String()
	}
	fold := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			if c == ' ' && r.IntN(6) == 0 {
				b.WriteString("\r\n")
			}
			b.WriteByte(c)
		}
		// A line of nothing but space would be the end of the header for some.
		lines := strings.Split(b.String(), "\r\n")
		for i, line := range lines {
			if strings.Trim(line, " \t") == "" {
				lines[i] = line + "."
			}
		}
		return strings.Join(lines, "\r\n")
	}
	var messages []string
	for range n {
		var b strings.Builder
		for range r.IntN(4) {
			b.WriteString(pick("Received", "X-Odd", "x-ODD", "Content-Type", "Comments", "DKIM-Signature-Not") + ":" + fold(" "+text(20)) + "\r\n")
		}
		b.WriteString(pick("From", "FROM", "from") + ":" + pick("", " ", "\t ") + "a@bank.example" + pick("", " ", "\r\n (comment)") + "\r\n")
		for _, name := range []string{"To", "Subject", "Date", "Message-ID", "Subject", "List-Id", "Reply-To"} {
			if r.IntN(3) > 0 {
				b.WriteString(name + ":" + fold(" "+text(30)) + "\r\n")
			}
		}
		b.WriteString("\r\n")
		for range r.IntN(12) {
			switch r.IntN(5) {
			case 0:
				b.WriteString(strings.Repeat("\r\n", r.IntN(4)))
			case 1:
				b.WriteString(strings.Repeat(pick("long ", "x", "\t ", "ä"), r.IntN(3000)) + "\r\n")
			default:
				b.WriteString(text(15) + pick("", " ", "\t", " \t ") + "\r\n")
			}
		}
		messages = append(messages, b.String())
	}
	return messages
}

// bothKeys are of bank.example, and zone publishes them.
func bothKeys(tb testing.TB) (keys []Key, zone string) {
	keys = []Key{newKey(tb, RSA, "bank.example", "r1"), newKey(tb, Ed25519, "bank.example", "e1")}
	return keys, published(tb, keys...)
}

// TestOthersVerifyOurs has 1,000 messages that we signed verified by go-msgauth
// and by ourselves.
func TestOthersVerifyOurs(t *testing.T) {
	t.Parallel()
	keys, zone := bothKeys(t)
	c, _ := newChecker(t, zone)
	lookup := func(name string) ([]string, error) {
		answer, err := c.DNS.TXT(ctx, name)
		return answer.Records, err
	}
	for _, text := range randomMessages(t, 1000) {
		signed := sign(t, text, keys...)
		for line := range strings.SplitSeq(signed[:len(signed)-len(text)], "\r\n") {
			if len(line) > 78 {
				t.Errorf("line of %d octets: %s", len(line), line)
			}
		}
		results, err := dkim.VerifyWithOptions(strings.NewReader(signed), &dkim.VerifyOptions{LookupTXT: lookup})
		if err != nil || len(results) != 2 || results[0].Err != nil || results[1].Err != nil {
			t.Fatalf("go-msgauth: %v, %+v\n%q", err, results, signed)
		}
		r := check(t, c, stranger, signed)
		if len(r.DKIM) != 2 || r.DKIM[0].Result != Pass || r.DKIM[1].Result != Pass {
			t.Fatalf("we: %+v\n%q", r.DKIM, signed)
		}
	}
}

// TestWeVerifyOthers has messages that go-msgauth signed verified by us.
func TestWeVerifyOthers(t *testing.T) {
	t.Parallel()
	keys, zone := bothKeys(t)
	c, _ := newChecker(t, zone)
	for i, text := range randomMessages(t, 1000) {
		key := keys[i%2]
		canon := []dkim.Canonicalization{dkim.CanonicalizationSimple, dkim.CanonicalizationRelaxed}
		var signed bytes.Buffer
		err := dkim.Sign(&signed, strings.NewReader(text), &dkim.SignOptions{
			Domain: key.Domain, Selector: key.Selector, Signer: key.Private,
			HeaderCanonicalization: canon[i/2%2], BodyCanonicalization: canon[i/4%2],
		})
		if err != nil {
			t.Fatal(err)
		}
		r := check(t, c, stranger, signed.String())
		if len(r.DKIM) != 1 || r.DKIM[0].Result != Pass {
			t.Fatalf("%+v\n%q", r.DKIM, signed.String())
		}
	}
}

// requireProgram skips the test where a program is missing, unless all are
// wanted.
func requireProgram(t *testing.T, missing bool, name string) {
	t.Helper()
	if !missing {
		return
	}
	if os.Getenv("MAILBOX_REQUIRE_PROGRAMS") != "" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is not installed", name)
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

// writeMessages writes messages into files of a directory, and returns their
// names.
func writeMessages(t *testing.T, dir string, messages []string) (names []string) {
	t.Helper()
	for i, text := range messages {
		names = append(names, fmt.Sprintf("%04d", i))
		if err := os.WriteFile(filepath.Join(dir, names[i]), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestMailDKIM exchanges 1,000 messages each way with Perl's Mail::DKIM, which
// knows RSA only.
func TestMailDKIM(t *testing.T) {
	t.Parallel()
	requireProgram(t, exec.Command("perl", "-MMail::DKIM", "-e1").Run() != nil, "Mail::DKIM")
	key := newKey(t, RSA, "bank.example", "r1")
	c, server := newChecker(t, published(t, key))
	dir := t.TempDir()
	messages := randomMessages(t, 1000)
	var signed []string
	for _, text := range messages {
		signed = append(signed, sign(t, text, key))
	}
	writeMessages(t, dir, signed)
	_, port, _ := strings.Cut(server.Addr, ":")
	for i, result := range strings.Fields(run(t, dir, "perl", "-MMail::DKIM::Verifier", "-MNet::DNS", "-e", `
		Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ["127.0.0.1"], port => $ARGV[0]));
		for (sort glob("*")) {
			my $v = Mail::DKIM::Verifier->new;
			open my $f, "<:raw", $_ or die; local $/; $v->PRINT(<$f>); $v->CLOSE;
			print $v->result, "\n";
		}`, port)) {
		if result != "pass" {
			t.Errorf("Mail::DKIM verifies ours: %s\n%q", result, signed[i])
		}
	}

	writeMessages(t, dir, messages)
	private := x509.MarshalPKCS1PrivateKey(rsaKey(t, key))
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(run(t, dir, "perl", "-MMail::DKIM::Signer", "-e", `
		my @methods = ("relaxed/relaxed", "relaxed", "simple", "simple/relaxed");
		for (sort glob("0*")) {
			my $s = Mail::DKIM::Signer->new(Algorithm => "rsa-sha256", Method => $methods[$_ % 4],
				Domain => "bank.example", Selector => "r1", KeyFile => "key.pem");
			open my $f, "<:raw", $_ or die; local $/; $s->PRINT(<$f>); $s->CLOSE;
			print $s->signature->as_string, "\r\n\0";
		}`), "\x00")
	verifyAll(t, c, "Mail::DKIM", fields[:len(fields)-1], messages)
}

// verifyAll checks that we verify what another program signed.
func verifyAll(t *testing.T, c *Checker, program string, fields, messages []string) {
	t.Helper()
	if len(fields) != len(messages) {
		t.Fatalf("%s signed %d of %d messages", program, len(fields), len(messages))
	}
	for i, field := range fields {
		if r := check(t, c, stranger, field+messages[i]); len(r.DKIM) != 1 || r.DKIM[0].Result != Pass {
			t.Errorf("we verify what %s signed: %+v\n%q", program, r.DKIM, field+messages[i])
		}
	}
}

// TestOpenDKIM does the same with OpenDKIM.
func TestOpenDKIM(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("opendkim")
	requireProgram(t, err != nil, "opendkim")
	key := newKey(t, RSA, "bank.example", "r1")
	c, _ := newChecker(t, published(t, key))
	dir := t.TempDir()
	record, err := key.Record()
	if err != nil {
		t.Fatal(err)
	}
	private, err := MarshalKey(key.Private)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"keys":   key.Name() + " " + record + "\n",
		"key":    string(private),
		"verify": "Mode v\nSyslog no\nTestPublicKeys " + filepath.Join(dir, "keys") + "\n",
		"sign": "Mode s\nSyslog no\nDomain bank.example\nSelector r1\nRequireSafeKeys no\nCanonicalization relaxed/simple\nKeyFile " +
			filepath.Join(dir, "key") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	messages := randomMessages(t, 1000)
	var signed []string
	for _, text := range messages {
		signed = append(signed, sign(t, text, key))
	}
	inserted := func(config string, texts []string) []string {
		names := writeMessages(t, dir, texts)
		out := run(t, dir, "opendkim", "-x", config, "-vvv", "-t", strings.Join(names, ","))
		return strings.Split(out, "### INSHEADER: idx=0 hname='")[1:]
	}
	results := inserted("verify", signed)
	if len(results) != len(signed) {
		t.Fatalf("OpenDKIM looked at %d of %d messages", len(results), len(signed))
	}
	for i, result := range results {
		if !strings.Contains(result, "dkim=pass") {
			t.Errorf("OpenDKIM verifies ours: %s%q", result, signed[i])
		}
	}
	var fields []string
	for _, result := range inserted("sign", messages) {
		_, value, _ := strings.Cut(result, "hvalue='")
		value, _, _ = strings.Cut(value, "'\n")
		fields = append(fields, "DKIM-Signature: "+strings.ReplaceAll(value, "\n", "\r\n")+"\r\n")
	}
	verifyAll(t, c, "OpenDKIM", fields, messages)
}

func TestSignRefuses(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	signer := Signer{Keys: []Key{key}}
	header, _ := split("To: x@y.example\n\n")
	if _, err := signer.Sign(header, strings.NewReader("")); err == nil {
		t.Error("signed a message without From")
	}
	header, _ = split(simple)
	broken := errors.New("disk on fire")
	if _, err := signer.Sign(header, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("body that cannot be read: %v", err)
	}
	for _, bad := range []Key{{"bank..example", "s", key.Private}, {"bank.example", "a b; x=y", key.Private}} {
		signer := Signer{Keys: []Key{bad}}
		if fields, err := signer.Sign(header, strings.NewReader("")); err == nil {
			t.Errorf("signed as %s: %s", bad.Name(), fields)
		}
	}
}

// TestSignManyFields has a header with more fields than a signature may name.
func TestSignManyFields(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, _ := newChecker(t, published(t, key))
	text := strings.Repeat("To: x@y.example\nList-Id: x\n", 5000) + simple
	if r := check(t, c, stranger, sign(t, text, key)); r.DKIM[0].Result != Pass {
		t.Errorf("got %+v", r.DKIM)
	}
}

func TestKeys(t *testing.T) {
	for _, algorithm := range []Algorithm{RSA, Ed25519} {
		key := newKey(t, algorithm, "bank.example", "s1")
		text, err := MarshalKey(key.Private)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		was, _ := key.Record()
		is, _ := Key{"bank.example", "s1", again}.Record()
		if was != is {
			t.Errorf("%s: became another key", algorithm)
		}
		public, err := parsePublicKey(was)
		if err != nil || public.algorithm != string(algorithm) {
			t.Errorf("%s: record %s: %v", algorithm, was, err)
		}
		// What the operator pastes is what the world sees, whole.
		c, _ := newChecker(t, key.Name()+". TXT "+ZoneText(was))
		answer, err := c.DNS.TXT(ctx, key.Name())
		if err != nil || len(answer.Records) != 1 || answer.Records[0] != was {
			t.Errorf("%s: %q, %v, want %q", algorithm, answer.Records, err, was)
		}
		for part := range strings.SplitSeq(strings.Trim(ZoneText(was), `"`), `" "`) {
			if len(part) > 255 {
				t.Errorf("string of %d octets", len(part))
			}
		}
	}
	rsa1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey(t, newKey(t, RSA, "a.example", "s")))})
	if _, err := ParseKey(rsa1); err != nil {
		t.Errorf("PKCS #1: %v", err)
	}
	for _, bad := range []string{"", "key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if key, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q: got %v", bad, key)
		}
	}
	if _, err := GenerateKey("dsa"); err == nil {
		t.Error("made a key for an algorithm that there is not")
	}
}

func TestZoneText(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `""`,
		"v=DKIM1; p=AA":          `"v=DKIM1; p=AA"`,
		`a"b\c`:                  `"a\"b\\c"`,
		"ä\x00":                  `"\195\164\000"`,
		strings.Repeat("a", 255): `"` + strings.Repeat("a", 255) + `"`,
		strings.Repeat("a", 256): `"` + strings.Repeat("a", 255) + `" "a"`,
	} {
		if got := ZoneText(text); got != want {
			t.Errorf("%.20q: got %s, want %s", text, got, want)
		}
	}
}

func FuzzSign(f *testing.F) {
	key := newKey(f, Ed25519, "bank.example", "s")
	c, _ := newChecker(f, published(f, key))
	f.Add([]byte("From: a@bank.example\r\n"), []byte("hello \r\n\r\n"))
	f.Add([]byte("from:\n x\nSubject : a\n"), []byte("a\rb"))
	f.Fuzz(func(t *testing.T, head, body []byte) {
		header := message.ParseHeader(head)
		signer := Signer{Keys: []Key{key}}
		fields, err := signer.Sign(header, bytes.NewReader(body))
		if err != nil {
			return
		}
		signed := append(message.ParseHeader(fields), header...)
		r, err := c.Begin(context.Background(), stranger).Check(signed, io.Reader(bytes.NewReader(body)))
		if err != nil || r.DKIM[0].Result != Pass {
			t.Errorf("%v, %+v\n%s", err, r.DKIM, fields)
		}
	})
}

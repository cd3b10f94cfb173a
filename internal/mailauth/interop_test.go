package mailauth

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
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

// An exchange is 1,000 messages, and what we signed them with.
type exchange struct {
	c        *Checker
	port     string // of the DNS server that has the public keys
	rsa      Key
	keys     []Key
	messages []string
	signed   []string
}

// TestInterop exchanges 1,000 messages each way with programs that others
// wrote: what we sign they verify, and what they sign we verify. Those that
// know RSA only see both of our signatures nevertheless.
func TestInterop(t *testing.T) {
	keys, zone := bothKeys(t)
	c, server := newChecker(t, zone)
	_, port, _ := strings.Cut(server.Addr, ":")
	x := &exchange{c: c, port: port, rsa: keys[0], keys: keys, messages: randomMessages(t, 1000)}
	for _, text := range x.messages {
		signed := sign(t, text, keys...)
		for line := range strings.SplitSeq(signed[:len(signed)-len(text)], "\r\n") {
			if len(line) > 78 {
				t.Errorf("line of %d octets: %s", len(line), line)
			}
		}
		if r := check(t, c, stranger, signed); len(r.DKIM) != 2 || r.DKIM[0].Result != Pass || r.DKIM[1].Result != Pass {
			t.Errorf("we verify ours: %+v\n%q", r.DKIM, signed)
		}
		x.signed = append(x.signed, signed)
	}
	t.Run("go-msgauth", x.goMsgauth)
	t.Run("Mail::DKIM", x.mailDKIM)
	t.Run("OpenDKIM", x.openDKIM)
}

// verifyAll checks that we verify what another program signed.
func (x *exchange) verifyAll(t *testing.T, fields []string) {
	t.Helper()
	if len(fields) != len(x.messages) {
		t.Fatalf("signed %d of %d messages", len(fields), len(x.messages))
	}
	for i, field := range fields {
		if r := check(t, x.c, stranger, field+x.messages[i]); len(r.DKIM) != 1 || r.DKIM[0].Result != Pass {
			t.Errorf("we verify theirs: %+v\n%q", r.DKIM, field+x.messages[i])
		}
	}
}

func (x *exchange) goMsgauth(t *testing.T) {
	lookup := func(name string) ([]string, error) {
		answer, err := x.c.DNS.TXT(ctx, name)
		return answer.Records, err
	}
	for _, signed := range x.signed {
		results, err := dkim.VerifyWithOptions(strings.NewReader(signed), &dkim.VerifyOptions{LookupTXT: lookup})
		if err != nil || len(results) != 2 || results[0].Err != nil || results[1].Err != nil {
			t.Errorf("verifies ours: %v, %+v\n%q", err, results, signed)
		}
	}
	canon := []dkim.Canonicalization{dkim.CanonicalizationSimple, dkim.CanonicalizationRelaxed}
	var fields []string
	for i, text := range x.messages {
		key := x.keys[i%2]
		var signed bytes.Buffer
		err := dkim.Sign(&signed, strings.NewReader(text), &dkim.SignOptions{
			Domain: key.Domain, Selector: key.Selector, Signer: key.Private,
			HeaderCanonicalization: canon[i/2%2], BodyCanonicalization: canon[i/4%2],
		})
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, strings.TrimSuffix(signed.String(), text))
	}
	x.verifyAll(t, fields)
}

func (x *exchange) mailDKIM(t *testing.T) {
	requireProgram(t, exec.Command("perl", "-MMail::DKIM", "-e1").Run() != nil, "Mail::DKIM")
	dir := t.TempDir()
	writeMessages(t, dir, x.signed)
	results := strings.Fields(run(t, dir, "perl", "-MMail::DKIM::Verifier", "-MNet::DNS", "-e", `
		Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ["127.0.0.1"], port => $ARGV[0]));
		for (sort glob("*")) {
			my $v = Mail::DKIM::Verifier->new;
			open my $f, "<:raw", $_ or die; local $/; $v->PRINT(<$f>); $v->CLOSE;
			print $v->result, "\n";
		}`, x.port))
	if len(results) != len(x.signed) {
		t.Fatalf("looked at %d of %d messages", len(results), len(x.signed))
	}
	for i, result := range results {
		if result != "pass" {
			t.Errorf("verifies ours: %s\n%q", result, x.signed[i])
		}
	}

	writeMessages(t, dir, x.messages)
	writeFile(t, dir, "key.pem", pkcs1(t, x.rsa))
	fields := strings.Split(run(t, dir, "perl", "-MMail::DKIM::Signer", "-e", `
		my @methods = ("relaxed/relaxed", "relaxed", "simple", "simple/relaxed");
		for (sort glob("0*")) {
			my $s = Mail::DKIM::Signer->new(Algorithm => "rsa-sha256", Method => $methods[$_ % 4],
				Domain => "bank.example", Selector => "r1", KeyFile => "key.pem");
			open my $f, "<:raw", $_ or die; local $/; $s->PRINT(<$f>); $s->CLOSE;
			print $s->signature->as_string, "\r\n\0";
		}`), "\x00")
	x.verifyAll(t, fields[:len(fields)-1])
}

func (x *exchange) openDKIM(t *testing.T) {
	_, err := exec.LookPath("opendkim")
	requireProgram(t, err != nil, "opendkim")
	dir := t.TempDir()
	record, err := x.rsa.Record()
	if err != nil {
		t.Fatal(err)
	}
	private, err := MarshalKey(x.rsa.Private)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "keys", []byte(x.rsa.Name()+" "+record+"\n"))
	writeFile(t, dir, "key", private)
	writeFile(t, dir, "verify", []byte("Mode v\nSyslog no\nTestPublicKeys "+filepath.Join(dir, "keys")+"\n"))
	writeFile(t, dir, "sign", []byte("Mode s\nSyslog no\nDomain bank.example\nSelector r1\nRequireSafeKeys no\n"+
		"Canonicalization relaxed/simple\nKeyFile "+filepath.Join(dir, "key")+"\n"))
	inserted := func(config string, texts []string) []string {
		names := writeMessages(t, dir, texts)
		out := run(t, dir, "opendkim", "-x", config, "-vvv", "-t", strings.Join(names, ","))
		return strings.Split(out, "### INSHEADER: idx=0 hname='")[1:]
	}
	results := inserted("verify", x.signed)
	if len(results) != len(x.signed) {
		t.Fatalf("looked at %d of %d messages", len(results), len(x.signed))
	}
	for i, result := range results {
		if !strings.Contains(result, "dkim=pass") {
			t.Errorf("verifies ours: %s%q", result, x.signed[i])
		}
	}
	var fields []string
	for _, result := range inserted("sign", x.messages) {
		_, value, _ := strings.Cut(result, "hvalue='")
		value, _, _ = strings.Cut(value, "'\n")
		fields = append(fields, "DKIM-Signature: "+strings.ReplaceAll(value, "\n", "\r\n")+"\r\n")
	}
	x.verifyAll(t, fields)
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

func writeFile(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeMessages writes messages into files of a directory, and returns their
// names.
func writeMessages(t *testing.T, dir string, messages []string) (names []string) {
	t.Helper()
	for i, text := range messages {
		names = append(names, fmt.Sprintf("%04d", i))
		writeFile(t, dir, names[i], []byte(text))
	}
	return names
}

// pkcs1 is an RSA key as Mail::DKIM reads it.
func pkcs1(t *testing.T, k Key) []byte {
	t.Helper()
	key, ok := k.Private.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("%T is no RSA key", k.Private)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

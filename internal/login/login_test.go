package login

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	ctx  = context.Background()
	home = netip.MustParseAddr("192.0.2.1")
	evil = netip.MustParseAddr("198.51.100.7")
)

const testIterations = 4096

// people are accounts in memory.
type people struct {
	mu       sync.Mutex
	accounts map[string]Account
	used     map[int64][]netip.Addr
}

func (p *people) Account(_ context.Context, name string) (Account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.accounts[name]
	if !ok {
		return Account{}, ErrUnknown
	}
	return a, nil
}

func (p *people) UseCredential(_ context.Context, account, _ int64, from netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[account] = append(p.used[account], from)
	return nil
}

func (p *people) LoginAddresses(_ context.Context, account int64) ([]netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used[account], nil
}

// set gives an account a main password and app passwords.
func (p *people) set(name string, passwords ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := Account{ID: int64(len(name)), Name: name, Salt: []byte("salt of " + name), Iterations: testIterations}
	for i, password := range passwords {
		c := Credential{ID: time.Now().UnixNano() + int64(i), App: i > 0}
		if i > 0 {
			c.Name = fmt.Sprint("app", i)
		}
		c.StoredKey, c.ServerKey = NewCredential(password, a.Salt, a.Iterations)
		a.Credentials = append(a.Credentials, c)
	}
	p.accounts[name] = a
}

func authenticator() (*Authenticator, *people) {
	p := &people{accounts: map[string]Account{}, used: map[int64][]netip.Addr{}}
	p.set("alice@home.example", "wonderland 7", "app password one", "app password two")
	return &Authenticator{Accounts: p, Secret: []byte("0123456789abcdef"), Iterations: testIterations, Log: slog.New(slog.DiscardHandler)}, p
}

func TestPassword(t *testing.T) {
	synctested(checkPassword)(t)
}

func checkPassword(t *testing.T) {
	a, p := authenticator()
	for password, credential := range map[string]string{"wonderland 7": "", "app password one": "app1", "app password two": "app2"} {
		for range 2 { // the second is remembered
			id, err := a.Password(ctx, "Alice@HOME.example", password, home)
			if err != nil || id.Name != "alice@home.example" || id.CredentialName != credential {
				t.Errorf("%q: %+v %v", password, id, err)
			}
		}
	}
	p.set("alice@home.example", "another 8")
	if _, err := a.Password(ctx, "alice@home.example", "wonderland 7", home); !errors.Is(err, ErrFailed) {
		t.Errorf("a changed password is still taken: %v", err)
	}
	if _, err := a.Password(ctx, "alice@home.example", "another 8", home); err != nil {
		t.Errorf("the new password: %v", err)
	}
	for _, c := range [][2]string{{"nobody@home.example", "x"}, {"alice@home.example", ""}, {"", ""}, {"alice@home.example", "a\x00b"}} {
		if _, err := a.Password(ctx, c[0], c[1], home); !errors.Is(err, ErrFailed) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// A scramClient is the client's side, written from RFC 5802.
type scramClient struct {
	name, password string
	gs2            string
	binding        []byte
	nonce          string
}

// run plays the exchange and returns what the server said last.
func (c *scramClient) run(x *Exchange) (*Identity, error) {
	bare := "n=" + c.name + ",r=" + c.nonce
	challenge, _, err := x.Next(ctx, []byte(c.gs2+bare))
	if err != nil {
		return nil, err
	}
	var nonce, salt string
	var iterations int
	for _, f := range strings.Split(string(challenge), ",") {
		switch f[0] {
		case 'r':
			nonce = f[2:]
		case 's':
			salt = f[2:]
		case 'i':
			fmt.Sscan(f[2:], &iterations) //nolint:errcheck // 0 fails below
		}
	}
	rawSalt, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		return nil, err
	}
	salted, err := pbkdf2.Key(sha256.New, c.password, rawSalt, iterations, 32)
	if err != nil {
		return nil, err
	}
	without := "c=" + base64.StdEncoding.EncodeToString(append([]byte(c.gs2), c.binding...)) + ",r=" + nonce
	text := bare + "," + string(challenge) + "," + without
	clientKey := hash(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := make([]byte, 32)
	subtle.XORBytes(proof, clientKey, hash(stored[:], text))
	final, _, err := x.Next(ctx, []byte(without+",p="+base64.StdEncoding.EncodeToString(proof)))
	if err != nil {
		return nil, err
	}
	want := "v=" + base64.StdEncoding.EncodeToString(hash(hash(salted, "Server Key"), text))
	if string(final) != want {
		return nil, fmt.Errorf("the server's signature is %q, not %q", final, want)
	}
	_, id, err := x.Next(ctx, []byte{})
	return id, err
}

func hash(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// TestRFC7677 is the example of RFC 7677 section 3.
func TestRFC7677(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	stored, server := NewCredential("pencil", salt, 4096)
	p := &people{accounts: map[string]Account{"user": {ID: 1, Name: "user", Salt: salt, Iterations: 4096, Credentials: []Credential{{StoredKey: stored, ServerKey: server}}}}, used: map[int64][]netip.Addr{}}
	a := &Authenticator{Accounts: p, Secret: []byte("0123456789abcdef"), nonce: func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" }, Log: slog.New(slog.DiscardHandler)}
	x, err := a.Start("scram-sha-256", home, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]string{
		{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"},
		{"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	} {
		got, _, err := x.Next(ctx, []byte(step[0]))
		if err != nil || string(got) != step[1] {
			t.Fatalf("%s is answered %q, %v", step[0], got, err)
		}
	}
	if _, id, err := x.Next(ctx, nil); err != nil || id == nil || id.Name != "user" {
		t.Errorf("%+v %v", id, err)
	}
}

// synctested is a test in which time does not pass: failures are answered late.
func synctested(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

func TestScram(t *testing.T) {
	a, _ := authenticator()
	for name, c := range map[string]struct {
		client scramClient
		want   error
	}{
		"main":          {scramClient{name: "alice@home.example", password: "wonderland 7", gs2: "n,,"}, nil},
		"app password":  {scramClient{name: "alice@home.example", password: "app password two", gs2: "n,,"}, nil},
		"client binds":  {scramClient{name: "alice@home.example", password: "wonderland 7", gs2: "y,,"}, nil},
		"as oneself":    {scramClient{name: "alice@home.example", password: "wonderland 7", gs2: "n,a=alice@home.example,"}, nil},
		"as another":    {scramClient{name: "alice@home.example", password: "wonderland 7", gs2: "n,a=bob@home.example,"}, ErrFailed},
		"wrong":         {scramClient{name: "alice@home.example", password: "wrong", gs2: "n,,"}, ErrFailed},
		"unknown":       {scramClient{name: "nobody@home.example", password: "wrong", gs2: "n,,"}, ErrFailed},
		"binds anyway":  {scramClient{name: "alice@home.example", password: "wonderland 7", gs2: "n,,", binding: []byte("x")}, ErrFailed},
		"plus in plain": {scramClient{name: "alice@home.example", password: "wonderland 7", gs2: "p=tls-exporter,,"}, ErrSyntax},
	} {
		t.Run(name, synctested(func(t *testing.T) {
			c.client.nonce = "clientnonce"
			x, err := a.Start(ScramSHA256, home, nil)
			if err != nil {
				t.Fatal(err)
			}
			id, err := c.client.run(x)
			if !errors.Is(err, c.want) || (err == nil) != (id != nil) {
				t.Errorf("%+v %v", id, err)
			}
			if _, _, err := x.Next(ctx, nil); !errors.Is(err, ErrSyntax) {
				t.Errorf("after the end: %v", err)
			}
		}))
	}
	if _, err := a.Start(ScramSHA256Plus, home, nil); !errors.Is(err, ErrMechanism) {
		t.Errorf("-PLUS without TLS: %v", err)
	}
}

// TestUnknownNames: nobody learns from the salt who has an account.
func TestUnknownNames(t *testing.T) {
	a, _ := authenticator()
	salt := func(name string) string {
		x, err := a.Start(ScramSHA256, home, nil)
		if err != nil {
			t.Fatal(err)
		}
		challenge, _, err := x.Next(ctx, []byte("n,,n="+name+",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := bytes.Cut(challenge, []byte(",s="))
		return string(after)
	}
	first := salt("nobody@home.example")
	if first != salt("nobody@home.example") || first != salt("NOBODY@home.example") {
		t.Error("the salt of an unknown name changes")
	}
	if first == salt("noone@home.example") {
		t.Error("unknown names share a salt")
	}
}

// TestThrottle: who guesses is locked out, everywhere on that network; the
// owner is not, from where they logged in before.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := authenticator()
		if _, err := a.Password(ctx, "alice@home.example", "wonderland 7", home); err != nil {
			t.Fatal(err)
		}
		locked := 0
		for i := range 30 {
			_, err := a.Password(ctx, "alice@home.example", fmt.Sprint("guess ", i), evil)
			if errors.Is(err, ErrThrottled) {
				locked++
			} else if !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
		}
		if locked < 15 {
			t.Errorf("of 30 guesses only %d were refused unseen", locked)
		}
		if _, err := a.Password(ctx, "alice@home.example", "wonderland 7", evil); !errors.Is(err, ErrThrottled) {
			t.Errorf("the right password from there: %v", err)
		}
		if _, err := a.Password(ctx, "alice@home.example", "wonderland 7", home); err != nil {
			t.Errorf("the owner is locked out: %v", err)
		}
		for i := range 60 { // from everywhere
			a.Password(ctx, "alice@home.example", fmt.Sprint("more ", i), netip.AddrFrom4([4]byte{10, 0, byte(i), 1})) //nolint:errcheck // they fail
		}
		if _, err := a.Password(ctx, "alice@home.example", "wonderland 7", home); err != nil {
			t.Errorf("the owner is locked out: %v", err)
		}
		if _, err := a.Password(ctx, "alice@home.example", "app password one", netip.MustParseAddr("203.0.113.99")); err != nil {
			t.Errorf("an app password cannot be guessed, and is refused: %v", err)
		}
		time.Sleep(25 * time.Hour)
		if _, err := a.Password(ctx, "alice@home.example", "wonderland 7", evil); err != nil {
			t.Errorf("a day later: %v", err)
		}
	})
}

// TestDerivations: two at a time, a bounded number wait, the rest are told to
// come again.
func TestDerivations(t *testing.T) {
	synctested(checkDerivations)(t)
}

func checkDerivations(t *testing.T) {
	a, _ := authenticator()
	a.Queue = 3
	var mu sync.Mutex
	running, most := 0, 0
	release := make(chan struct{})
	a.derive = func(string, []byte, int) ([]byte, []byte) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		<-release
		mu.Lock()
		running--
		mu.Unlock()
		return []byte("x"), []byte("y")
	}
	results := make(chan error)
	for i := range 12 {
		go func() {
			_, err := a.Password(ctx, "alice@home.example", fmt.Sprint("p", i), netip.AddrFrom4([4]byte{10, 1, byte(i), 1}))
			results <- err
		}()
	}
	busy := 0
	for range 12 - 2 - 3 {
		if err := <-results; errors.Is(err, ErrBusy) {
			busy++
		}
	}
	synctest.Wait() // both are at it
	close(release)
	for range 5 {
		if err := <-results; !errors.Is(err, ErrFailed) {
			t.Errorf("one that waited: %v", err)
		}
	}
	if busy != 7 || most != 2 {
		t.Errorf("%d were told to come again, %d ran at a time", busy, most)
	}
}

func TestAppPasswords(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p := GenerateAppPassword()
		if seen[p] || len(strings.ReplaceAll(p, "-", "")) < 25 { // 26 base32 digits are 130 bits
			t.Fatalf("%q", p)
		}
		seen[p] = true
		if err := CheckPassword(p); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzExchange(f *testing.F) {
	f.Add("PLAIN", "\x00alice@home.example\x00wonderland 7", "", "")
	f.Add("LOGIN", "alice@home.example", "wonderland 7", "")
	f.Add("SCRAM-SHA-256", "n,,n=alice@home.example,r=abc", "c=biws,r=abc,p=AAAA", "")
	f.Fuzz(func(t *testing.T, mechanism, one, two, three string) {
		a, _ := authenticator()
		a.derive = func(string, []byte, int) ([]byte, []byte) { return []byte("no"), []byte("no") }
		x, err := a.Start(mechanism, home, nil)
		if err != nil {
			return
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		for _, m := range []string{one, two, three} {
			if _, id, _ := x.Next(short, []byte(m)); id != nil {
				t.Fatalf("%q %q %q logged in", one, two, three)
			}
		}
	})
}

func BenchmarkRememberedLogin(b *testing.B) {
	a, _ := authenticator()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Password(ctx, "alice@home.example", "wonderland 7", home); err != nil {
			b.Fatal(err)
		}
	}
}

package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A fixture is a running server with its addresses.
type fixture struct {
	*Server
	t             *testing.T
	plain, secure string
	client        *http.Client
}

func newFixture(t *testing.T, change func(*Server, *Config)) *fixture {
	t.Helper()
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	t.Cleanup(certs.Close)
	s := &Server{Hostname: "Mail.home.example", Log: slog.New(slog.DiscardHandler), TLS: &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}}
	c := DefaultConfig()
	if change != nil {
		change(s, &c)
	}
	if err := s.Configure(c, []string{"home.example", "bücher.example"}); err != nil {
		t.Fatal(err)
	}
	f := &fixture{Server: s, t: t}
	f.plain, f.secure = f.listen(s.Serve), f.listen(s.ServeTLS)
	f.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				at := f.plain
				if strings.HasSuffix(addr, ":443") {
					at = f.secure
				}
				return new(net.Dialer).DialContext(ctx, network, at)
			},
		},
	}
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return f
}

func (f *fixture) listen(serve func(net.Listener) error) string {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	go func() {
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			f.t.Errorf("serve: %v", err)
		}
	}()
	return l.Addr().String()
}

func (f *fixture) get(url string) (*http.Response, string) {
	f.t.Helper()
	res, err := f.client.Get(url)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return res, string(body)
}

// raw sends octets and returns the status line of the answer, or the error.
func (f *fixture) raw(request string) string {
	f.t.Helper()
	c, err := net.Dial("tcp", f.plain)
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, request) //nolint:errcheck // the server may have closed
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// TestWhatIsServed: our policy at its name, health, redirects for names of
// ours, and nothing else.
func TestWhatIsServed(t *testing.T) {
	challenge := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/.well-known/acme-challenge/token" {
				fmt.Fprint(w, "token.thumbprint")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	f := newFixture(t, func(s *Server, c *Config) {
		s.Challenge = challenge
		c.MTASTS = "enforce"
	})
	const policy = "version: STSv1\r\nmode: enforce\r\nmx: mail.home.example\r\nmax_age: 604800\r\n"
	for _, c := range []struct {
		url      string
		code     int
		body, to string
	}{
		{"https://mta-sts.home.example/.well-known/mta-sts.txt", 200, policy, ""},
		{"https://MTA-STS.home.example./.well-known/mta-sts.txt", 200, policy, ""},
		{"https://mta-sts.xn--bcher-kva.example/.well-known/mta-sts.txt", 200, policy, ""},
		{"https://mail.home.example/.well-known/mta-sts.txt", 404, "", ""},
		{"https://mta-sts.elsewhere.example/.well-known/mta-sts.txt", 404, "", ""},
		{"https://mta-sts.home.example/.well-known/mta-sts.txt/..", 404, "", ""},
		{"https://mail.home.example/healthz", 200, "well\n", ""},
		{"https://elsewhere.example/healthz", 404, "", ""},
		{"https://mail.home.example/", 404, "", ""},
		{"http://mail.home.example/a?b=c", 301, "", "https://mail.home.example/a?b=c"},
		{"http://mail.home.example//evil.example/", 301, "", "https://mail.home.example//evil.example/"},
		{"http://autoconfig.home.example:80/", 301, "", "https://autoconfig.home.example/"},
		{"http://elsewhere.example/", 404, "", ""},
		{"http://127.0.0.1/", 404, "", ""},
		{"http://mail.home.example/.well-known/acme-challenge/token", 200, "token.thumbprint", ""},
		{"http://mail.home.example/.well-known/acme-challenge/other", 404, "", ""},
		{"http://mail.home.example/healthz", 301, "", "https://mail.home.example/healthz"},
	} {
		res, body := f.get(c.url)
		if res.StatusCode != c.code || c.body != "" && body != c.body || res.Header.Get("Location") != c.to {
			t.Errorf("%s: %d %q to %q", c.url, res.StatusCode, body, res.Header.Get("Location"))
		}
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"} {
			if res.Header.Get(h) == "" {
				t.Errorf("%s: no %s", c.url, h)
			}
		}
		if hsts := res.Header.Get("Strict-Transport-Security"); (hsts != "") != strings.HasPrefix(c.url, "https:") {
			t.Errorf("%s: Strict-Transport-Security %q", c.url, hsts)
		}
		if c.body == policy && res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %q", c.url, res.Header.Get("Content-Type"))
		}
		if strings.HasPrefix(c.url, "https:") && res.ProtoMajor != 2 {
			t.Errorf("%s: %s", c.url, res.Proto)
		}
	}
	if st := f.Stats(); st.Requests < 17 || st.Connections == 0 || st.Panics != 0 {
		t.Errorf("%+v", st)
	}
}

// TestBounds: what is no small request without a body is refused, and costs
// the next one nothing.
func TestBounds(t *testing.T) {
	f := newFixture(t, nil)
	const ok = "GET / HTTP/1.1\r\nHost: mail.home.example\r\n"
	for _, c := range []struct{ name, request, want string }{
		{"a body", "POST / HTTP/1.1\r\nHost: mail.home.example\r\nContent-Length: 5\r\n\r\nhello", "405"},
		{"GET with a body", ok + "Content-Length: 5\r\n\r\nhello", "413"},
		{"chunks", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "413"},
		{"length and chunks", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "413"},
		{"a method of no kind", "BREW / HTTP/1.1\r\nHost: mail.home.example\r\n\r\n", "405"},
		{"a long URL", "GET /" + strings.Repeat("a", 4000) + " HTTP/1.1\r\nHost: mail.home.example\r\n\r\n", "414"},
		{"a long header", ok + "X: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400"},
		{"a host with a line end", "GET / HTTP/1.1\r\nHost: mail.home.example\rX: y\r\n\r\n", "400"},
		{"no HTTP", "EHLO client.example\r\n\r\n", "400"},
		{"a proxy's request", "CONNECT elsewhere.example:25 HTTP/1.1\r\nHost: elsewhere.example:25\r\n\r\n", "405"},
		{"a usual one", ok + "\r\n", "301"},
	} {
		if got := f.raw(c.request); !strings.Contains(got, " "+c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	few := DefaultConfig()
	few.PerAddress = 2
	if err := f.Configure(few, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c, err := net.Dial("tcp", f.plain)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HT") //nolint:errcheck // and then nothing
	}
	for until := time.Now().Add(10 * time.Second); f.Stats().Refused == 0 && time.Now().Before(until); {
		f.raw(ok + "\r\n")
	}
	if f.Stats().Refused == 0 {
		t.Error("a third connection from one address was served")
	}
}

// TestHealth: what is wrong is told in one word, and the store is not asked for
// every stranger who asks.
func TestHealth(t *testing.T) {
	asked := 0
	f := newFixture(t, func(s *Server, _ *Config) {
		s.Health = func(context.Context) error {
			asked++
			return errors.New("store: disk on fire")
		}
	})
	for range 10 {
		if res, body := f.get("https://mail.home.example/healthz"); res.StatusCode != 503 || strings.Contains(body, "fire") {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	}
	if asked > 5 {
		t.Errorf("the store was asked %d times", asked)
	}
}

// TestPanic: a panic costs only its request.
func TestPanic(t *testing.T) {
	f := newFixture(t, func(s *Server, _ *Config) {
		s.Health = func(context.Context) error { panic("worse") }
	})
	for range 2 {
		if _, err := f.client.Get("https://mail.home.example/healthz"); err == nil {
			t.Error("a request that panicked was answered")
		}
	}
	if res, _ := f.get("https://mta-sts.home.example/.well-known/mta-sts.txt"); res.StatusCode != 200 || f.Stats().Panics != 2 {
		t.Errorf("after a panic: %d, %+v", res.StatusCode, f.Stats())
	}
}

// TestReconfigure: policy and names follow the configuration.
func TestReconfigure(t *testing.T) {
	f := newFixture(t, nil)
	c := DefaultConfig()
	c.MTASTS, c.MTASTSMaxAge, c.ListenTLS = "none", 24*time.Hour, nil
	if err := f.Configure(c, []string{"new.example"}); err != nil {
		t.Fatal(err)
	}
	if _, body := f.get("https://mta-sts.new.example/.well-known/mta-sts.txt"); !strings.Contains(body, "mode: none\r\n") || !strings.Contains(body, "max_age: 86400\r\n") {
		t.Errorf("%q", body)
	}
	if res, _ := f.get("https://mta-sts.home.example/.well-known/mta-sts.txt"); res.StatusCode != 404 {
		t.Errorf("a domain that is gone: %d", res.StatusCode)
	}
	if res, _ := f.get("http://mail.home.example/"); res.StatusCode != 404 {
		t.Errorf("led to HTTPS, and there is none: %d", res.StatusCode)
	}
	c.MTASTS = "maybe"
	if err := f.Configure(c, nil); err == nil {
		t.Error("a mode that is none was taken")
	}
}

// TestValidate: every mistake, each at its key.
func TestValidate(t *testing.T) {
	err := Config{Listen: []string{"80"}, ListenTLS: []string{"443"}, MTASTS: "yes", MTASTSMaxAge: time.Minute, Connections: -1, PerAddress: -1}.Validate()
	for _, want := range []string{"web.listen:", "web.listen_tls:", "web.mta_sts:", "web.mta_sts_max_age:", "web.connections:", "web.per_address:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("switched off: %v", err)
	}
}

// Package web serves what mail needs of HTTP: a CA's challenges, our MTA-STS
// policy (RFC 8461), and whether we are well.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"

	"mailbox/internal/listen"
)

// Bounds of one connection.
const (
	headerTime   = 10 * time.Second // for a request; a handshake has as much
	responseTime = 20 * time.Second // for a client to take the response
	idleTime     = 30 * time.Second
	maxHeader    = 8 << 10 // octets
	maxStreams   = 10      // requests at a time over HTTP/2
	maxURL       = 2 << 10 // octets of a URL that we answer
)

// healthTime is how long an answer of Health holds: strangers may ask as often
// as they like, and the store is not asked for each of them.
const healthTime = 5 * time.Second

// Server answers HTTP on the ports 80 and 443. Hostname must be set; the other
// fields may be left zero. None may change after Configure.
type Server struct {
	Hostname  string
	TLS       *tls.Config                     // nil means that ServeTLS fails
	Challenge func(http.Handler) http.Handler // answers a CA's challenges over HTTP, and leaves the rest to its argument; nil: there are none
	Health    func(context.Context) error     // what /healthz tells, asked at most every five seconds; nil: all is well
	Log       *slog.Logger                    // nil means slog.Default()

	once    sync.Once
	current atomic.Pointer[content]
	limiter *listen.Limiter
	plain   *http.Server
	secure  *http.Server
	stats   counters

	checking sync.Mutex // guards what follows, and one check at a time
	checked  time.Time
	sick     error
}

// A content is what is served under a configuration.
type content struct {
	hosts  map[string]bool   // known names, in lower case and ASCII
	policy map[string]string // MTA-STS policy by name of host
	https  bool              // there is a port for HTTPS
}

type counters struct {
	connections, open, refused, requests, panics atomic.Int64
}

// Stats are counts since the start of the process.
type Stats struct {
	Connections int64 // accepted
	Open        int64 // now
	Refused     int64 // for a limit
	Requests    int64
	Panics      int64
}

// Stats returns the counts as they are now.
func (s *Server) Stats() Stats {
	return Stats{s.stats.connections.Load(), s.stats.open.Load(), s.stats.refused.Load(), s.stats.requests.Load(), s.stats.panics.Load()}
}

// Names are the names at which HTTPS is served for a domain beside that of the
// host.
func Names(domain string) []string {
	return []string{"mta-sts." + domain, "autoconfig." + domain}
}

// Configure sets what holds for requests to come. It must be called before
// Serve and may be called again.
func (s *Server) Configure(c Config, domains []string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	c = c.withDefaults()
	host, err := ascii(s.Hostname)
	if err != nil {
		return err
	}
	now := &content{hosts: map[string]bool{host: true}, policy: map[string]string{}, https: len(c.ListenTLS) > 0}
	for _, d := range domains {
		d, err := ascii(d)
		if err != nil {
			return err
		}
		for _, name := range Names(d) {
			now.hosts[name] = true
		}
		now.policy["mta-sts."+d] = policy(c, host)
	}
	s.once.Do(s.start)
	s.limiter.Set(c.limits())
	s.current.Store(now)
	return nil
}

func ascii(name string) (string, error) {
	a, err := idna.ToASCII(strings.ToLower(name))
	if err != nil {
		return "", fmt.Errorf("name %q: %w", name, err)
	}
	return a, nil
}

// policy is the MTA-STS policy that our MX records fit (RFC 8461 section 3.2).
func policy(c Config, host string) string {
	return fmt.Sprintf("version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: %d\r\n", c.MTASTS, host, c.MTASTSMaxAge/time.Second)
}

func (s *Server) start() {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	s.limiter = listen.NewLimiter(listen.Limits{})
	redirect := http.Handler(http.HandlerFunc(s.redirect))
	if s.Challenge != nil {
		redirect = s.Challenge(redirect)
	}
	s.plain = s.newServer(redirect)
	s.secure = s.newServer(http.HandlerFunc(s.secureContent))
	s.secure.TLSConfig = s.TLS
}

func (s *Server) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           s.guard(h),
		ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: responseTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:       slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug), // handshakes and requests that strangers break
		ConnState:      s.count,
	}
}

func (s *Server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.stats.connections.Add(1)
		s.stats.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.stats.open.Add(-1)
	}
}

// Serve answers HTTP on l until Shutdown, when it returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error { return s.plain.Serve(s.admit(l)) }

// ServeTLS is Serve for HTTPS.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.TLS == nil {
		return errors.New("web: no TLS configuration")
	}
	return s.secure.ServeTLS(s.admit(l), "", "")
}

// admit holds the connections of l to the limits.
func (s *Server) admit(l net.Listener) net.Listener {
	return listen.New(l, listen.Config{
		Limiter: s.limiter, Log: s.Log,
		OnPanic: s.panicked,
		OnRefused: func(r listen.Refused) {
			s.stats.refused.Add(1)
			s.Log.Debug("http connection refused", "peer", r.Addr, "limit", r.Reason)
		},
	})
}

// panicked counts.
func (s *Server) panicked(any, []byte) { s.stats.panics.Add(1) }

// Shutdown closes the listeners and idle connections, lets requests finish,
// and closes everything when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.plain == nil {
		return nil
	}
	err := errors.Join(s.plain.Shutdown(ctx), s.secure.Shutdown(ctx))
	if err != nil {
		err = errors.Join(err, s.plain.Close(), s.secure.Close())
	}
	return err
}

// guard is what holds for every request: what is refused before anything looks
// at it, and the headers of every response.
func (s *Server) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.stats.requests.Add(1)
		defer func() {
			if p := recover(); p != nil {
				s.stats.panics.Add(1)
				s.Log.Error("panic in a request", "peer", r.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
				panic(http.ErrAbortHandler) // ends the connection, and is not logged again
			}
		}()
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			header.Set("Strict-Transport-Security", "max-age=31536000") // RFC 6797
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			header.Set("Allow", "GET, HEAD")
			s.refuse(w, http.StatusMethodNotAllowed)
		case r.ContentLength != 0: // nothing here takes a body
			s.refuse(w, http.StatusRequestEntityTooLarge)
		case len(r.RequestURI) > maxURL:
			s.refuse(w, http.StatusRequestURITooLong)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// refuse answers a request that is none, and ends its connection.
func (s *Server) refuse(w http.ResponseWriter, code int) {
	w.Header().Set("Connection", "close")
	http.Error(w, http.StatusText(code), code)
}

// hostOf is the host that a request is for, as Configure knows it.
func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// redirect leads requests for names of ours to HTTPS.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request) {
	now, host := s.current.Load(), hostOf(r)
	if !now.https || !now.hosts[host] || strings.HasPrefix(r.URL.Path, "/.well-known/acme-challenge/") {
		http.NotFound(w, r)
		return
	}
	http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusMovedPermanently)
}

// secureContent serves what there is.
func (s *Server) secureContent(w http.ResponseWriter, r *http.Request) {
	now, host := s.current.Load(), hostOf(r)
	text := now.policy[host]
	switch {
	case !now.hosts[host]:
		http.NotFound(w, r)
	case r.URL.Path == "/healthz":
		s.health(w)
	case r.URL.Path == "/.well-known/mta-sts.txt" && text != "":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8") // RFC 8461 section 3.2
		fmt.Fprint(w, text)
	default:
		http.NotFound(w, r)
	}
}

// health says whether mail can be taken and read now, and nothing else.
func (s *Server) health(w http.ResponseWriter) {
	if s.check() != nil {
		http.Error(w, "not well", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "well")
}

// check asks Health, or returns what it said a moment ago.
func (s *Server) check() error {
	s.checking.Lock()
	defer s.checking.Unlock()
	if s.Health == nil || !s.checked.IsZero() && time.Since(s.checked) < healthTime {
		return s.sick
	}
	ctx, cancel := context.WithTimeout(context.Background(), headerTime)
	defer cancel()
	s.sick, s.checked = s.Health(ctx), time.Now()
	if s.sick != nil {
		s.Log.Error("not well", "err", s.sick)
	}
	return s.sick
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailbox/admin"
	"mailbox/imapd"
	"mailbox/internal/dns"
	"mailbox/internal/listen"
	"mailbox/internal/login"
	"mailbox/mda"
	"mailbox/msa"
	"mailbox/mta"
	"mailbox/storage"
	"mailbox/tls"
	"mailbox/web"
)

// shutdownTime is how long transactions and commands may take to finish.
const shutdownTime = 30 * time.Second

// A server is every part of Mailbox, wired and running.
type server struct {
	log     *slog.Logger
	db      *storage.DB
	certs   *tls.Manager
	mta     *mta.Server
	queue   *mta.Queue
	remote  *mta.Remote
	dns     *dns.Resolver
	msa     *msa.Server
	signers *signers
	imapd   *imapd.Server
	web     *web.Server
	api     *admin.API
	admin   *http.Server
	metrics http.Handler
	panics  atomic.Int64

	mu        sync.Mutex // one reload at a time
	cfg       config
	sockets   *listen.Sockets
	listeners map[string]net.Listener // by service and address
	running   sync.WaitGroup

	endSigners context.CancelFunc
}

// start opens the store, wires the parts from top to bottom, and begins to
// listen. outside takes the place of all other servers; nil is the internet.
// The caller must call shutdown.
func start(ctx context.Context, cfg config, log *slog.Logger, level *slog.LevelVar, outside func(*storage.DB) mta.Carrier) (_ *server, err error) {
	s := &server{log: log, cfg: cfg, listeners: map[string]net.Listener{}}
	defer func() {
		if err != nil {
			s.shutdown()
		}
	}()
	if s.sockets, err = listen.Inherit(); err != nil {
		return nil, err
	}
	if s.db, err = storage.Open(ctx, storage.Options{Dir: cfg.Data, Log: log.With("room", "storage")}); err != nil {
		return nil, err
	}
	if err = s.db.SetDomains(cfg.Domains, cfg.Postmaster); err != nil {
		return nil, err
	}
	secret, err := s.db.Secret(ctx)
	if err != nil {
		return nil, err
	}
	auth := &login.Authenticator{Accounts: accounts{s.db}, Secret: secret, Log: log.With("room", "login")}
	s.certs, err = tls.New(cfg.certificates(), tls.Options{Dir: cfg.Data, Names: cfg.names(), Resolvers: cfg.DNS.Servers, Log: log.With("room", "tls")})
	if err != nil {
		return nil, err
	}
	if s.dns, err = dns.New(cfg.DNS); err != nil {
		return nil, err
	}
	if s.signers, err = newSigners(ctx, s.db, s.dns, cfg.Domains, log.With("room", "signers")); err != nil {
		return nil, err
	}
	agent := &mda.Agent{Store: s.db}
	s.mta = &mta.Server{
		Hostname: cfg.Hostname, Store: s.db, Deliver: deliverer{agent}, DNS: s.dns, TLS: s.certs.Server("mta"), Log: log.With("room", "mta"),
	}
	if err = s.mta.Configure(cfg.MTA, cfg.Domains[0]); err != nil {
		return nil, err
	}
	s.remote = &mta.Remote{Hostname: cfg.Hostname, DNS: s.dns, Self: s.isOurs, Log: log.With("room", "mta")}
	s.remote.Configure(cfg.MTA)
	s.queue = &mta.Queue{Hostname: cfg.Hostname, Store: s.db, Carrier: s.remote, Deliver: deliverer{agent}, Sign: s.signers, Log: log.With("room", "mta")}
	if outside != nil {
		s.queue.Carrier = outside(s.db)
	}
	s.queue.Configure(cfg.MTA, cfg.Domains[0])
	s.msa = &msa.Server{
		Hostname: cfg.Hostname, Store: s.db, Auth: auth, Submit: submitter{agent}, Sign: s.signers, TLS: s.certs.Server("msa"), Log: log.With("room", "msa"),
	}
	if err = s.msa.Configure(cfg.MSA, cfg.Domains[0]); err != nil {
		return nil, err
	}
	s.imapd = &imapd.Server{
		Hostname: cfg.Hostname, Store: s.db, Auth: auth, TLS: s.certs.Server("imapd"), Config: cfg.IMAPD, Log: log.With("room", "imapd"),
	}
	s.web = &web.Server{
		Hostname: cfg.Hostname, TLS: s.certs.Web(), Challenge: s.certs.HTTPChallenge, Health: s.alive, Log: log.With("room", "web"),
	}
	if err = s.web.Configure(cfg.Web, cfg.Domains); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s)
	s.api = &admin.API{
		DB: s.db, Sessions: sessions{s.imapd}, Signers: s.signers, Certificates: certificates{s.certs},
		Level: level, Metrics: s.metrics, Log: log.With("room", "admin"),
	}
	if err = s.startAdmin(); err != nil {
		return nil, err
	}
	s.startSigners(ctx)
	s.running.Go(func() { s.run("queue", s.queue.Run) })
	if err = s.listen(ctx, cfg); err != nil {
		return nil, err
	}
	s.certs.Ready()
	return s, nil
}

// startSigners lets the signers keep in step with the store until shutdown.
func (s *server) startSigners(ctx context.Context) {
	ctx, s.endSigners = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.signers.run(ctx, s.api) })
}

// startAdmin opens the operator's socket.
func (s *server) startAdmin() error {
	l, err := admin.Listen(s.cfg.Admin.Socket, s.api.Log)
	if err != nil {
		return err
	}
	s.admin = admin.NewServer(s.api.Handler(), s.api.Log)
	s.running.Go(func() { s.run("admin", func() error { return s.admin.Serve(l) }) })
	return nil
}

// A service is what listens on an address.
type service struct {
	name, address string
	serve         func(net.Listener) error
}

func (v service) key() string { return v.name + " " + v.address }

// services are what a configuration wants to listen.
func (s *server) services(cfg config) []service {
	var all []service
	add := func(name string, addresses []string, serve func(net.Listener) error) {
		for _, a := range addresses {
			all = append(all, service{name, a, serve})
		}
	}
	add("mta", cfg.MTA.Listen, s.mta.Serve)
	add("msa", cfg.MSA.Listen, s.msa.Serve)
	add("msa/tls", cfg.MSA.ListenTLS, s.msa.ServeTLS)
	add("imapd", cfg.IMAPD.Listen, s.imapd.Serve)
	add("imapd/tls", cfg.IMAPD.ListenTLS, s.imapd.ServeTLS)
	add("web", cfg.Web.Listen, s.web.Serve)
	add("web/tls", cfg.Web.ListenTLS, s.web.ServeTLS)
	add("metrics", cfg.Metrics.Listen, s.serveMetrics)
	return all
}

// listen makes the open listeners those that cfg wants. Where one cannot be
// opened, nothing changes.
func (s *server) listen(ctx context.Context, cfg config) error {
	wanted := map[string]bool{}
	opened := map[string]net.Listener{}
	services := s.services(cfg)
	for _, v := range services {
		wanted[v.key()] = true
		if s.listeners[v.key()] != nil || opened[v.key()] != nil {
			continue
		}
		l, err := s.sockets.Listen(ctx, v.address)
		if err != nil {
			for _, o := range opened {
				o.Close() //nolint:errcheck // nobody used it
			}
			return fmt.Errorf("%s: %w", v.name, err)
		}
		opened[v.key()] = l
	}
	for key, l := range s.listeners {
		if !wanted[key] {
			l.Close() //nolint:errcheck // its Serve ends, which is all we want
			delete(s.listeners, key)
			s.log.Info("no longer listening", "service", key)
		}
	}
	for _, v := range services {
		if l := opened[v.key()]; l != nil && s.listeners[v.key()] == nil {
			s.listeners[v.key()] = l
			s.running.Go(func() { s.run(v.key(), func() error { return v.serve(l) }) })
			s.log.Info("listening", "service", v.name, "address", l.Addr().String())
		}
	}
	return nil
}

// run does work of a service, and logs an end of it that nobody asked for.
func (s *server) run(service string, work func() error) {
	err := s.survive(work)
	if err != nil && !errors.Is(err, listen.ErrClosed) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("service ended", "service", service, "err", err)
	}
}

// survive does work. A panic in it is counted, logged, and an error.
func (s *server) survive(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.panics.Add(1)
			s.log.Error("panic", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return work()
}

func (s *server) serveMetrics(l net.Listener) error {
	srv := &http.Server{Handler: s.metrics, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	return srv.Serve(l)
}

// reload goes over to another configuration, wholly or not at all.
// Connections keep the one that they began with.
func (s *server) reload(ctx context.Context, cfg config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if keys := s.cfg.needRestart(cfg); len(keys) > 0 {
		s.log.Warn("some keys need a restart and stay as they were", "keys", keys)
		cfg.Hostname, cfg.Data, cfg.Admin = s.cfg.Hostname, s.cfg.Data, s.cfg.Admin
	}
	defer s.certs.Ready()
	if err := s.certs.Reload(cfg.certificates(), cfg.names(), cfg.DNS.Servers); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	if err := s.listen(ctx, cfg); err != nil {
		return errors.Join(err, s.certs.Reload(s.cfg.certificates(), s.cfg.names(), s.cfg.DNS.Servers))
	}
	// Nothing below can fail: cfg was validated.
	err := errors.Join(s.db.SetDomains(cfg.Domains, cfg.Postmaster), s.dns.Configure(cfg.DNS),
		s.mta.Configure(cfg.MTA, cfg.Domains[0]), s.msa.Configure(cfg.MSA, cfg.Domains[0]),
		s.web.Configure(cfg.Web, cfg.Domains))
	s.remote.Configure(cfg.MTA)
	s.queue.Configure(cfg.MTA, cfg.Domains[0])
	s.imapd.Configure(cfg.IMAPD)
	s.signers.Configure(cfg.Domains)
	s.cfg = cfg
	return err
}

// alive tells whether the store answers, and soon.
func (s *server) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.db.Ping(ctx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// addresses are where a service listens.
func (s *server) addresses(service string) []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []net.Addr
	for _, key := range slices.Sorted(maps.Keys(s.listeners)) {
		if strings.HasPrefix(key, service+" ") {
			all = append(all, s.listeners[key].Addr())
		}
	}
	return all
}

// isOurs tells whether the MTA listens at an address, so that mail is never
// sent to ourselves: at every address of this machine where it listens at all.
func (s *server) isOurs(a netip.AddrPort) bool {
	for _, l := range s.addresses("mta") {
		at, err := netip.ParseAddrPort(l.String())
		if err != nil || at.Port() != a.Port() {
			continue
		}
		if at.Addr().Unmap() == a.Addr() || at.Addr().IsUnspecified() && isOfThisMachine(a.Addr()) {
			return true
		}
	}
	return false
}

func isOfThisMachine(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(have net.Addr) bool {
		p, err := netip.ParsePrefix(have.String())
		return err == nil && p.Addr() == a
	})
}

// shutdown ends every part in the order in which they need each other. What
// runs may finish, for 30 seconds.
func (s *server) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	s.mu.Lock()
	for _, l := range s.listeners {
		l.Close() //nolint:errcheck // its Serve ends, which is all we want
	}
	s.mu.Unlock()
	var parts sync.WaitGroup
	if s.mta != nil {
		parts.Go(func() { s.run("mta", func() error { return s.mta.Shutdown(ctx) }) })
	}
	if s.msa != nil {
		parts.Go(func() { s.run("msa", func() error { return s.msa.Shutdown(ctx) }) })
	}
	if s.imapd != nil {
		parts.Go(func() { s.run("imapd", func() error { return s.imapd.Shutdown(ctx) }) })
	}
	if s.web != nil {
		parts.Go(func() { s.run("web", func() error { return s.web.Shutdown(ctx) }) })
	}
	if s.queue != nil {
		parts.Go(func() { s.run("queue", func() error { return s.queue.Shutdown(ctx) }) })
	}
	if s.admin != nil {
		parts.Go(func() { s.run("admin", func() error { return s.admin.Shutdown(ctx) }) })
	}
	parts.Wait()
	if s.endSigners != nil {
		s.endSigners()
	}
	s.running.Wait()
	if s.certs != nil {
		s.certs.Close()
	}
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.log.Error("close store", "err", err)
		}
	}
}

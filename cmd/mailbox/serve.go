package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
)

func newServeCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server in the foreground, until SIGINT or SIGTERM.

SIGHUP reads the configuration again: where it has a mistake, nothing changes
and the log says what is wrong; hostname, data and admin.socket need a restart.
Under systemd it says when it is ready, and feeds the watchdog.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(o.config)
			if err != nil {
				return err
			}
			log, level, err := newLogger(c.ErrOrStderr(), cfg.Log)
			if err != nil {
				return err
			}
			slog.SetDefault(log)
			return serve(c.Context(), o.config, cfg, log, level)
		},
	}
}

// serve runs the server until ctx is done, or the disk fails.
func serve(ctx context.Context, file string, cfg config, log *slog.Logger, level *slog.LevelVar) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	s, err := start(ctx, cfg, log, level, nil)
	if err != nil {
		return err
	}
	defer s.shutdown()
	for _, a := range s.sockets.Unused() {
		log.Warn("nobody listens on a socket of systemd: it is not in the configuration", "address", a.String())
	}
	log.Info("ready", "hostname", cfg.Hostname, "version", version())
	notify(log, daemon.SdNotifyReady)
	defer notify(log, daemon.SdNotifyStopping)
	watchdog := watchdogTicker(log)
	for {
		select {
		case <-ctx.Done():
			log.Info("shutting down")
			return nil
		case <-s.db.Failed():
			log.Error("ending, so that nothing is acknowledged that is not on the disk", "err", s.db.Failure())
			return s.db.Failure()
		case <-hup:
			notify(log, daemon.SdNotifyReloading)
			if err := s.survive(func() error { return reload(ctx, s, file, level) }); err != nil {
				log.Error("configuration not reloaded; the old one holds", "err", err)
			} else {
				log.Info("configuration reloaded")
			}
			notify(log, daemon.SdNotifyReady)
		case <-watchdog:
			if err := s.survive(func() error { return s.alive(ctx) }); err != nil {
				log.Error("not well; systemd's watchdog is not fed", "err", err)
				continue
			}
			notify(log, daemon.SdNotifyWatchdog)
		}
	}
}

func reload(ctx context.Context, s *server, file string, level *slog.LevelVar) error {
	cfg, err := loadConfig(file)
	if err != nil {
		return err
	}
	if err := s.reload(ctx, cfg); err != nil {
		return err
	}
	l, err := parseLevel(cfg.Log.Level)
	level.Set(l)
	return err
}

// notify tells systemd, where it runs us.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd was not told", "state", state, "err", err)
	}
}

// watchdogTicker ticks twice in the time in which systemd expects a sign of
// life; never, where it expects none.
func watchdogTicker(log *slog.Logger) <-chan time.Time {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog", "err", err)
	}
	if every <= 0 {
		return nil
	}
	return time.Tick(every / 2)
}

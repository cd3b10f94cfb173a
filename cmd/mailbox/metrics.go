package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newMetrics shows what the parts count to Prometheus. They count on their
// own; the numbers are read when somebody asks.
func newMetrics(s *server) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, labels prometheus.Labels, value func() int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "mailbox_" + name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	const panics = "panics_total"
	gauge := func(name, help string, labels prometheus.Labels, value func() int64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "mailbox_" + name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	for service, stats := range map[string]func() connectionStats{
		"mta": func() connectionStats {
			st := s.mta.Stats()
			return connectionStats{st.Connections, st.Open, st.ConnectionsRefused, st.Panics}
		},
		"msa": func() connectionStats {
			st := s.msa.Stats()
			return connectionStats{st.Connections, st.Open, st.ConnectionsRefused, st.Panics}
		},
		"imapd": func() connectionStats {
			st := s.imapd.Stats()
			return connectionStats{st.Connections, st.Open, st.Refused, st.Panics}
		},
		"web": func() connectionStats {
			st := s.web.Stats()
			return connectionStats{st.Connections, st.Open, st.Refused, st.Panics}
		},
	} {
		labels := prometheus.Labels{"service": service}
		counter("connections_total", "Connections accepted.", labels, func() int64 { return stats().accepted })
		gauge("connections_open", "Connections open now.", labels, func() int64 { return stats().open })
		counter("connections_refused_total", "Connections refused for a limit.", labels, func() int64 { return stats().refused })
		counter(panics, "Panics that were recovered.", labels, func() int64 { return stats().panics })
	}
	for service, count := range map[string]func() int64{
		"queue": func() int64 { return s.queue.Stats().Panics }, "storage": s.db.Panics, "dns": s.dns.Panics, "tls": s.certs.Panics,
		"admin": func() int64 { return s.api.Panics() }, "signers": s.signers.panics.Load, "server": s.panics.Load,
	} {
		counter(panics, "Panics that were recovered.", prometheus.Labels{"service": service}, count)
	}

	counter("mta_messages_accepted_total", "Messages taken from the internet and filed.", nil, func() int64 { return s.mta.Stats().Accepted })
	counter("mta_messages_rejected_total", "Messages refused after their last octet.", nil, func() int64 { return s.mta.Stats().Rejected })
	counter("mta_recipients_refused_total", "Recipients refused.", nil, func() int64 { return s.mta.Stats().RecipientsRefused })
	counter("mta_octets_total", "Octets of accepted messages.", nil, func() int64 { return s.mta.Stats().Octets })
	counter("mta_eager_total", "Peers refused because they spoke before the greeting.", nil, func() int64 { return s.mta.Stats().Eager })
	counter("mta_tls_failed_total", "TLS handshakes that failed.", nil, func() int64 { return s.mta.Stats().FailedHandshakes })
	counter("msa_tls_failed_total", "TLS handshakes that failed.", nil, func() int64 { return s.msa.Stats().FailedHandshakes })
	counter("msa_messages_accepted_total", "Messages taken from our users.", nil, func() int64 { return s.msa.Stats().Accepted })
	counter("msa_messages_rejected_total", "Messages refused after their last octet.", nil, func() int64 { return s.msa.Stats().Rejected })
	counter("msa_recipients_refused_total", "Recipients refused.", nil, func() int64 { return s.msa.Stats().RecipientsRefused })
	counter("msa_octets_total", "Octets of accepted messages.", nil, func() int64 { return s.msa.Stats().Octets })
	counter("msa_logins_total", "Logins that succeeded.", nil, func() int64 { return s.msa.Stats().Logins })
	counter("msa_logins_failed_total", "Logins that failed.", nil, func() int64 { return s.msa.Stats().FailedLogins })
	counter("queue_attempts_total", "Attempts to send, by recipient.", nil, func() int64 { return s.queue.Stats().Attempts })
	counter("queue_sent_total", "Recipients whose server took the message.", nil, func() int64 { return s.queue.Stats().Sent })
	counter("queue_deferred_total", "Attempts that failed for now.", nil, func() int64 { return s.queue.Stats().Deferred })
	counter("queue_failed_total", "Recipients that were given up.", nil, func() int64 { return s.queue.Stats().Failed })
	counter("queue_reports_total", "Reports to senders.", nil, func() int64 { return s.queue.Stats().Reports })
	gauge("queue_recipients", "Recipients that wait in the queue.", nil, func() int64 { return s.queue.Stats().Waiting })
	gauge("queue_connections_open", "Connections to other servers.", nil, func() int64 { return s.queue.Stats().Connections })
	counter("web_requests_total", "HTTP requests.", nil, func() int64 { return s.web.Stats().Requests })
	gauge("certificate_expires_timestamp_seconds", "When the host's certificate ends.", nil, func() int64 { return s.certs.Certificates()[0].NotAfter.Unix() })
	counter("imapd_logins_total", "Logins that succeeded.", nil, func() int64 { return s.imapd.Stats().Logins })
	counter("imapd_logins_failed_total", "Logins that failed.", nil, func() int64 { return s.imapd.Stats().FailedLogins })
	counter("imapd_commands_total", "Commands.", nil, func() int64 { return s.imapd.Stats().Commands })
	counter("imapd_commands_bad_total", "Commands answered BAD.", nil, func() int64 { return s.imapd.Stats().BadCommands })
	counter("imapd_appended_total", "Messages that clients uploaded.", nil, func() int64 { return s.imapd.Stats().Appended })
	all := promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := s.survive(func() error {
			all.ServeHTTP(w, r)
			return nil
		})
		if err != nil {
			panic(http.ErrAbortHandler) // ends the connection, and is not logged again
		}
	})
}

// connectionStats are what every service counts of its connections.
type connectionStats struct{ accepted, open, refused, panics int64 }

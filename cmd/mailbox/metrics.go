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
	gauge := func(name, help string, labels prometheus.Labels, value func() int64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "mailbox_" + name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	mta, imap := prometheus.Labels{"service": "mta"}, prometheus.Labels{"service": "imapd"}
	const connections, open, refused, panics = "connections_total", "connections_open", "connections_refused_total", "panics_total"
	counter(connections, "Connections accepted.", mta, func() int64 { return s.mta.Stats().Connections })
	counter(connections, "Connections accepted.", imap, func() int64 { return s.imapd.Stats().Connections })
	gauge(open, "Connections open now.", mta, func() int64 { return s.mta.Stats().Open })
	gauge(open, "Connections open now.", imap, func() int64 { return s.imapd.Stats().Open })
	counter(refused, "Connections refused for a limit.", mta, func() int64 { return s.mta.Stats().ConnectionsRefused })
	counter(refused, "Connections refused for a limit.", imap, func() int64 { return s.imapd.Stats().Refused })
	counter(panics, "Panics that were recovered.", mta, func() int64 { return s.mta.Stats().Panics })
	counter(panics, "Panics that were recovered.", imap, func() int64 { return s.imapd.Stats().Panics })
	counter(panics, "Panics that were recovered.", prometheus.Labels{"service": "storage"}, s.db.Panics)

	counter("mta_messages_accepted_total", "Messages taken from the internet and filed.", nil, func() int64 { return s.mta.Stats().Accepted })
	counter("mta_messages_rejected_total", "Messages refused after their last octet.", nil, func() int64 { return s.mta.Stats().Rejected })
	counter("mta_recipients_refused_total", "Recipients refused.", nil, func() int64 { return s.mta.Stats().RecipientsRefused })
	counter("mta_octets_total", "Octets of accepted messages.", nil, func() int64 { return s.mta.Stats().Octets })
	counter("mta_eager_total", "Peers refused because they spoke before the greeting.", nil, func() int64 { return s.mta.Stats().Eager })
	counter("mta_tls_failed_total", "TLS handshakes that failed.", nil, func() int64 { return s.mta.Stats().FailedHandshakes })
	counter("imapd_logins_total", "Logins that succeeded.", nil, func() int64 { return s.imapd.Stats().Logins })
	counter("imapd_logins_failed_total", "Logins that failed.", nil, func() int64 { return s.imapd.Stats().FailedLogins })
	counter("imapd_commands_total", "Commands.", nil, func() int64 { return s.imapd.Stats().Commands })
	counter("imapd_commands_bad_total", "Commands answered BAD.", nil, func() int64 { return s.imapd.Stats().BadCommands })
	counter("imapd_appended_total", "Messages that clients uploaded.", nil, func() int64 { return s.imapd.Stats().Appended })
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

package imapd

import "sync/atomic"

type counters struct {
	connections, refused, logins, failedLogins, commands, badCommands, appended, panics atomic.Int64
}

// Stats are counts since the start of the process.
type Stats struct {
	Connections  int64 // accepted
	Open         int64 // connections that are open now
	Refused      int64 // for a limit
	Logins       int64
	FailedLogins int64
	Commands     int64
	BadCommands  int64 // answered BAD
	Appended     int64 // messages
	Panics       int64 // connections that ended in a panic
}

// Stats returns the counts as they are now.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{
		Connections: c.connections.Load(), Open: int64(s.pool.Conns()), Refused: c.refused.Load(), Logins: c.logins.Load(),
		FailedLogins: c.failedLogins.Load(), Commands: c.commands.Load(), BadCommands: c.badCommands.Load(),
		Appended: c.appended.Load(), Panics: c.panics.Load(),
	}
}

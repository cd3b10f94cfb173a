package loadtest

import "time"

// start measures a server whose store has no mail.
func (r *run) start() ([]Figure, error) {
	began := time.Now()
	var err error
	if r.process.pid, err = r.Server.Start(); err != nil {
		return nil, err
	}
	if err := greeting(r.ctx, r.SMTP); err != nil {
		return nil, err
	}
	took := time.Since(began)
	if _, err := r.rest(); err != nil {
		return nil, err
	}
	kib, err := r.process.memory()
	return []Figure{milliseconds("to first greeting", took), {"memory", kib / 1024, "MiB"}}, err
}

// restart is start with the large mailbox; while the server is down, the
// database tells what a message takes.
func (r *run) restart() ([]Figure, error) {
	if err := r.Server.Stop(); err != nil {
		return nil, err
	}
	size, err := fileSize(r.Database)
	if err != nil {
		return nil, err
	}
	figures, err := r.start()
	return append(figures, Figure{"database", float64(size-r.empty) / float64(r.Messages), "octets/msg"}), err
}

// idleConnections measures the memory of connections that wait in the large
// mailbox.
func (r *run) idleConnections() ([]Figure, error) {
	before, err := r.process.memory()
	if err != nil {
		return nil, err
	}
	const connections = 500
	for range connections {
		c, err := r.opened(largeMailbox, r.Messages)
		if err != nil {
			return nil, err
		}
		defer c.Close() //nolint:errcheck // it only waits
		if err := c.idle(); err != nil {
			return nil, err
		}
	}
	after, err := r.process.memory()
	return []Figure{{"memory", (after - before) / connections, "KiB/connection"}}, err
}

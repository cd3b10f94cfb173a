package loadtest

import (
	"bufio"
	"context"
	"net"
	"time"
)

// A connection is a socket with buffers. It is closed when the run is cut
// short, and gives up after some minutes, so that nothing waits for ever.
type connection struct {
	net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

func dial(ctx context.Context, address string) (*connection, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // whoever uses it sees
	const patience = 5 * time.Minute
	return &connection{conn, bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)}, conn.SetDeadline(time.Now().Add(patience))
}

// greeting waits for a server that starts, and returns when it has said its
// first line.
func greeting(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := dial(ctx, address)
		if err == nil {
			_, err = c.in.ReadSlice('\n')
			c.Close() //nolint:errcheck // nothing was sent
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

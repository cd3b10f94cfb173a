package imapd

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
)

// errCompress asks for compression after the answer.
var errCompress = errors.New("compress")

// compress is COMPRESS (RFC 4978). It is announced after login only, so that
// nobody else makes us inflate anything.
func (c *conn) compress(context.Context) (ok, error) {
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	algorithm, err := c.dec.Atom()
	if err == nil {
		err = c.dec.CRLF()
	}
	switch {
	case err != nil:
		return ok{}, err
	case !strings.EqualFold(algorithm, "DEFLATE"):
		return ok{}, bad("unknown algorithm")
	case c.inflater != nil:
		return ok{}, no("COMPRESSIONACTIVE", "DEFLATE is active already")
	}
	return ok{}, errCompress
}

// deflate goes over to compression, in both directions.
func (c *conn) deflate() error {
	if err := c.enc.Flush(); err != nil {
		return err
	}
	c.pushed = append(c.dec.Unread(), c.pushed...)
	c.inflater = &inflater{src: reader{c}}
	c.dec.Reset(c.inflater)
	c.enc.Reset(deflated{writer{c}, &c.s.deflate})
	return nil
}

// plain goes back from compression, in both directions: at the end of the
// client's command, and of what was answered (RFC 8437 section 4.1).
func (c *conn) plain() error {
	if c.inflater == nil {
		return nil
	}
	if err := c.enc.Flush(); err != nil {
		return err
	}
	if c.dec.Buffered() > 0 {
		return &connError{errDeflate}
	}
	rest, err := c.inflater.end()
	if err != nil {
		return &connError{err}
	}
	c.pushed = append(rest, c.pushed...)
	c.inflater = nil
	c.dec.Reset(reader{c})
	c.enc.Reset(writer{c})
	return nil
}

// A deflated compresses what is written to w. All of a Write is on its way when
// it returns. No state is kept from one piece to the next: that costs some
// octets, and saves the memory of idle connections and of those whose client
// does not read.
type deflated struct {
	w    io.Writer
	pool *deflatePool
}

// deflatePiece is how much is compressed at once: what an encoder flushes.
const deflatePiece = 16 << 10

// A deflatePool is what the connections of a server borrow: compressors, which
// are large, while they compress, and their output until it is sent.
type deflatePool struct {
	writers, outputs sync.Pool // of *flate.Writer, *bytes.Buffer
}

func (d deflated) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		piece := p[n:min(n+deflatePiece, len(p))]
		out := d.pool.pack(piece)
		if _, err = d.w.Write(out.Bytes()); err == nil {
			n += len(piece)
		}
		d.pool.outputs.Put(out)
	}
	return n, err
}

// pack compresses p into blocks of which none is the last one, and flushes them.
func (d *deflatePool) pack(p []byte) *bytes.Buffer {
	out, found := d.outputs.Get().(*bytes.Buffer)
	if !found {
		out = new(bytes.Buffer)
	}
	out.Reset()
	z, found := d.writers.Get().(*flate.Writer)
	if !found {
		z, _ = flate.NewWriter(nil, flate.BestSpeed) // it fails for other levels only
	}
	z.Reset(out)
	z.Write(p) //nolint:errcheck // a Buffer takes everything
	z.Flush()  //nolint:errcheck // see above
	z.Reset(nil)
	d.writers.Put(z)
	return out
}

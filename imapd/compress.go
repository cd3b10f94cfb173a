package imapd

import (
	"bufio"
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
	c.enc.Reset(deflated{writer{c}, &c.s.deflaters})
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
// it returns. No state is kept from one Write to the next: that costs some
// octets, and saves the memory of an idle connection.
type deflated struct {
	w    io.Writer
	pool *sync.Pool // of *deflater
}

type deflater struct {
	out *bufio.Writer
	z   *flate.Writer
}

// newDeflater makes what deflated borrows.
func newDeflater() any {
	out := bufio.NewWriterSize(nil, 16<<10) // one TLS record
	z, err := flate.NewWriter(out, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is constant
	}
	return &deflater{out, z}
}

func (d deflated) Write(p []byte) (int, error) {
	f := d.pool.Get().(*deflater)
	defer d.pool.Put(f)
	f.out.Reset(d.w)
	f.z.Reset(f.out)
	_, err := f.z.Write(p)
	if err == nil {
		err = f.z.Flush()
	}
	if err == nil {
		err = f.out.Flush()
	}
	f.out.Reset(nil)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

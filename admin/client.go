package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"mailbox/admin/pull"
	"mailbox/storage"
)

// ErrNoServer says that no server answers on the socket.
var ErrNoServer = errors.New("no server answers on the admin socket")

// A Client asks an API, over a socket or in the same process.
type Client struct{ http http.Client }

// Dial returns a client of the server at a socket. ErrNoServer: there is none.
// That we may not connect is another error, and never worked around.
func Dial(socket string) (*Client, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	c, err := dial(context.Background(), "", "")
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoServer
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("admin socket %s: permission denied; be root or a member of the server's group", socket)
	case err != nil:
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	c.Close() //nolint:errcheck // it was only a knock
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// InProcess returns a client of a handler: the same API where no server runs.
func InProcess(h http.Handler) *Client {
	return &Client{http.Client{Transport: handlerTransport{h}}}
}

// handlerTransport answers requests by a handler, while it reads and writes.
type handlerTransport struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	answer := &pipedAnswer{header: http.Header{}, body: w, begun: make(chan int, 1)}
	go func() {
		t.h.ServeHTTP(answer, r)
		r.Body.Close() //nolint:errcheck // nobody reads it any more
		answer.WriteHeader(http.StatusOK)
		w.Close() //nolint:errcheck // never fails
	}()
	code := <-answer.begun
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Header: answer.header, Body: body, Request: r}, nil
}

// A pipedAnswer is an http.ResponseWriter whose body is read while it is written.
type pipedAnswer struct {
	header http.Header
	body   *io.PipeWriter
	begun  chan int // gets the status, once
	wrote  bool
}

// Header implements http.ResponseWriter.
func (a *pipedAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *pipedAnswer) WriteHeader(code int) {
	if !a.wrote {
		a.wrote = true
		a.begun <- code
	}
}

// Write implements http.ResponseWriter.
func (a *pipedAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// Call runs a command such as "user/add". Its error is what the API said.
func (c *Client) Call(ctx context.Context, command string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.post(ctx, command, bytes.NewReader(body), out)
}

func (c *Client) post(ctx context.Context, command string, body io.Reader, out any) error {
	res, err := c.do(ctx, command, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: answer of the server: %w", command, &outage{err})
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: answer of the server: %w", command, err)
	}
	return nil
}

// each asks for a stream, and calls yield for its records, of a message with its
// octets.
func (c *Client) each(ctx context.Context, command string, in any, yield func(record, io.Reader) error) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, command, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for r := newStreamReader(res.Body); ; {
		rec, octets, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return &outage{err}
		case err == nil:
			err = yield(rec, octets)
		}
		if err != nil {
			return err
		}
	}
}

// errRecord says that a stream has something else than what was asked for.
var errRecord = errors.New("stream of mail: a record of another kind")

// contents calls yield for what a mailbox has.
func (c *Client) contents(ctx context.Context, of mailboxRef, yield func(contentSum)) error {
	return c.each(ctx, "import/contents", of, func(rec record, _ io.Reader) error {
		if rec.Content == nil {
			return errRecord
		}
		yield(*rec.Content)
		return nil
	})
}

// send sends a stream, which write writes, and decodes the answer into out. An
// error of write's own is what it returns.
func (c *Client) send(ctx context.Context, command string, out any, write func(*streamWriter) error) error {
	body, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		s := newStreamWriter(w)
		err := write(s)
		if err == nil {
			err = s.end(nil)
		}
		w.CloseWithError(err) //nolint:errcheck // never fails
		written <- err
	}()
	err := c.post(ctx, command, body, out)
	body.Close() //nolint:errcheck // never fails
	if failed := <-written; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return failed
	}
	return err
}

// maxAnswer bounds an answer, in bytes: that of a verify may be long.
const maxAnswer = 64 << 20

// do asks, and makes an error of what the API says is one.
func (c *Client) do(ctx context.Context, command string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://mailbox/"+command, body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(r)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil, &outage{errors.New("the server ended the connection; be root or a member of its group")}
	}
	if err != nil {
		return nil, &outage{err}
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var f failure
	if answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer)); err != nil || json.Unmarshal(answer, &f) != nil || f.Error == "" {
		return nil, fmt.Errorf("%s: the server answered %d %s", command, res.StatusCode, http.StatusText(res.StatusCode))
	}
	return nil, &refusal{res.StatusCode, f.Error}
}

// An outage is that a request had no whole answer: nobody was there, or the
// server ended meanwhile.
type outage struct{ error }

// Unwrap implements errors.Unwrap.
func (o *outage) Unwrap() error { return o.error }

// Is implements errors.Is.
func (o *outage) Is(target error) bool { return target == pull.ErrAway }

// A refusal is an error that the API answered with. It is what the store said.
type refusal struct {
	code int
	text string
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

// Is implements errors.Is.
func (r *refusal) Is(target error) bool {
	return target == refusals[r.code]
}

// refusals are the errors that callers tell apart. It is never changed.
var refusals = map[int]error{
	http.StatusNotFound:            storage.ErrNotFound,
	http.StatusConflict:            storage.ErrExists,
	http.StatusBadRequest:          storage.ErrInvalid,
	http.StatusInsufficientStorage: storage.ErrOverQuota,
}

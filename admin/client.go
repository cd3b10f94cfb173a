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
	"net/http/httptest"
	"syscall"
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

// handlerTransport answers requests by a handler.
type handlerTransport struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// Call runs a command such as "user/add". Its error is what the API said.
func (c *Client) Call(ctx context.Context, command string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://mailbox/"+command, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, code, err := c.do(r)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		var f failure
		if json.Unmarshal(answer, &f) != nil || f.Error == "" {
			return fmt.Errorf("%s: the server answered %d %s", command, code, http.StatusText(code))
		}
		return errors.New(f.Error)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: answer of the server: %w", command, err)
	}
	return nil
}

// maxAnswer bounds an answer, in bytes: that of a verify may be long.
const maxAnswer = 64 << 20

func (c *Client) do(r *http.Request) (answer []byte, code int, err error) {
	res, err := c.http.Do(r)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil, 0, errors.New("the server refused the connection; be root or a member of its group")
	}
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return answer, res.StatusCode, err
}

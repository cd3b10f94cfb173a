// Package admin is for the operator: an HTTP API on a Unix socket, and its
// client, which the command line uses. Where no server runs, the client asks
// the same API inside its own process.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"mailbox/storage"
)

// maxBody bounds a request, in bytes.
const maxBody = 1 << 20

// Sessions are the IMAP connections that are open now.
type Sessions interface {
	Sessions() []Session
	Kill(id string) bool // false: there is none of that id
}

// Signers sign mail with the keys in the store.
type Signers interface {
	// Refresh reads the keys again. What they sign after that is signed with these.
	Refresh(ctx context.Context) error
}

// An API answers the operator's requests. DB must be set. Sessions, Signers,
// Certificates and Level belong to a running server and are nil where there is
// none; Metrics, where it is set, answers GET /metrics.
type API struct {
	DB           *storage.DB
	Sessions     Sessions
	Signers      Signers
	Certificates Certificates
	Level        *slog.LevelVar
	Metrics      http.Handler
	Log          *slog.Logger

	keys   sync.Mutex // one change of the DKIM keys at a time
	panics atomic.Int64
}

// Panics returns the number of commands that panicked.
func (a *API) Panics() int64 { return a.panics.Load() }

// errNeedsServer answers what only a running server can do.
var errNeedsServer = errors.New("this needs a running server, and none answers on the admin socket")

// A call is one request: its body is decoded into In, and its answer is Out.
type call[In, Out any] func(ctx context.Context, in In) (Out, error)

// Handler returns the API. Every request is a POST of a JSON object to the
// path of its command, except GET /metrics.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, a, "user/add", a.userAdd)
	handle(mux, a, "user/list", a.userList)
	handle(mux, a, "user/show", a.userShow)
	handle(mux, a, "user/passwd", a.userPasswd)
	handle(mux, a, "user/set", a.userSet)
	handle(mux, a, "user/remove", a.userRemove)
	handle(mux, a, "user/app-password/add", a.appPasswordAdd)
	handle(mux, a, "user/app-password/list", a.appPasswordList)
	handle(mux, a, "user/app-password/remove", a.appPasswordRemove)
	handle(mux, a, "alias/add", a.aliasAdd)
	handle(mux, a, "alias/list", a.aliasList)
	handle(mux, a, "alias/remove", a.aliasRemove)
	handle(mux, a, "mailbox/list", a.mailboxList)
	handle(mux, a, "mailbox/ensure", a.mailboxEnsure)
	handleAnswer(mux, a, "import/contents", a.contents)
	handleUpload(mux, a, "import/messages", a.importMessages)
	handleAnswer(mux, a, "export/messages", a.exportMessages)
	handleAnswer(mux, a, "pull/known", a.pullKnown)
	handleAnswer(mux, a, "pull/copies", a.pullCopies)
	handleUpload(mux, a, "pull/messages", a.pullMessages)
	handle(mux, a, "pull/change", a.pullChange)
	handle(mux, a, "session/list", a.sessionList)
	handle(mux, a, "session/kill", a.sessionKill)
	handle(mux, a, "queue/list", a.queueList)
	handle(mux, a, "queue/show", a.queueShow)
	handle(mux, a, "queue/retry", a.queueRetry)
	handle(mux, a, "queue/hold", a.queueHold)
	handle(mux, a, "queue/release", a.queueRelease)
	handle(mux, a, "queue/drop", a.queueDrop)
	handle(mux, a, "queue/route", a.queueRoute)
	handle(mux, a, "policy/list", a.policyList)
	handle(mux, a, "policy/add", a.policyAdd)
	handle(mux, a, "policy/remove", a.policyRemove)
	handle(mux, a, "dkim/list", a.dkimList)
	handle(mux, a, "dkim/add", a.dkimAdd)
	handle(mux, a, "dkim/rotate", a.dkimRotate)
	handle(mux, a, "dkim/retire", a.dkimRetire)
	handle(mux, a, "dkim/remove", a.dkimRemove)
	handle(mux, a, "explain", a.explain)
	handle(mux, a, "cert/list", a.certList)
	handle(mux, a, "cert/renew", a.certRenew)
	handle(mux, a, "log-level", a.logLevel)
	handle(mux, a, "profile", a.profile)
	handle(mux, a, "verify", a.verify)
	if a.Metrics != nil {
		mux.Handle("GET /metrics", a.Metrics)
	}
	return mux
}

func handle[In, Out any](mux *http.ServeMux, a *API, command string, f call[In, Out]) {
	mux.HandleFunc("POST /"+command, func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(w, command)
		var in In
		if err := decode(w, r, &in); err != nil {
			reply(w, status(err), failure{err.Error()})
			return
		}
		out, err := f(r.Context(), in)
		if err != nil {
			reply(w, status(err), failure{err.Error()})
			return
		}
		reply(w, http.StatusOK, out)
	})
}

// handleAnswer answers a request of JSON with a stream.
func handleAnswer[In any](mux *http.ServeMux, a *API, command string, f func(context.Context, In, *streamWriter) error) {
	mux.HandleFunc("POST /"+command, func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(w, command)
		var in In
		out := newStreamWriter(w)
		err := decode(w, r, &in)
		if err == nil {
			err = f(r.Context(), in, out)
		}
		if err != nil && !out.begun() {
			reply(w, status(err), failure{err.Error()})
			return
		}
		_ = out.end(err) // the peer has gone
	})
}

// handleUpload answers a request that is a stream with JSON.
func handleUpload[Out any](mux *http.ServeMux, a *API, command string, f func(context.Context, *streamReader) (Out, error)) {
	mux.HandleFunc("POST /"+command, func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(w, command)
		out, err := f(r.Context(), newStreamReader(r.Body))
		if err != nil {
			reply(w, status(err), failure{err.Error()})
			return
		}
		reply(w, http.StatusOK, out)
	})
}

// recovered ends a command that panicked.
func (a *API) recovered(w http.ResponseWriter, command string) {
	if p := recover(); p != nil {
		a.panics.Add(1)
		a.log().Error("admin command panicked", "command", command, "panic", p, "stack", string(debug.Stack()))
		reply(w, http.StatusInternalServerError, failure{"internal error; the server's log has the details"})
	}
}

// decode reads a request that is one JSON object.
func decode(w http.ResponseWriter, r *http.Request, in any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return fmt.Errorf("%w request: %w (are client and server of the same version?)", storage.ErrInvalid, err)
	}
	return nil
}

// A failure is the answer to a command that failed.
type failure struct {
	Error string `json:"error"`
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the peer has gone
}

func status(err error) int {
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrNonexistent):
		return http.StatusNotFound
	case errors.Is(err, storage.ErrExists):
		return http.StatusConflict
	case errors.Is(err, storage.ErrInvalid), errors.Is(err, storage.ErrForeign), errors.Is(err, storage.ErrLimit):
		return http.StatusBadRequest
	case errors.Is(err, storage.ErrOverQuota):
		return http.StatusInsufficientStorage
	case errors.Is(err, errNeedsServer):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (a *API) log() *slog.Logger {
	if a.Log == nil {
		return slog.Default()
	}
	return a.Log
}

package tls

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// How long to wait after failures in a row. A CA that cannot be reached is not
// burdened by a few more knocks. One that refused counts: Let's Encrypt allows
// five failed validations of a name in an hour, and an attempt makes one for
// each challenge.
var (
	unreachableWaits = [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour}
	refusedWaits     = [...]time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour}
)

// uselessWait is how long to wait after a CA gave a certificate that is of no
// use: Let's Encrypt gives five for the same name in a week.
const uselessWait = 48 * time.Hour

// errUseless is a certificate that a CA gave and that cannot be used.
var errUseless = errors.New("the CA gave a certificate that is of no use")

// errCutShort is what stands in the record while an attempt runs.
var errCutShort = errors.New("the process ended during the attempt")

// maxToldWait bounds what a CA may tell us to wait.
const maxToldWait = 7 * 24 * time.Hour

// failures are what became of the attempts for one name since the last that
// succeeded. They outlive restarts, so that a process that dies and is started
// over and over does not hammer a CA.
type failures struct {
	Count   int       `json:"count"`
	Last    time.Time `json:"last"`
	Next    time.Time `json:"next"`
	Told    bool      `json:"told"`    // the CA said that we ask too often, and Next is when it may be asked again
	Useless bool      `json:"useless"` // it gave a certificate that is of no use
	Error   string    `json:"error"`
}

// add counts a failure at a time.
func (f *failures) add(now time.Time, err error) {
	waits := unreachableWaits[:]
	var p acme.Problem
	refused := errors.As(err, &p) && (p.Status < http.StatusInternalServerError || p.Type == acme.ProblemTypeRateLimited)
	if refused {
		waits = refusedWaits[:]
	}
	wait := waits[min(f.Count, len(waits)-1)]
	if errors.Is(err, errUseless) {
		wait = uselessWait
	}
	wait += time.Duration(rand.Int64N(int64(wait)/10 + 1)) // many servers may have begun to wait at once
	f.Count++
	f.Last, f.Next, f.Error = now, now.Add(wait), err.Error()
	f.Useless = errors.Is(err, errUseless)
	f.Told = refused && (p.Type == acme.ProblemTypeRateLimited || p.Status == http.StatusTooManyRequests)
	if f.Told {
		if at := toldTime(p.Detail); at.After(f.Next) {
			f.Next = minTime(at.Add(time.Minute), now.Add(maxToldWait))
		}
		f.Next = maxTime(f.Next, now.Add(time.Hour))
	}
}

var toldPattern = regexp.MustCompile(`retry after (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)`)

// toldTime finds the time that Let's Encrypt's server writes into the text of
// a refusal, which is all of it that certmagic hands on.
func toldTime(detail string) time.Time {
	m := toldPattern.FindStringSubmatch(detail)
	if m == nil {
		return time.Time{}
	}
	t, _ := time.Parse("2006-01-02 15:04:05 MST", m[1])
	return t
}

// mayTry tells whether the time for another attempt has come. A clock that
// stands before the last attempt was set back: what it told us then means nothing.
func (f *failures) mayTry(now time.Time) bool {
	return f == nil || !now.Before(f.Next) || now.Before(f.Last.Add(-time.Minute))
}

// afterRestart lets the operator who has put something right and restarts the
// server not wait for long; but what a CA counts against us is respected.
func (f *failures) afterRestart() {
	if !f.Told && !f.Useless {
		f.Next = minTime(f.Next, f.Last.Add(time.Hour))
	}
}

// A record of failures is kept in a file for one configuration: a changed one
// begins anew.
type record struct {
	Config string               `json:"config"`
	Names  map[string]*failures `json:"names"`
	Early  map[string]time.Time `json:"early"` // when a certificate was replaced before its time
}

// readRecord never fails: where nothing can be read, nothing has failed yet.
func readRecord(file, config string) (record, error) {
	fresh := record{Config: config, Names: map[string]*failures{}, Early: map[string]time.Time{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil || r.Config != config || r.Names == nil {
		return fresh, err
	}
	if r.Early == nil {
		r.Early = fresh.Early
	}
	for name, f := range r.Names {
		if f == nil {
			delete(r.Names, name)
			continue
		}
		f.afterRestart()
	}
	return r, nil
}

// begun is the record of an attempt that has not come to its end yet.
func (r record) begun(name string, now time.Time) record {
	var f failures
	if before := r.Names[name]; before != nil {
		f = *before
	}
	f.add(now, errCutShort)
	r.Names = maps.Clone(r.Names)
	r.Names[name] = &f
	return r
}

func (r record) write(file string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(file, text)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

package pull

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain looks for goroutines that were left behind.
func TestMain(m *testing.M) {
	status := m.Run()
	for range 100 {
		if status != 0 || leaked() == "" {
			os.Exit(status)
		}
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "left behind:", leaked())
	os.Exit(1)
}

// leaked returns a goroutine of ours that is still running.
func leaked() string {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "admin/pull.") && !strings.Contains(g, "pull.TestMain") {
			return g
		}
	}
	return ""
}

func readAll(text string) (out []string, err error) {
	r := &reader{r: bufio.NewReader(strings.NewReader(text)), allowed: 1 << 16, memory: 1 << 10}
	defer func() { r.torn.close() }()
	for {
		resp, err := r.next()
		if err != nil {
			return out, err
		}
		out = append(out, fmt.Sprintf("%s %d %s [%s %s] %q%s %v", resp.tag, resp.number, resp.kind, resp.code, resp.arg, resp.text, show(resp.fields), resp.whole))
		resp.close()
	}
}

func show(fields []field) string {
	var b strings.Builder
	for _, f := range fields {
		switch {
		case f.isList:
			b.WriteString(" (" + show(f.list) + " )")
		case f.content != nil:
			text, err := io.ReadAll(f.content.reader())
			fmt.Fprintf(&b, " %d:%.9q%v", f.content.size, text, err)
		default:
			fmt.Fprintf(&b, " %q", f.text())
		}
	}
	return b.String()
}

// TestResponse: what is read from a line.
func TestResponse(t *testing.T) {
	for text, want := range map[string]string{
		"* OK [UIDNEXT 4] predicted\r\n": `* 0 OK [UIDNEXT 4] "predicted" true`,
		"* OK\r\n":                       `* 0 OK [ ] "" true`,
		"M1 NO [alert]\n":                `M1 0 NO [ALERT ] "" true`,
		"+\r\n":                          `+ 0  [ ] "" true`,
		"+ abc=\r\n":                     `+ 0  [ ] "abc=" true`,
		"* 12 FETCH (UID 3 FLAGS (\\Seen a))\r\n":                        `* 12 FETCH [ ] "" ( "UID" "3" "FLAGS" ( "\\Seen" "a" ) ) true`,
		"* 1 FETCH (BODY[HEADER.FIELDS (TO)]<0> {3}\r\na\r\n UID 1)\r\n": `* 1 FETCH [ ] "" ( "BODY[HEADER.FIELDS (TO)]<0>" 3:"a\r\n"<nil> "UID" "1" ) true`,
		"* 1 FETCH (BODY[] {3}\r\nabcd)\r\n":                             `* 1 FETCH [ ] "" ( "BODY[]" 3:"abc"<nil> "d" ) false`,
		"* LIST () \"\\\\\" {2+}\r\na\"\r\n":                             `* 0 LIST [ ] "" ( ) "\\" 2:"a\""<nil> true`,
		"* LIST (\\X NIL a[b\r\n":                                        `* 0 LIST [ ] "" ( "\\X" "NIL" "a[b" ) false`,
		"* X \"open\r\n":                                                 `* 0 X [ ] "" "open\r" false`,
		"* 1 FETCH (X ~{2000}\r\n" + strings.Repeat("x", 2000) + ")\r\n": `* 1 FETCH [ ] "" ( "X" 2000:"xxxxxxxxx"<nil> ) true`,
	} {
		got, err := readAll(text)
		if len(got) != 1 || got[0] != want || err != io.ErrUnexpectedEOF {
			t.Errorf("%q\nis read as %q, %v\nnot       %q", text, got, err, want)
		}
	}
}

func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"* OK [UIDNEXT 4] predicted\r\n", "* 12 FETCH (UID 3 FLAGS (\\Seen))\r\n",
		"* LIST () NIL {3}\r\nabc\r\nM1 OK\r\n", "* STATUS {3}\r\na b (MESSAGES 3)\r\n",
		"* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n", "+ x\r\n\r\n* )\r\n",
		"* 1 FETCH (UID 1 BODY[] ~{2}\r\nab X-GM-LABELS (\"\\\\Inbox\"))\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := &reader{r: bufio.NewReader(strings.NewReader(text)), allowed: 1 << 16, memory: 1 << 10}
		defer func() { r.torn.close() }()
		for {
			resp, err := r.next()
			if err != nil {
				return
			}
			f := readFetch(resp)
			if f.body != nil {
				m := (&mailbox{name: "x"}).message(f)
				if text, err := io.ReadAll(f.body.reader()); err != nil || int64(len(text)) != m.Size {
					t.Errorf("%d octets of %d: %v", len(text), m.Size, err)
				}
			}
			f.body.close()
			readListed(resp.fields)
			readStatus(resp.fields)
			readNamespaces(resp.fields)
			resp.close()
		}
	})
}

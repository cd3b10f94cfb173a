package dialogue

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

// echo serves one connection: a greeting, then every line back, until "bye".
func echo(string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		server.Write([]byte("hello\r\n"))
		for lines := bufio.NewScanner(server); lines.Scan() && lines.Text() != "bye"; {
			server.Write([]byte(strings.TrimSuffix(lines.Text(), "\r") + "\r\n"))
		}
	}()
	return client, nil
}

func TestPlay(t *testing.T) {
	p := &Player{Dial: echo, Vars: map[string]string{"NAME": "alice"}}
	for text, want := range map[string]string{
		"# all is well\nconnect x\nS: hello\nC: a ${NAME} \\x41\nS: a alice A\nC* 3 x\nC| \\r\\n\nS: xxx\nC: one\\r\\ntwo\nS* t*o\nC| bye\\n\nclosed": "",
		"connect x\nS: hello\nC: one\\r\\ntwo [7 8] x\nS= N *o [{}] *\nC: ${N} ${NAME}\nS: 7 8 alice":                                                 "",
		"connect x\nS: goodbye":                   `x:2: S: goodbye: the server said "hello"`,
		"S: hello":                                "x:1: S: hello: connect first",
		"connect x\nS: hello\nC: \\q":             "x:3:",
		"connect x\nwhat":                         "x:2: what: no such step",
		"connect x\nS: h*l*o\nC| bye\\n\nS: more": "x:4:",
	} {
		err := p.Play("x", text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, line string
		want          bool
	}{
		{"abc", "abc", true}, {"abc", "abcd", false}, {"a*", "a", true}, {"*c", "abc", true}, {"a*c", "ab", false}, {"*b*", "abc", true}, {"", "", true}, {"", "x", false},
	} {
		if matches(c.pattern, c.line) != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.line, !c.want)
		}
	}
}

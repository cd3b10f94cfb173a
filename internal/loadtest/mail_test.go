package loadtest

import (
	"bytes"
	netmail "net/mail"
	"strings"
	"testing"
)

// TestMessages: messages are what they are said to be, which the searches rely
// on, and the same every time.
func TestMessages(t *testing.T) {
	for _, size := range []int{small, large} {
		for n := 70; n < 130; n++ {
			text := newMessage(n, size, senderOf(n), "alice@bench.test")
			if !bytes.Equal(text, newMessage(n, size, senderOf(n), "alice@bench.test")) {
				t.Fatalf("message %d is another when it is made again", n)
			}
			if off := len(text) - size; off < -size/10 || off > size/10 {
				t.Errorf("message %d has %d octets, far from %d", n, len(text), size)
			}
			if bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) {
				t.Errorf("message %d has a bare LF", n)
			}
			m, err := netmail.ReadMessage(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if date, err := m.Header.Date(); err != nil || !date.Equal(dateOf(n)) {
				t.Errorf("message %d is of %v (%v)", n, date, err)
			}
			if got := strings.Contains(m.Header.Get("Subject"), subjectWord); got != hasSubjectWord(n) {
				t.Errorf("the rare word is in the subject of message %d: %v", n, got)
			}
			if got := bytes.Contains(text, []byte(textWord)); got != hasTextWord(n) {
				t.Errorf("the rare word is in the text of message %d: %v", n, got)
			}
		}
	}
}

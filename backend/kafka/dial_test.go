package kafka

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// hooked calls after when a read has got something, before the reader has it.
type hooked struct {
	net.Conn
	after func()
}

func (h *hooked) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if n > 0 {
		h.after()
	}
	return n, err
}

// TestBeginningOfAnAnswer: who has sent the first byte and then nothing is not
// waited for longer than franz-go says, also where it says so, since the client
// is closed, just when that byte comes.
func TestBeginningOfAnAnswer(t *testing.T) {
	for _, closed := range []bool{false, true} {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		h := &hooked{Conn: here}
		c := &conversation{Conn: h, d: &dialer{o: &Options{}}, until: time.Now().Add(time.Hour)}
		within := 50 * time.Millisecond
		h.after = func() {}
		if closed {
			within = time.Hour
			h.after = func() { _ = c.SetDeadline(time.Now()) }
		}
		_ = c.SetReadDeadline(time.Now().Add(within))
		go there.Write([]byte{0})
		ended := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(c, make([]byte, 4))
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("closed %v: the rest of the answer: %v, want that time ran out", closed, err)
			}
		case <-time.After(patience):
			t.Errorf("closed %v: the rest of the answer is waited for", closed)
		}
	}
}

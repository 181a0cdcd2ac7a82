package metrics

import (
	"bytes"
	"context"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
	"github.com/seastreamer/seastreamer/metrics"
)

// silent is a broker that answers nothing, until it fails.
type silent struct {
	driver.Driver
	driver.StreamAdmin
	asked, fails chan struct{}
}

func (s silent) StreamNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		close(s.asked)
		select {
		case <-s.fails:
			yield("", &driver.Error{Kind: driver.ErrUnavailable})
		case <-ctx.Done():
			yield("", ctx.Err())
		}
	}
}

// notices is what is said, by several goroutines.
type notices struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notices) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(b)
}

func (n *notices) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// Being told to stop is no failure, also while somebody looks and the broker does
// not answer, or fails then.
func TestStopDuringALook(t *testing.T) {
	defer func(was time.Duration) { shutdownTime = was }(shutdownTime)
	for _, fails := range []bool{false, true} {
		d := memory.NewStore().Driver(memory.Options{})
		broker := silent{d, d.(driver.StreamAdmin), make(chan struct{}), make(chan struct{})}
		c := admin.New(ss.New(broker, ss.Options{}))
		var said notices
		f := factory.New(&iostreams.Streams{Err: &said}, nil)
		ctx, stop := context.WithCancel(t.Context())
		if shutdownTime = 10 * time.Millisecond; fails {
			shutdownTime = time.Minute
		}
		done := make(chan error, 1)
		go func() { done <- serve(ctx, f, c, "localhost:0", metrics.Options{Timeout: time.Minute}) }()
		url := ""
		for url == "" {
			time.Sleep(time.Millisecond)
			if _, after, ok := strings.Cut(said.String(), "serving "); ok {
				url, _, _ = strings.Cut(after, "\n")
			}
		}
		answered := make(chan error, 1)
		go func() {
			r, err := http.Get(url)
			if err == nil {
				_ = r.Body.Close()
			}
			answered <- err
		}()
		<-broker.asked
		stop()
		if fails {
			close(broker.fails)
		}
		if err := <-done; err != nil {
			t.Errorf("fails %v: it ends with %v", fails, err)
		}
		if err := <-answered; (err == nil) != fails {
			t.Errorf("fails %v: who looks gets %v", fails, err)
		}
		if strings.Contains(said.String(), "warning") {
			t.Errorf("fails %v: it said %q", fails, said.String())
		}
		if !fails {
			close(broker.fails) // which ends the look
		}
	}
}

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

// silent is a broker that answers nothing.
type silent struct {
	driver.Driver
	driver.StreamAdmin
	asked chan struct{}
}

func (s silent) StreamNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		close(s.asked)
		<-ctx.Done()
		yield("", ctx.Err())
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
// not answer.
func TestStopDuringALook(t *testing.T) {
	defer func(was time.Duration) { shutdownTime = was }(shutdownTime)
	shutdownTime = 10 * time.Millisecond
	d := memory.NewStore().Driver(memory.Options{})
	asked := make(chan struct{})
	c := admin.New(ss.New(silent{d, d.(driver.StreamAdmin), asked}, ss.Options{}))
	var said notices
	f := factory.New(&iostreams.Streams{Err: &said}, nil)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, f, c, "localhost:0", metrics.Options{Timeout: 2 * time.Second}) }()
	url := ""
	for url == "" {
		time.Sleep(time.Millisecond)
		if _, after, ok := strings.Cut(said.String(), "serving "); ok {
			url, _, _ = strings.Cut(after, "\n")
		}
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if r, err := http.Get(url); err == nil {
			_ = r.Body.Close()
		}
	}()
	<-asked
	stop()
	if err := <-done; err != nil {
		t.Errorf("it ends with %v", err)
	}
	<-answered
	if strings.Contains(said.String(), "warning") {
		t.Errorf("it said %q", said.String())
	}
}

package drivertest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder is a test whose failure is a result and not a failure of the test
// that it runs in.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
	log    []string
}

// record runs one case against a backend and says whether it passed, and
// what it printed. It is for tests of the suite itself.
func record(t testing.TB, h Harness, c Case) (passed bool, log string) {
	t.Helper()
	f := h.look(t)
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() { // FailNow ends it
		defer close(ended)
		runCase(r, h, f, c)
	}()
	<-ended
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.failed, strings.Join(r.log, "\n")
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) Fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) FailNow() {
	r.Fail()
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Log(args ...any)   { r.Logf("%s", fmt.Sprintln(args...)) }
func (r *recorder) Error(args ...any) { r.Log(args...); r.Fail() }
func (r *recorder) Fatal(args ...any) { r.Log(args...); r.FailNow() }
func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.Fail()
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.Logf(format, args...)
	r.FailNow()
}

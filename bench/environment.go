package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// An environment is what the rows share: a broker, the sea binary, input files.
// Each is made when the first row needs it.
type environment struct {
	options
	dir string

	kafka sync.Once
	c     *apachekafka.Cluster
	adm   *kadm.Client
	err   error

	topics int

	redis    sync.Once
	rs       *redistest.Servers
	redisErr error
}

// broker is the address of an Apache Kafka of our own.
func (e *environment) broker(ctx context.Context) (string, error) {
	e.kafka.Do(func() {
		if e.c, e.err = apachekafka.Start(ctx, apachekafka.Options{}); e.err != nil {
			return
		}
		var cl *kgo.Client
		if cl, e.err = kgo.NewClient(kgo.SeedBrokers(e.c.Brokers()...)); e.err == nil {
			e.adm = kadm.NewClient(cl)
		}
	})
	if e.err != nil {
		return "", e.err
	}
	return e.c.Brokers()[0], nil
}

// topic makes a topic with one partition; drop removes it, so that the disk
// does not fill.
func (e *environment) topic(ctx context.Context) (name string, drop func(), err error) {
	if _, err := e.broker(ctx); err != nil {
		return "", nil, err
	}
	e.topics++
	name = fmt.Sprintf("bench-%d", e.topics)
	r, err := e.adm.CreateTopic(ctx, 1, 1, nil, name)
	if err == nil {
		err = r.Err
	}
	return name, func() { _, _ = e.adm.DeleteTopic(context.WithoutCancel(ctx), name) }, err
}

func (e *environment) close() {
	if e.adm != nil {
		e.adm.Close()
	}
	if e.c != nil {
		e.c.Stop()
	}
	if e.rs != nil {
		e.rs.Stop()
	}
}

// sea builds the binary once and returns its path.
func (e *environment) sea() (string, error) {
	path := filepath.Join(e.dir, "sea")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/sea")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
}

// payload is a value that compresses somewhat, as real records do, and is no
// two times the same.
func payload(i, size int) []byte {
	b := fmt.Appendf(make([]byte, 0, size), `{"serial":%d,"word":"%x","pad":"`, i, uint64(i)*0x9E3779B97F4A7C15)
	for len(b) < size-2 {
		b = append(b, "stream processing "[len(b)%18])
	}
	return append(b[:size-2], '"', '}')
}

// lines is a file of n lines of size bytes, newline included.
func (e *environment) lines() (string, error) {
	path := filepath.Join(e.dir, fmt.Sprintf("lines-%d-%d", e.n, e.size))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return "", err
	}
	var buf []byte
	for i := range e.n {
		buf = append(append(buf, payload(i, e.size-1)...), '\n')
		if len(buf) > 1<<20 || i == e.n-1 {
			if _, err := f.Write(buf); err != nil {
				return "", err
			}
			buf = buf[:0]
		}
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return path, os.Rename(path+".new", path)
}

// cpu is the user and system time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// settle waits until what was prepared, or the side before has written, is on
// the disk: else that is written while the next is measured.
func settle() { syscall.Sync() }

// timed runs f in this process.
func timed(n int, f func() error) (figure, error) {
	settle()
	c, t := cpu(), time.Now()
	err := f()
	return figure{wall: time.Since(t), cpu: cpu() - c, n: n}, err
}

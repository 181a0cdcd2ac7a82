//go:build linux

package pipe

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// lineSource gives n lines of 100 bytes as fast as one can: what is measured is
// the pipe.
type lineSource struct {
	n    int
	line []byte
}

func newLineSource(n int) *lineSource {
	return &lineSource{n, append(bytes.Repeat([]byte("x"), 99), '\n')}
}

func (s *lineSource) End(context.Context) (Mark, error) { return 0, nil }

func (s *lineSource) Next(ctx context.Context, _ Mark, b *Batch) (bool, error) {
	for s.n > 0 && !b.Full() {
		b.Bytes = append(b.Bytes, s.line...)
		b.End()
		s.n--
	}
	return s.n == 0, nil
}

func (s *lineSource) Taken(int) {}

func (s *lineSource) Seek(context.Context, Session) error { return nil }

func BenchmarkTap(b *testing.B) {
	for _, reader := range []string{"cat", "wc"} {
		b.Run(reader, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "consumer")
			tap, err := CreateTap(path, TapOptions{})
			if err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command("cat", path)
			if reader == "wc" {
				cmd = exec.Command("wc", "-l", path)
			}
			b.SetBytes(100)
			b.ResetTimer()
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- tap.Serve(ctx, newLineSource(b.N)) }()
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mlines/s")
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			if got := tap.Stats().Frames; got != int64(b.N) {
				b.Fatalf("taken %d of %d", got, b.N)
			}
		})
	}
}

func BenchmarkFlux(b *testing.B) {
	file := filepath.Join(b.TempDir(), "data")
	const size = 64 << 20
	if err := os.WriteFile(file, bytes.Repeat(newLineSource(0).line, size/100), 0o600); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "producer")
	f, err := CreateFlux(path, FluxOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size / 100 * 100)
	buf := make([]byte, 256<<10)
	for b.Loop() {
		cmd := exec.Command("bash", "-c", "cat "+file+" > "+path)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := f.Read(buf); err == ErrSessionEnd {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	f.Stop(time.Second)
	for {
		if _, err := f.Read(buf); err == io.EOF {
			break
		}
	}
}

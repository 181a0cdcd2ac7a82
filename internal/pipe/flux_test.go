//go:build linux

package pipe

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// readAll reads a flux to its end and returns the sessions.
func readAll(f *Flux) (sessions [][]byte, err error) {
	buf := make([]byte, 256<<10)
	var cur []byte
	for {
		n, err := f.Read(buf)
		cur = append(cur, buf[:n]...)
		switch {
		case errors.Is(err, ErrSessionEnd):
			sessions = append(sessions, cur)
			cur = nil
		case err == io.EOF:
			if cur != nil {
				sessions = append(sessions, cur)
			}
			return sessions, nil
		case err != nil:
			return sessions, err
		}
	}
}

func TestFluxReadsWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "producer")
	f, err := CreateFlux(path, FluxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	done := make(chan [][]byte)
	go func() {
		s, err := readAll(f)
		if err != nil {
			t.Error(err)
		}
		done <- s
	}()
	run(t, "", "bash", "-c", "echo one > "+path)
	time.Sleep(20 * time.Millisecond)
	run(t, "", "bash", "-c", "seq 100000 > "+path)
	f.Stop(time.Second)
	sessions := <-done
	all := bytes.Join(sessions, nil)
	want := "one\n" + run(t, "", "seq", "100000")
	wantText(t, "all", string(all), want)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
	if got := f.Stats(); got.Bytes != int64(len(want)) || got.Left != 0 {
		t.Errorf("stats %+v", got)
	}
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// A peak follows the most that a process has held in memory. What the kernel
// tells about a child that has ended says nothing here: it includes what this
// process held when it made the child.
type peak struct {
	most int64
	end  chan struct{}
	done chan struct{}
}

// watchMemory looks at the process's own high-water mark every 20 ms.
func watchMemory(pid int) *peak {
	p := &peak{end: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			p.most = max(p.most, highWater(pid))
			select {
			case <-t.C:
			case <-p.end:
				return
			}
		}
	}()
	return p
}

func (p *peak) stop() int64 {
	close(p.end)
	<-p.done
	return p.most
}

func highWater(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(v), []byte(" kB"))), 10, 64)
			return n << 10
		}
	}
	return 0
}

package pipe

import (
	"context"
	"fmt"
	"sync"
)

// memSource is a stream in memory, growing by add.
type memSource struct {
	frame func(i int) []byte // frame i, encoded

	mu     sync.Mutex
	grown  chan struct{} // closed and renewed by add
	end    int
	cursor int
	taken  int
	ends   int // calls of End
	maxGap int // most frames ever given and not taken
	failAt int // Next fails there, if > 0
}

func newMemSource(n int, frame func(i int) []byte) *memSource {
	return &memSource{frame: frame, end: n, grown: make(chan struct{})}
}

func line(i int) []byte { return fmt.Appendf(nil, "line %d\n", i) }

func (s *memSource) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end += n
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *memSource) End(context.Context) (Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends++
	return s.end, nil
}

func (s *memSource) Next(ctx context.Context, upTo Mark, b *Batch) (bool, error) {
	for {
		s.mu.Lock()
		if s.failAt > 0 && s.cursor >= s.failAt {
			s.mu.Unlock()
			return false, fmt.Errorf("record %d cannot be read", s.failAt)
		}
		end, grown := s.end, s.grown
		if s.failAt > 0 {
			end = min(end, s.failAt)
		}
		if upTo != nil {
			end = min(end, upTo.(int))
		}
		for s.cursor < end && !b.Full() {
			b.Bytes = append(b.Bytes, s.frame(s.cursor)...)
			b.End()
			s.cursor++
		}
		s.maxGap = max(s.maxGap, s.cursor-s.taken)
		cursor := s.cursor
		s.mu.Unlock()
		if upTo != nil && cursor >= upTo.(int) {
			return true, nil
		}
		if b.Len() > 0 {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-grown:
		}
	}
}

func (s *memSource) Taken(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken += n
}

func (s *memSource) Seek(_ context.Context, how Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = 0
	if how == Live {
		s.cursor = s.end
	}
	s.taken = s.cursor
	return nil
}

func (s *memSource) counts() (taken, cursor int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, s.cursor
}

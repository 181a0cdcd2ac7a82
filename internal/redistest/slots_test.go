//go:build unix

package redistest

import (
	"os"
	"strconv"
	"testing"
)

// A slot that moves from master to master without a rest is where it was moved
// to, by the word of all, and its keys are there.
//
// SLOT_MOVES=300 moves it so often, which on a busy machine now and then left
// masters that disagreed for ever while End did not wait.
func TestMoveSlot(t *testing.T) {
	moves := 12
	if n := os.Getenv("SLOT_MOVES"); n != "" {
		var err error
		if moves, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	s := ClusterForTest(t, Options{NodeTimeout: Patient})
	const slot = 9497 // of "moves"
	s.Call(t, 2, "XADD", "moves", "1-1", "msg", "hello")
	for i := range moves {
		if err := s.MoveSlot(t.Context(), slot, (i+2)%3+1); err != nil {
			t.Fatalf("move %d: %v", i, err)
		}
	}
	if got := s.Call(t, (moves+1)%3+1, "XLEN", "moves"); got != "1" {
		t.Errorf("%q entries, want 1", got)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.BeginMove(slot, (moves+1)%3+1); err == nil {
		t.Error("a move to where the slot is: want an error")
	}
}

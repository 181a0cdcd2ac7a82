//go:build unix

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// claims counts what a fault program claims and what of it held. What it says
// goes to the test's log: run with -v.
type claims struct {
	t              *testing.T
	passed, failed int
}

// check records one claim, with the figures behind it.
func (c *claims) check(ok bool, format string, args ...any) {
	c.t.Helper()
	what := fmt.Sprintf(format, args...)
	if ok {
		c.passed++
		c.t.Log("holds: " + what)
		return
	}
	c.failed++
	c.t.Error("DOES NOT HOLD: " + what)
}

func (c *claims) end() {
	c.t.Helper()
	c.t.Logf("%d passed, %d failed", c.passed, c.failed)
}

// fromEnv is a number that the environment may set, to run the same program
// with more of everything.
func fromEnv(t *testing.T, name string, unset int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return unset
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// seeded is the source of all chance in a fault program, and its seed, which
// SEED sets.
func seeded(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := uint64(fromEnv(t, "SEED", int(time.Now().UnixNano())))
	return rand.New(rand.NewPCG(seed, 0)), seed
}

// outputLines runs a program and returns what it prints, line by line.
func outputLines(t testing.TB, program string, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// waitFor waits until something is the case, for at most a minute.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute in vain until %s", what)
		}
	}
}

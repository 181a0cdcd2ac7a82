//go:build unix

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/all"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/ledger"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// workerProgram builds the worker, without the race detector, which would
// falsify its memory and its speed.
var workerProgram = program("ledgerworker", ".", "./cmd/ledgerworker")

// A faultRun is what the fault programs on workers have in common.
type faultRun struct {
	t       *testing.T
	rnd     *rand.Rand
	seed    uint64
	dir     string
	program string
	plan    ledger.Plan
	crew    *ledger.Crew
	claims  *claims

	kills, hits int // of workers

	watched chan struct{} // closed to end the watch
	watch   chan watched
}

type watched struct {
	longest time.Duration
	err     error
}

func newFaultRun(t *testing.T, plan ledger.Plan) *faultRun {
	t.Helper()
	rnd, seed := seeded(t)
	program, err := workerProgram()
	if err != nil {
		t.Fatal(err)
	}
	r := &faultRun{t: t, rnd: rnd, seed: seed, dir: keep(t), program: program, plan: plan, claims: &claims{t: t}}
	r.plan.Run = fmt.Sprintf("%x", seed)
	r.crew = ledger.NewCrew(r.dir, program)
	t.Cleanup(func() {
		r.crew.Stop()
		if !t.Failed() {
			return
		}
		logs, _ := filepath.Glob(filepath.Join(r.dir, "log-*"))
		for _, l := range logs {
			text, _ := os.ReadFile(l)
			if most := fromEnv(t, "LOG_BYTES", 4000); len(text) > most {
				text = append(append(text[:most/2:most/2], "\n…\n"...), text[len(text)-most/2:]...)
			}
			t.Logf("%s:\n%s", filepath.Base(l), text)
		}
	})
	return r
}

func (r *faultRun) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// keep is a folder for the test, which stays if LEDGER_KEEP says so.
func keep(t *testing.T) string {
	if os.Getenv("LEDGER_KEEP") == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "ledger-") //nolint:usetesting // it shall stay
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// add puts a worker to a task.
func (r *faultRun) add(t ledger.Task) *ledger.Place {
	r.t.Helper()
	t.Plan = r.plan
	p, err := r.crew.Add(t)
	r.must(err)
	return p
}

// write starts the writers of the plan, each at its part of the rate.
func (r *faultRun) write(to, out string, rate int) (writers []*ledger.Place) {
	r.t.Helper()
	for w := range r.plan.Writers {
		writers = append(writers, r.add(ledger.Task{Do: "write", To: to, Out: out, Writer: w, Rate: rate / r.plan.Writers, Books: r.dir}))
	}
	return writers
}

// startWatch looks for stalls until endWatch.
func (r *faultRun) startWatch() {
	r.watched, r.watch = make(chan struct{}), make(chan watched, 1)
	go func() {
		longest, err := r.crew.Watch(r.watched)
		if err != nil {
			r.t.Error(err)
		}
		r.watch <- watched{longest, err}
	}()
}

func (r *faultRun) endWatch() time.Duration {
	close(r.watched)
	return (<-r.watch).longest
}

// during runs faults at the same time and waits for all.
func (r *faultRun) during(faults ...func() error) {
	r.t.Helper()
	errs := make(chan error, len(faults))
	for _, f := range faults {
		go func() { errs <- f() }()
	}
	for range faults {
		if err := <-errs; err != nil {
			r.t.Error(err)
		}
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// chance is a source of chance of its own for one goroutine.
func (r *faultRun) chance() *rand.Rand { return rand.New(rand.NewPCG(r.rnd.Uint64(), 0)) }

// outlasts is how many messages a load may have besides those that are wanted,
// so that it goes on under all faults, however long servers take to start.
func outlasts(rate int) int64 { return 5 * 60 * int64(rate) }

// sent is how many messages the writers have begun.
func sent(writers []*ledger.Place) (n int64) {
	for _, w := range writers {
		n += w.Page().Units()
	}
	return n
}

// loaded goes on with the load until it has so many messages, and a second
// longer than the faults, and ends it.
func (r *faultRun) loaded(writers []*ledger.Place, messages int64) {
	r.t.Helper()
	until := time.Now().Add(time.Second)
	for time.Now().Before(until) || sent(writers) < messages {
		time.Sleep(10 * time.Millisecond)
		for _, w := range writers {
			select {
			case <-w.Ended():
				if w.Exit() != 0 {
					r.t.Fatalf("a writer ended with %d: %v", w.Exit(), r.crew.Exits())
				}
			default:
			}
		}
	}
	for _, w := range writers {
		w.End(time.Minute) // it waits for half of that, and says what it knows
	}
}

// drained waits until the workers' progress has come to the present end of
// their input.
func (r *faultRun) drained(broker, stream string, places ...*ledger.Place) {
	r.t.Helper()
	end := r.end(broker, stream)
	if err := r.crew.Wait(3*time.Minute, func() bool { return ledger.Reached(end, places...) }); err != nil {
		r.t.Logf("%s on %s was not drained in 3 minutes, by the workers' word: %v", stream, broker, err)
	}
}

func (r *faultRun) end(broker, stream string) seastreamer.Checkpoint {
	r.t.Helper()
	s, err := all.Open(r.t.Context(), broker)
	r.must(err)
	defer s.Close(context.Background())
	end, err := s.End(r.t.Context(), stream)
	r.must(err)
	return end
}

// books are what the writers say.
func (r *faultRun) books() *ledger.Books {
	r.t.Helper()
	b, err := ledger.ReadBooks(r.dir, r.plan)
	r.must(err)
	return b
}

// effective claims that so many percent of the kills hit something under way,
// and half as many where there are so few that chance has a say.
func (r *faultRun) effective(what string, kills, effective, percent int) {
	r.t.Helper()
	if kills < 20 {
		percent /= 2
	}
	r.claims.check(effective*100 >= kills*percent, "%d of %d kills of %s hit work under way, at least %d %% are wanted", effective, kills, what, percent)
}

// healed is how many partitions had a transaction, by the workers' logs, whose
// end Apache Kafka had left out, and which they ended.
func (r *faultRun) healed() (n int) {
	r.t.Helper()
	logs, err := filepath.Glob(filepath.Join(r.dir, "log-*"))
	r.must(err)
	for _, l := range logs {
		text, err := os.ReadFile(l)
		r.must(err)
		n += bytes.Count(text, []byte("whose end a broker had left out"))
	}
	return n
}

func kafkaBroker(k *apachekafka.Cluster) *ledger.Broker {
	return &ledger.Broker{Name: "Apache Kafka", Kill: func() { k.Kill(1) }, Restart: func(ctx context.Context) error { return k.Restart(ctx, 1) }}
}

func redisBroker(s *redistest.Servers) *ledger.Broker {
	return &ledger.Broker{Name: "Redis", Kill: func() { s.Kill(1) }, Restart: func(ctx context.Context) error {
		if err := s.Restart(ctx, 1); err != nil {
			return err
		}
		return s.Ready(ctx)
	}}
}

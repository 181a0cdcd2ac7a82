package drivertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"go.uber.org/goleak"
)

// A Harness says how the suite reaches one backend. Its functions fail the
// test themselves and return when what they did is visible to clients that are
// opened afterwards.
type Harness struct {
	// Open is a new client of the backend under test. All of them see the same
	// streams, as clients of one broker do. The suite closes it.
	Open func(t testing.TB) driver.Driver

	// Hasty is as Open, and Features.AckTimeout is short: it is for the cases
	// that wait until that has passed. All others are to be quicker than that
	// of Open, also on a machine that stands still now and then. nil is Open.
	Hasty func(t testing.TB) driver.Driver

	// Create makes a stream without messages.
	Create func(t testing.TB, stream string, shards int)

	// Trim removes the messages of a shard below a sequence number, as
	// retention does. Without it gaps are not tested.
	Trim func(t testing.TB, shard driver.Shard, before driver.Seq)

	// Restart stops the server and starts it again. Without it that is not
	// tested; there may be no server.
	Restart func(t testing.TB)

	// Stall is a client of a server that accepts connections and says nothing.
	// Without it that is not tested; there may be no connection.
	Stall func(t testing.TB) driver.Driver

	// LosePositions removes the positions of an owner's name and nothing else,
	// as damage would. Without it that is not tested.
	LosePositions func(t testing.TB, name string)

	// UnitsByGroup says that owners share only the input that a group of the
	// same server hands out, which this suite does not have for its owners.
	UnitsByGroup bool

	// UnitsStay says that the records of one unit cannot go to several shards
	// as the backend is set up.
	UnitsStay bool

	// Seed makes the random operations of the model those of a run that
	// printed it; zero takes new ones.
	Seed uint64

	// Foreign names functions whose goroutines are not the driver's to end: the
	// harness's own, such as one that waits for the process of a server that
	// Restart has started, or a client library's that only sleep and then end.
	Foreign []string

	// Patience is how long a case waits for what should come; zero is a
	// minute.
	Patience time.Duration

	admins admins // what a client can administer
}

// A Case checks one sentence.
type Case struct {
	Topic, Name string // of the subtest: Topic/Name
	Sentence    string // of the documentation
	Needs       Need   // nil applies to every backend
	Hasty       bool   // it waits for Features.AckTimeout, see Harness
	Run         func(t *T)
}

// A Need says in a few words what a case needs and does not find, or nothing.
type Need func(f driver.Features, h Harness) string

// Cases are all cases of the suite, by topic.
func Cases() []Case {
	return slices.Concat(sendCases, consumeCases, seekCases, groupCases, settleCases, bytesCases, gapCases,
		ackCases, loopCases, faultCases, featureCases, endCases, modelCases, atomicCases, adminCases, adminGroupCases, wokenCases)
}

// Run runs every case that applies to the backend.
func Run(t *testing.T, h Harness) {
	if h.Patience == 0 {
		h.Patience = time.Minute
	}
	f := h.look(t)
	mine := h.foreign(goleak.IgnoreCurrent())
	var skipped []string
	ran := 0
	for _, c := range Cases() {
		why := ""
		if c.Needs != nil {
			why = c.Needs(f, h)
		}
		if why != "" {
			skipped = append(skipped, fmt.Sprintf("%s/%s needs %s", c.Topic, c.Name, why))
			continue
		}
		ran++
		t.Run(c.Topic+"/"+c.Name, func(tt *testing.T) {
			runCase(tt, h, f, c)
			if !tt.Failed() {
				if err := leaks(mine); err != nil {
					tt.Errorf("goroutines are left: %v", err)
				}
			}
			if tt.Failed() {
				mine = h.foreign(goleak.IgnoreCurrent()) // the next case is not to blame
			}
		})
	}
	t.Logf("%s: %d cases ran and %d do not apply", f.Backend, ran, len(skipped))
	for _, s := range skipped {
		t.Logf("does not apply: %s", s)
	}
}

// leaks is goleak.Find for a busy machine, on which goroutines that have been
// told to end need longer than that waits.
func leaks(ignored []goleak.Option) (err error) {
	for range 20 { // half a second each
		if err = goleak.Find(ignored...); err == nil {
			return nil
		}
	}
	return err
}

// foreign adds Foreign to what a search for goroutines ignores.
func (h Harness) foreign(o ...goleak.Option) []goleak.Option {
	for _, f := range h.Foreign {
		o = append(o, goleak.IgnoreAnyFunction(f))
	}
	return o
}

// look asks a client what the backend can do.
func (h *Harness) look(t testing.TB) driver.Features {
	t.Helper()
	d := h.Open(t)
	f := d.Features()
	h.admins = adminsOf(d)
	if err := d.Close(context.Background()); err != nil {
		t.Fatalf("close the driver: %v", err)
	}
	return f
}

// runCase runs one case and closes all it has opened.
func runCase(tb testing.TB, h Harness, f driver.Features, c Case) {
	if c.Hasty && h.Hasty != nil {
		h.Open = h.Hasty
		f = h.look(tb)
	}
	t := &T{TB: tb, H: h, F: f, name: c.Name}
	defer func() {
		t.close()
		if tb.Failed() {
			tb.Logf("this breaks the sentence: %s", c.Sentence)
		}
	}()
	c.Run(t)
}

// all combines needs.
func all(needs ...Need) Need {
	return func(f driver.Features, h Harness) string {
		var why []string
		for _, n := range needs {
			if w := n(f, h); w != "" {
				why = append(why, w)
			}
		}
		return strings.Join(why, ", ")
	}
}

func lacks(has bool, what string) string {
	if has {
		return ""
	}
	return what
}

func needsGroups(f driver.Features, _ Harness) string {
	return lacks(f.Ack == driver.AckPosition, "groups with positions")
}
func needsVerdicts(f driver.Features, _ Harness) string {
	return lacks(f.Ack == driver.AckMessage, "groups with a verdict per message")
}
func needsAnyGroup(f driver.Features, _ Harness) string {
	return lacks(f.Ack != driver.AckNone, "groups")
}
func needsShards(f driver.Features, _ Harness) string     { return lacks(f.Shards, "shards") }
func needsKeys(f driver.Features, _ Harness) string       { return lacks(f.Keys, "keys") }
func needsHeaders(f driver.Features, _ Harness) string    { return lacks(f.Headers, "headers") }
func needsTombstones(f driver.Features, _ Harness) string { return lacks(f.Tombstones, "tombstones") }
func needsSeekSeq(f driver.Features, _ Harness) string    { return lacks(f.SeekSeq, "seek by sequence") }
func needsSeekTime(f driver.Features, _ Harness) string {
	return lacks(f.SeekTime && f.Timestamps, "seek by time and kept timestamps")
}
func needsTimestamps(f driver.Features, _ Harness) string {
	return lacks(f.Timestamps, "kept timestamps")
}
func needsAutocreate(f driver.Features, _ Harness) string {
	return lacks(f.Autocreate, "streams that producing creates")
}
func needsLimit(f driver.Features, _ Harness) string {
	return lacks(f.MaxRecord > 0, "a largest record that is known")
}
func needsTrim(_ driver.Features, h Harness) string { return lacks(h.Trim != nil, "Harness.Trim") }
func needsRestart(_ driver.Features, h Harness) string {
	return lacks(h.Restart != nil, "Harness.Restart")
}
func needsStall(_ driver.Features, h Harness) string { return lacks(h.Stall != nil, "Harness.Stall") }

func needsDurability(d driver.Durability) Need {
	return func(f driver.Features, _ Harness) string { return lacks(f.Has(d), "durability "+d.String()) }
}

package drivertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// A run of the model has so many operations, or as many as fit into modelTime;
// one that is repeated by its seed has them all.
const (
	modelSteps = 150
	modelTime  = 4 * time.Second
)

var modelCases = []Case{{
	Topic: "model", Name: "random operations",
	Sentence: "It is the reference that the conformance suite compares other backends with",
	Run: func(t *T) {
		seed := t.H.Seed
		if seed == 0 {
			seed = rand.Uint64()
		}
		t.Logf("Harness.Seed is %d", seed)
		shards := 1
		if t.F.Shards {
			shards = 3
		}
		store := memory.NewStore()
		reference := &T{TB: t.TB, H: MemoryHarness(store), F: t.F, name: t.name}
		reference.H.Patience = t.H.Patience
		defer reference.close()
		m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), shards: shards,
			tested: newWorld(t, shards), reference: newWorld(reference, shards)}
		deadline := time.Now().Add(modelTime)
		for i := 0; i < modelSteps && (t.H.Seed != 0 || time.Now().Before(deadline)); i++ {
			m.step(i)
			if t.Failed() {
				t.Fatalf("the steps so far:\n%s", strings.Join(m.log, "\n"))
			}
		}
	},
}}

// MemoryHarness reaches the backend in memory.
func MemoryHarness(store *memory.Store) Harness {
	return Harness{
		Open: func(testing.TB) driver.Driver { return store.Driver(memory.Options{}) },
		Create: func(t testing.TB, stream string, shards int) {
			if err := store.Create(stream, memory.Options{Shards: shards}); err != nil {
				t.Fatal(err)
			}
		},
		Trim: func(t testing.TB, shard driver.Shard, before driver.Seq) {
			if err := store.Trim(shard, before); err != nil {
				t.Fatal(err)
			}
		},
		LosePositions: func(_ testing.TB, name string) { store.LosePositions(name) },
	}
}

// model makes the same random operations on the backend under test and on the
// reference, and compares what comes of them. What differs by right is left
// out or put into common terms: sequence numbers become indexes, and shards
// are compared one by one.
type model struct {
	t                 *T
	rnd               *rand.Rand
	shards            int
	sent              int
	tested, reference *world
	log               []string
}

// world is one of the two sides.
type world struct {
	t      *T
	stream string
	group  string
	seqs   [][]driver.Seq // of all messages ever sent, by shard
	reader *Reader
}

func newWorld(t *T, shards int) *world {
	return &world{t: t, stream: t.Stream(shards), group: t.Name(), seqs: make([][]driver.Seq, shards)}
}

// both makes an operation on both sides and compares what it says.
func (m *model) both(what string, op func(w *world) string) {
	m.t.Helper()
	want := op(m.reference)
	got := op(m.tested)
	m.log = append(m.log, what)
	if got != want {
		m.t.Errorf("step %d, %s:\n got %s\nwant %s", len(m.log), what, got, want)
	}
}

func (m *model) step(i int) {
	m.t.Helper()
	shard := m.rnd.IntN(m.shards)
	index := 0
	if n := len(m.reference.seqs[shard]); n > 0 {
		index = m.rnd.IntN(n)
	}
	switch n := m.rnd.IntN(100); {
	case n < 45 || i == 0:
		recs := m.records()
		m.both(fmt.Sprintf("send %d records", len(recs)), func(w *world) string { return w.send(recs) })
	case n < 65:
		m.both("read to the end", (*world).drain)
	case n < 80 && m.t.F.SeekSeq && len(m.reference.seqs[shard]) > 0:
		m.both(fmt.Sprintf("seek shard %d to message %d", shard, index), func(w *world) string {
			return w.seek(shard, driver.From(w.seqs[shard][index]))
		})
	case n < 84 && m.t.F.SeekTime && m.t.F.Timestamps:
		at := m.time()
		m.both(fmt.Sprintf("seek shard %d to %v", shard, at), func(w *world) string { return w.seek(shard, driver.Since(at)) })
	case n < 88:
		start := driver.Earliest
		if m.rnd.IntN(2) == 0 {
			start = driver.Latest
		}
		m.both("a new reader from "+start.String(), func(w *world) string { return w.open(start) })
	case n < 92 && m.t.H.Trim != nil && len(m.reference.seqs[shard]) > 0:
		m.both("read to the end", (*world).drain) // so that nobody is behind
		m.both(fmt.Sprintf("trim shard %d before message %d", shard, index), func(w *world) string {
			w.t.H.Trim(w.t.TB, driver.Shard{Stream: w.stream, Index: int32(shard)}, w.seqs[shard][index])
			return w.bounds()
		})
	case n < 94 && m.t.F.Ack == driver.AckPosition:
		m.both(fmt.Sprintf("a member that commits message %d of shard %d", index, shard), func(w *world) string { return w.member(shard, index) })
	default:
		m.both("bounds", (*world).bounds)
	}
}

// day is when the model's timestamps begin.
var day = time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)

// time is one of few, so that many messages share theirs, and they come in no
// order.
func (m *model) time() time.Time { return day.Add(time.Duration(m.rnd.IntN(20)) * time.Second) }

func (m *model) records() []driver.Record {
	bytes := func(most int) []byte {
		switch n := m.rnd.IntN(4 + most); n {
		case 0:
			return nil
		case 1:
			return []byte{}
		default:
			b := make([]byte, m.rnd.IntN(most)+1)
			for i := range b {
				b[i] = byte(m.rnd.IntN(256))
			}
			return b
		}
	}
	recs := make([]driver.Record, m.rnd.IntN(20)+1)
	for i := range recs {
		m.sent++
		r := driver.Record{Shard: driver.On(int32(m.rnd.IntN(m.shards))), Value: fmt.Appendf(nil, "%d", m.sent)}
		if m.t.F.Timestamps {
			r.Time = m.time()
		}
		if m.t.F.Keys {
			r.Key = bytes(8)
		}
		if m.t.F.Headers {
			for range m.rnd.IntN(3) {
				r.Headers = append(r.Headers, driver.Header{Key: string([]byte{'a' + byte(m.rnd.IntN(3))}), Value: append([]byte{}, bytes(4)...)})
			}
		}
		if m.rnd.IntN(5) == 0 {
			if r.Value = bytes(2000); r.Value == nil && !m.t.F.Tombstones {
				r.Value = []byte{}
			}
		}
		recs[i] = r
	}
	return recs
}

func (w *world) send(recs []driver.Record) string {
	recs = slices.Clone(recs)
	for i := range recs {
		recs[i].Stream = w.stream
	}
	for i, rc := range w.t.Writer().Send(recs...) {
		want, _ := recs[i].Shard.Index()
		if rc.Shard != (driver.Shard{Stream: w.stream, Index: want}) {
			return fmt.Sprintf("record %d went to %v", i, rc.Shard)
		}
		w.seqs[want] = append(w.seqs[want], rc.Seq)
	}
	return ""
}

// open begins a new reader.
func (w *world) open(start driver.Start) string {
	if w.reader != nil {
		w.reader.Stop()
	}
	c := Streams(w.stream)
	c.Start = start
	w.reader = w.t.Consume(c)
	w.reader.Shards(len(w.seqs))
	var b strings.Builder
	for i := range w.seqs {
		fmt.Fprintf(&b, "%d begins at message %d; ", i, w.index(i, w.reader.Begin(w.stream, int32(i))))
	}
	return b.String()
}

// index is how many messages of a shard lie below q.
func (w *world) index(shard int, q driver.Seq) int {
	n, _ := slices.BinarySearchFunc(w.seqs[shard], q, driver.Seq.Compare)
	return n
}

// drain reads what there is and says what it was, by shard.
func (w *world) drain() string {
	began := ""
	if w.reader == nil {
		began = w.open(driver.Earliest)
	}
	return began + w.rest(w.reader)
}

func (w *world) rest(r *Reader) string {
	for i := range w.seqs {
		r.Next(w.stream, int32(i), w.t.Bound(w.stream, int32(i)).Next)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := make([]string, len(w.seqs))
	for _, m := range r.msgs {
		i := m.Shard.Index
		at := w.index(int(i), m.Seq)
		if at == len(w.seqs[i]) || w.seqs[i][at] != m.Seq {
			lines[i] += "\n unknown sequence " + m.Seq.String()
		}
		lines[i] += fmt.Sprintf("\n shard %d message %d: %s", i, at, show(m.Key, m.Value, m.Headers))
		if w.t.F.Timestamps {
			lines[i] += m.Time.UTC().Format(" 15:04:05.999999999")
		}
	}
	for _, g := range r.gaps {
		i := int(g.Shard.Index)
		lines[i] += fmt.Sprintf("\n shard %d gap %d to %d: %v", i, w.index(i, g.From), w.index(i, g.To), g.Cause)
	}
	r.msgs, r.gaps = nil, nil
	return strings.Join(lines, "")
}

func (w *world) seek(shard int, to driver.Start) string {
	if w.reader == nil {
		return w.open(driver.Earliest)
	}
	w.drain()
	at := w.reader.Seek(map[driver.Shard]driver.Start{{Stream: w.stream, Index: int32(shard)}: to})
	if len(at) != 1 || at[0].Index != int32(shard) {
		return fmt.Sprintf("positions %v", at)
	}
	return fmt.Sprintf("message %d, then%s", w.index(shard, at[0].Next), w.rest(w.reader))
}

// member joins the group alone, says where it begins and what it reads, and
// commits one position.
func (w *world) member(shard, index int) string {
	r := w.t.Consume(Group(w.group, w.stream))
	r.Shards(len(w.seqs))
	var b strings.Builder
	for i := range w.seqs {
		fmt.Fprintf(&b, "%d begins at message %d; ", i, w.index(i, r.Begin(w.stream, int32(i))))
	}
	b.WriteString(w.rest(r))
	if index < len(w.seqs[shard]) {
		r.Commit(w.stream, int32(shard), w.seqs[shard][index])
	}
	r.Stop()
	return b.String()
}

func (w *world) bounds() string {
	var b strings.Builder
	for i := range w.seqs {
		bound := w.t.Bound(w.stream, int32(i))
		fmt.Fprintf(&b, "%d holds messages %d to %d; ", i, w.index(i, bound.First), w.index(i, bound.Next))
	}
	return b.String()
}

package drivertest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// Every bug here is planted in the reference, and the cases named must find it.
func TestTheCasesFindPlantedBugs(t *testing.T) {
	for _, bug := range []struct {
		name  string
		plant bugs
		found []string // by these cases, each of them
	}{
		{"drops a message", bugs{batch: pick(func(i []int) []int { return slices.Delete(i, 1, 2) })},
			[]string{"send/receipt", "consume/bytes stay valid", "until/ends the loop", "model/random operations"}},
		{"repeats a message", bugs{batch: pick(func(i []int) []int { return slices.Insert(i, 1, i[0]) })},
			[]string{"send/receipt", "consume/batches", "until/ends the loop", "model/random operations"}},
		{"reorders messages", bugs{batch: pick(func(i []int) []int { slices.Reverse(i[:len(i)-1]); return i })},
			[]string{"send/receipt", "order/per producer and shard", "consume/batches", "model/random operations"}},
		{"takes nil for empty", bugs{batch: func(b driver.Batch) driver.Batch { return blurred{b} }},
			[]string{"bytes/tombstone", "bytes/no key and an empty key", "model/random operations"}},
		{"commits what is not acknowledged", bugs{commitOnFetch: true},
			[]string{"group/what is not committed comes again"}},
		{"goes to the end on a gap", bugs{gapToLatest: true},
			[]string{"gap/trimmed under the reader", "gap/trimmed under the group", "gap/stops by default"}},
		{"goes to the first message on a gap and says nothing", bugs{hideGap: true},
			[]string{"gap/trimmed under the reader", "gap/goes on where it is chosen"}},
		{"stamps batches with the newest generation", bugs{newestGen: true}, []string{"seek/what was fetched before"}},
		{"never renews the generation", bugs{firstGen: true}, []string{"seek/moves and says where"}},
		{"takes positions for inclusive", bugs{commit: driver.Seq.Prev},
			[]string{"group/resumes at the position", "ack/close commits", "group/commits every shard"}},
		{"lets anybody commit", bugs{ignoreFence: true}, []string{"group/a position that is not one's own"}},
		{"commits nothing", bugs{forgetCommit: true}, []string{"group/resumes at the position", "ack/close commits"}},
		{"starts behind the time", bugs{start: func(s driver.Start) driver.Start { s.Time = s.Time.Add(1); return s }},
			[]string{"seek/start since a time"}},
		{"starts behind the sequence", bugs{start: func(s driver.Start) driver.Start { s.Seq = s.Seq.Succ(); return s }},
			[]string{"seek/start from a sequence"}},
		{"takes latest for earliest", bugs{start: func(s driver.Start) driver.Start {
			if s.At == driver.AtLatest {
				s.At = driver.AtEarliest
			}
			return s
		}}, []string{"consume/latest", "shard/assigned as numbers"}},
		{"uses a buffer again", bugs{batch: (&reused{}).batch}, []string{"consume/bytes stay valid"}},
		{"stops the producer with its context", bugs{ctxReachesSend: true}, []string{"send/context ends after"}},
		{"calls done twice", bugs{doneTwice: true}, []string{"send/done once in order"}},
		{"calls done of what it refuses", bugs{doneRefused: true}, []string{"bytes/too large"}},
		{"says not written where it was", bugs{wrongOutcome: true}, []string{"send/no such shard"}},
		{"numbers receipts from one", bugs{receipt: func(r driver.Receipt) driver.Receipt { r.Seq = r.Seq.Succ(); return r }},
			[]string{"send/receipt", "model/random operations"}},
		{"promises too much", bugs{receipt: func(r driver.Receipt) driver.Receipt { r.Class = driver.ClassSynced; return r }},
			[]string{"send/receipt"}},
		{"keeps a record's bytes", bugs{keepBytes: true}, []string{"bytes/sizes"}},
		{"cuts what is too large", bugs{cut: true}, []string{"bytes/too large"}},
		{"does not fill in the time", bugs{record: func(r driver.Record) driver.Record { r.Time = time.Unix(1, 0); return r }},
			[]string{"send/time"}},
		{"drops repeated headers", bugs{record: func(r driver.Record) driver.Record {
			r.Headers = slices.CompactFunc(slices.Clone(r.Headers), func(a, b driver.Header) bool { return a.Key == b.Key })
			return r
		}}, []string{"bytes/headers"}},
		{"deals keys out in turn", bugs{dealKeys: true}, []string{"send/same key same shard"}},
		{"creates what is read", bugs{createOnRead: true}, []string{"consume/missing stream"}},
		{"forgets to revoke", bugs{noRevoke: true}, []string{"shard/revoked before close returns"}},
		{"leaves a goroutine", bugs{leak: true}, []string{"leak/no goroutine"}},
		{"claims what it has not", bugs{features: func(f *driver.Features) { f.Durabilities = f.Durabilities[:1] }},
			[]string{"features/durabilities"}},
		{"claims less than it has", bugs{features: func(f *driver.Features) { f.Keys = false }},
			[]string{"features/no more and no less"}},
		{"claims tombstones that it blurs", bugs{batch: func(b driver.Batch) driver.Batch { return blurred{b} }},
			[]string{"features/no more and no less"}},
		{"reads nothing that does not fit into the budget", bugs{narrow: true}, []string{"consume/a budget below a message"}},
		{"fetch does not wake up", bugs{deafFetch: true}, []string{"cancel/fetch that waits"}},
		{"settles nothing and flushes", bugs{deafFlush: true}, []string{"send/context ends after", "send/flush", "send/done once in order"}},
	} {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for _, name := range bug.found {
					h := MemoryHarness(memory.NewStore())
					h.Patience = 2 * time.Second
					h.Seed = 1
					open := h.Open
					h.Open = func(t testing.TB) driver.Driver {
						return &buggy{Driver: open(t), bugs: bug.plant, create: h.Create, t: t}
					}
					wantFound(t, h, name)
				}
			})
		})
	}
}

// wantFound runs a case against a driver with a bug: it fails, and prints the
// sentence that the driver breaks.
func wantFound(t *testing.T, h Harness, name string) {
	t.Helper()
	c := caseNamed(t, name)
	passed, log := record(t, h, c)
	if passed {
		t.Errorf("%s passes\n%s", name, log)
	} else if !strings.Contains(log, c.Sentence) {
		t.Errorf("%s fails without printing its sentence:\n%s", name, log)
	} else if testing.Verbose() {
		t.Logf("%s fails as it should:\n%s", name, log)
	}
}

func caseNamed(t *testing.T, name string) Case {
	for _, c := range Cases() {
		if c.Topic+"/"+c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %s", name)
	return Case{}
}

// bugs are what can be planted in a driver.
type bugs struct {
	batch   func(driver.Batch) driver.Batch
	receipt func(driver.Receipt) driver.Receipt
	record  func(driver.Record) driver.Record
	start   func(driver.Start) driver.Start
	commit  func(driver.Seq) driver.Seq

	features func(*driver.Features)

	commitOnFetch, gapToLatest, hideGap, newestGen, firstGen, ignoreFence, forgetCommit bool
	ctxReachesSend, doneTwice, doneRefused, wrongOutcome, keepBytes, cut, dealKeys      bool
	createOnRead, noRevoke, leak, deafFetch, deafFlush, narrow                          bool
}

type buggy struct {
	driver.Driver
	bugs
	create func(testing.TB, string, int)
	t      testing.TB
}

func (d *buggy) Features() driver.Features {
	f := d.Driver.Features()
	if d.features != nil {
		d.features(&f)
	}
	return f
}

func (d *buggy) Consumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	if d.createOnRead {
		if _, err := d.Bounds(ctx, cfg.Streams); err != nil {
			d.create(d.t, cfg.Streams[0], 1)
		}
	}
	if d.start != nil {
		cfg.Start = d.start(cfg.Start)
	}
	c := &buggyConsumer{bugs: d.bugs, budget: cfg.MaxBytes}
	c.ended = make(chan struct{})
	assigned, revoked := cfg.Assigned, cfg.Revoked
	cfg.Assigned = func(ctx context.Context, at []driver.Position) (uint64, []driver.Position, error) {
		gen, from, err := assigned(ctx, at)
		c.renew(gen)
		return gen, from, err
	}
	cfg.Revoked = func(ctx context.Context, shards []driver.Shard, lost bool) {
		if !d.noRevoke {
			revoked(ctx, shards, lost)
		}
	}
	var err error
	c.Consumer, err = d.Driver.Consumer(ctx, cfg)
	if d.leak {
		go func() { <-d.t.Context().Done() }()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

type buggyConsumer struct {
	driver.Consumer
	bugs
	once   sync.Once
	ended  chan struct{}
	budget int

	mu         sync.Mutex
	gen, first uint64
	late       driver.Batch // newestGen: the half of a batch that the next Fetch returns
}

func (c *buggyConsumer) renew(gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen = gen
	if c.first == 0 {
		c.first = gen
	}
}

func (c *buggyConsumer) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	if c.deafFetch {
		own, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			select {
			case <-c.ended:
				cancel()
			case <-own.Done():
			}
		}()
		ctx = own
	}
	if c.narrow && c.budget == 1 {
		<-c.ended
	}
	if late := c.late; late != nil {
		c.late = nil
		c.mu.Lock()
		defer c.mu.Unlock()
		return append(into, stamped{late, c.gen}), nil
	}
	had := len(into)
	into, err := c.Consumer.Fetch(ctx, into)
	if gap := (*driver.GapError)(nil); asGap(err, &gap) {
		switch {
		case c.hideGap:
			return c.Fetch(ctx, into)
		case c.gapToLatest:
			c.mu.Lock()
			gen := c.gen
			c.mu.Unlock()
			c.Consumer.Seek(ctx, gen, map[driver.Shard]driver.Start{gap.Shard: driver.Latest})
			return c.Fetch(ctx, into)
		}
	}
	for i := had; i < len(into); i++ {
		if c.batch != nil {
			into[i] = c.batch(into[i])
		}
		if c.firstGen {
			into[i] = stamped{into[i], c.first}
		}
		if c.commitOnFetch {
			c.Consumer.(driver.Committer).Commit(ctx, []driver.Position{{Shard: into[i].Shard(), Next: into[i].Next()}})
		}
	}
	if n := len(into) - 1; c.newestGen && n >= had && into[n].Len() > 1 {
		whole := make([]int, into[n].Len())
		for i := range whole {
			whole[i] = i
		}
		c.late = picked{into[n], whole[len(whole)/2:]}
		into[n] = picked{into[n], whole[:len(whole)/2]}
	}
	return into, err
}

func asGap(err error, gap **driver.GapError) bool {
	return errors.As(err, gap)
}

func (c *buggyConsumer) Seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) ([]driver.Position, error) {
	c.renew(gen)
	return c.Consumer.Seek(ctx, gen, to)
}

func (c *buggyConsumer) Commit(ctx context.Context, at []driver.Position) error {
	if c.forgetCommit {
		return nil
	}
	at = slices.Clone(at)
	for i := range at {
		if c.commit != nil {
			at[i].Next = c.commit(at[i].Next)
		}
	}
	err := c.Consumer.(driver.Committer).Commit(ctx, at)
	if c.ignoreFence {
		return nil
	}
	return err
}

func (c *buggyConsumer) Close(ctx context.Context) error {
	c.once.Do(func() { close(c.ended) })
	return c.Consumer.Close(ctx)
}

// picked is a batch of some messages of another.
type picked struct {
	driver.Batch
	of []int
}

// pick makes batches of more than two messages those that f picks.
func pick(f func([]int) []int) func(driver.Batch) driver.Batch {
	return func(b driver.Batch) driver.Batch {
		if b.Len() < 3 {
			return b
		}
		of := make([]int, b.Len())
		for i := range of {
			of[i] = i
		}
		return picked{b, f(of)}
	}
}

func (b picked) Len() int { return len(b.of) }
func (b picked) Next() driver.Seq {
	if n := len(b.of); n > 0 && b.of[n-1] < b.Batch.Len()-1 {
		return b.Batch.Seq(b.of[n-1] + 1)
	}
	return b.Batch.Next()
}
func (b picked) Seq(i int) driver.Seq { return b.Batch.Seq(b.of[i]) }
func (b picked) Key(i int) []byte     { return b.Batch.Key(b.of[i]) }
func (b picked) Value(i int) []byte   { return b.Batch.Value(b.of[i]) }

func (b picked) Time(i int) time.Time { return b.Batch.Time(b.of[i]) }
func (b picked) Size(i int) int       { return b.Batch.Size(b.of[i]) }
func (b picked) Headers(i int) iter.Seq2[string, []byte] {
	return b.Batch.Headers(b.of[i])
}

type blurred struct{ driver.Batch }

func (b blurred) Key(i int) []byte   { return append([]byte{}, b.Batch.Key(i)...) }
func (b blurred) Value(i int) []byte { return append([]byte{}, b.Batch.Value(i)...) }

type stamped struct {
	driver.Batch
	gen uint64
}

func (b stamped) Gen() uint64 { return b.gen }

// reused has all batches write their values to one buffer.
type reused struct {
	mu     sync.Mutex
	buffer [1 << 16]byte
}

func (r *reused) batch(b driver.Batch) driver.Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := make([][]byte, b.Len())
	n := 0
	for i := range values {
		n += copy(r.buffer[n:], b.Value(i))
		values[i] = r.buffer[n-len(b.Value(i)) : n]
	}
	return overwritten{b, values}
}

type overwritten struct {
	driver.Batch
	values [][]byte
}

func (b overwritten) Value(i int) []byte { return b.values[i] }

func (d *buggy) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	p, err := d.Driver.Producer(ctx, c)
	if err != nil {
		return nil, err
	}
	return &buggyProducer{Producer: p, bugs: d.bugs, d: d}, nil
}

type buggyProducer struct {
	driver.Producer
	bugs
	d    *buggy
	mu   sync.Mutex
	turn int32
	late []func()
}

func (p *buggyProducer) Produce(ctx context.Context, r driver.Record, done func(driver.Receipt, error)) error {
	if p.record != nil {
		r = p.record(r)
	}
	if limit := p.d.Driver.Features().MaxRecord; p.cut && len(r.Value) > limit {
		r.Value = r.Value[:limit]
	}
	if p.deafFlush {
		done = func(driver.Receipt, error) {}
	}
	inner := done
	done = func(rc driver.Receipt, err error) {
		if p.receipt != nil && err == nil {
			rc = p.receipt(rc)
		}
		inner(rc, err)
		if p.doneTwice {
			inner(rc, err)
		}
	}
	if i, ok := r.Shard.Index(); ok && i == 7 && p.wrongOutcome {
		r.Shard = 0
		return p.Producer.Produce(ctx, r, func(rc driver.Receipt, err error) { done(rc, driver.ErrInvalid) })
	}
	if p.dealKeys && r.Key != nil && r.Shard == 0 {
		if b, err := p.d.Bounds(ctx, []string{r.Stream}); err == nil {
			p.mu.Lock()
			p.turn++
			r.Shard = driver.On(p.turn % int32(len(b)))
			p.mu.Unlock()
		}
	}
	if !p.ctxReachesSend && !p.keepBytes {
		err := p.Producer.Produce(ctx, r, done)
		if err != nil && p.doneRefused {
			done(driver.Receipt{}, err)
		}
		return err
	}
	// These send late: at Flush and Close, or, as to bytes, after the receipt.
	if p.keepBytes {
		done(driver.Receipt{Shard: driver.Shard{Stream: r.Stream}, Class: driver.ClassMemory}, nil)
		done = func(driver.Receipt, error) {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = append(p.late, func() {
		if ctx.Err() != nil && p.ctxReachesSend {
			done(driver.Receipt{}, ctx.Err())
			return
		}
		p.Producer.Produce(context.Background(), r, done)
	})
	if p.keepBytes && len(p.late) == 10 {
		p.sendLate()
	}
	return nil
}

func (p *buggyProducer) sendLate() {
	for _, f := range p.late {
		f()
	}
	p.late = nil
}

func (p *buggyProducer) Flush(ctx context.Context) error {
	p.mu.Lock()
	p.sendLate()
	p.mu.Unlock()
	return p.Producer.Flush(ctx)
}

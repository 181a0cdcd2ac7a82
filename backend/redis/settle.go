package redis

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// idsAtOnce is how many ids go into one command. An XACK of so many keeps the
// server for some 100 µs, a script for a millisecond; more per command do not
// make either faster.
const idsAtOnce = 500

// An order is one command: a verdict on entries of one post.
type order struct {
	post    *post
	verdict driver.Verdict
	idle    string // milliseconds, of what is no acknowledgement
	retry   string // number of deliveries, of what is returned
	after   time.Duration

	ids  []string
	text []byte // that ids are windows of
	runs []heldRun
}

// A heldRun is messages [from, to) of a delivery, which are held.
type heldRun struct {
	d        *delivery
	from, to int
}

// An orderKey is what commands for several settlements have in common.
type orderKey struct {
	post    *post
	verdict driver.Verdict
	attempt int32
	after   time.Duration
}

// Settle gives verdicts to the server.
//
// Verdicts count for messages that this member holds: that it has fetched, that
// have no verdict yet, and that were not fetched again since. Whether they are
// still its own at the server is decided there at the moment when a verdict is
// applied, but for VerdictAck: Redis acknowledges an entry whoever has it. So
// the acknowledgement of a member that was too late counts, and takes the
// message from the one that has it meanwhile. That loses nothing: the message
// was processed.
func (m *member) Settle(ctx context.Context, all []driver.Settlement) error {
	select {
	case <-m.closed:
		return errReaderClosed
	default:
	}
	return m.settle(ctx, all)
}

func (m *member) settle(ctx context.Context, all []driver.Settlement) error {
	m.mu.Lock()
	orders, err := m.orders(all, time.Now())
	m.mu.Unlock()
	if err != nil || len(orders) == 0 {
		return err
	}
	return m.carryOut(ctx, orders)
}

// orders makes commands of verdicts. It is called with mu held.
func (m *member) orders(all []driver.Settlement, now time.Time) ([]*order, error) {
	var orders []*order
	open := map[orderKey]*order{}
	for i := range all {
		s := &all[i]
		d, ok := s.Batch.(*delivery)
		if !ok || d.post.m != m {
			return nil, driver.Errorf(driver.ErrInvalid, "", "a verdict on a batch of another consumer")
		}
		k := orderKey{post: d.post, verdict: s.Verdict}
		switch s.Verdict {
		case driver.VerdictExtend:
			d.since = now // also if it fails: somebody works on it
		case driver.VerdictNack:
			// The server counts whole milliseconds, and begins at one that has
			// begun already.
			if k.after = s.After; k.after > 0 {
				k.after = (k.after + time.Millisecond - 1).Truncate(time.Millisecond) + time.Millisecond
			}
		}
		for from := s.From; from < s.To; {
			// What is returned gets its number of deliveries back, which is the
			// same in most batches.
			to := s.To
			if s.Verdict == driver.VerdictReturn {
				k.attempt = int32(d.Attempt(from)) //nolint:gosec // it comes from one
				for to = from + 1; to < s.To && d.Attempt(to) == int(k.attempt); {
					to++
				}
			}
			o := open[k]
			d.runs(from, to, idsAtOnce, func(from, to int) {
				if o == nil || len(o.ids)+to-from > idsAtOnce {
					o = m.newOrder(k)
					orders, open[k] = append(orders, o), o
				}
				o.add(d, from, to)
			})
			from = to
		}
	}
	return orders, nil
}

func (m *member) newOrder(k orderKey) *order {
	o := &order{post: k.post, verdict: k.verdict, after: k.after, idle: "0"}
	timeout := m.c.o.AckTimeout
	switch k.verdict {
	case driver.VerdictNack:
		o.idle = millis(max(timeout-k.after, 0))
	case driver.VerdictReturn:
		o.idle = millis(timeout)
		o.retry = strconv.Itoa(int(max(k.attempt-1, 0)))
	}
	return o
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (o *order) add(d *delivery, from, to int) {
	o.runs = append(o.runs, heldRun{d, from, to})
	if o.text == nil {
		o.text = make([]byte, 0, (to-from)*18)
		o.ids = make([]string, 0, to-from)
	}
	// Many entries are of the same millisecond: its digits are copied. Where
	// text grows, the ids so far stay in the old array.
	var ms uint64
	var digits string
	for i := from; i < to; i++ {
		id := d.ids[i]
		n := len(o.text)
		if digits == "" || id.Hi != ms {
			o.text = strconv.AppendUint(o.text, id.Hi, 10)
			o.text = append(o.text, '-')
			ms, digits = id.Hi, borrowed(o.text[n:])
		} else {
			o.text = append(o.text, digits...)
		}
		o.text = strconv.AppendUint(o.text, id.Lo, 10)
		o.ids = append(o.ids, borrowed(o.text[n:]))
	}
}

func (o *order) build(m *member, b rueidis.Builder) rueidis.Completed {
	if o.verdict == driver.VerdictAck {
		return b.Xack().Key(o.post.key).Group(m.conf.Group).Id(o.ids...).Build()
	}
	args := append(make([]string, 0, 4+len(o.ids)), m.conf.Group, m.name, o.idle, o.retry)
	return keepOwn.build(b, o.post.key, append(args, o.ids...)...)
}

// carryOut sends commands and notes what they did. All are tried, and the first
// error is returned.
func (m *member) carryOut(ctx context.Context, orders []*order) error {
	rc, err := m.c.connect(ctx)
	if err != nil {
		return err
	}
	cmds := make([]rueidis.Completed, len(orders))
	for i, o := range orders {
		cmds[i] = o.build(m, rc.B())
	}
	answers, failed := m.c.askAll(ctx, rc, cmds)
	now := time.Now()
	var doubtful map[*post][]driver.Seq
	m.mu.Lock()
	for i := range answers {
		o := orders[i]
		gone, err := o.outcome(answers[i])
		if err != nil {
			if failed == nil {
				failed = m.c.keyFailure("", o.post.shard, o.post.key, err)
			}
			continue
		}
		if lost := o.apply(now, gone); len(lost) > 0 {
			if doubtful == nil {
				doubtful = map[*post][]driver.Seq{}
			}
			doubtful[o.post] = append(doubtful[o.post], lost...)
		}
	}
	m.mu.Unlock()
	for p, ids := range doubtful {
		gaps := m.gaps(ctx, rc, p, ids)
		m.mu.Lock()
		m.put(gaps)
		m.mu.Unlock()
	}
	return failed
}

// outcome is which entries do not exist any more. Where there is no group there
// is nothing that could be held.
func (o *order) outcome(a rueidis.RedisResult) (gone map[driver.Seq]bool, err error) {
	if o.verdict == driver.VerdictAck {
		return nil, a.Error()
	}
	list, err := a.AsStrSlice()
	if isNoGroup(err) {
		return nil, nil
	}
	for _, text := range list {
		id, ok := parseID(text)
		if !ok {
			return nil, errReply
		}
		if gone == nil {
			gone = map[driver.Seq]bool{}
		}
		gone[id] = true
	}
	return gone, err
}

// apply notes that a verdict was carried out. It returns entries that cannot be
// delivered again and should be. It is called with mu held.
func (o *order) apply(now time.Time, gone map[driver.Seq]bool) (lost []driver.Seq) {
	m, p := o.post.m, o.post
	if len(o.runs) == 0 { // a delay was renewed
		for id := range gone {
			delete(p.delayed, id)
			lost = append(lost, id)
		}
		slices.SortFunc(lost, driver.Seq.Compare)
		return lost
	}
	if o.verdict == driver.VerdictExtend {
		for _, r := range o.runs {
			for i := r.from; i < r.to && gone != nil; i++ {
				if gone[r.d.ids[i]] {
					r.d.gone = append(r.d.gone, i)
				}
			}
		}
		return nil
	}
	for _, r := range o.runs {
		// In between it may have been taken from us, by ourselves: then it is
		// in another delivery.
		r.d.runs(r.from, r.to, r.to-r.from, func(from, to int) {
			r.d.release(from, to)
			if o.verdict == driver.VerdictAck {
				return
			}
			for i := from; i < to; i++ {
				id := r.d.ids[i]
				switch {
				case gone[id] || r.d.isGone(i):
					lost = append(lost, id)
				case o.verdict == driver.VerdictNack && !m.isClosing():
					p.delay(id, now, o.after)
				}
			}
		})
	}
	p.sweep()
	return lost
}

// delay notes that an entry was nacked. It is called with the member's mu held.
func (p *post) delay(id driver.Seq, now time.Time, after time.Duration) {
	d := delay{due: now.Add(after)}
	m := p.m
	if timeout := m.c.o.AckTimeout; after > timeout {
		d.renew = now.Add(timeout / 2)
		if m.renew.IsZero() || d.renew.Before(m.renew) {
			m.renew = d.renew
			notify(m.tending)
		}
	}
	if p.delayed == nil {
		p.delayed = map[driver.Seq]delay{}
	}
	p.delayed[id] = d
	p.lane.expect(d.due)
}

// gaps says what is missing of entries that do not exist any more, which are
// ascending. They are one gap where nothing that exists lies in between.
func (m *member) gaps(ctx context.Context, rc rueidis.Client, p *post, ids []driver.Seq) []parcel {
	whole := len(ids) > 1
	if whole {
		answers, err := m.c.ask(ctx, rc, rc.B().Xrange().Key(p.key).Start(idText(ids[0])).End(idText(ids[len(ids)-1])).Count(1).Build())
		if err == nil {
			var list []rueidis.RedisMessage
			list, err = answers[0].ToArray()
			whole = len(list) == 0
		}
		whole = whole && err == nil
	}
	var ps []parcel
	var g *driver.GapError
	for _, id := range ids {
		if g != nil && (whole || g.To == id) {
			g.To = id.Succ()
			continue
		}
		g = &driver.GapError{Shard: p.shard, From: id, To: id.Succ(), Cause: driver.GapTrimmed}
		ps = append(ps, parcel{gap: g})
	}
	return ps
}

// dropConsumers deletes the member of a name, and those that somebody has left
// behind.
func (m *member) dropConsumers(ctx context.Context, posts []*post, name string) error {
	rc, err := m.c.connect(ctx)
	if err != nil {
		return err
	}
	cmds := make([]rueidis.Completed, len(posts))
	for i, p := range posts {
		cmds[i] = dropConsumers.build(rc.B(), p.key, m.conf.Group, name, memberPrefix, millis(deadMember))
	}
	_, err = m.c.askAll(ctx, rc, cmds)
	return err
}

// isNoGroup reports whether a server said that there is no such group, or no
// such stream.
func isNoGroup(err error) bool {
	r, ok := answer(err)
	return ok && code(r) == "NOGROUP"
}

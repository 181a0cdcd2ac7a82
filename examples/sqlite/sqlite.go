// Package sqlite is a SeaStreamer backend over one SQLite file, the whole of
// it: an example of a driver. A stream is one shard, a message is a row, and
// every program that opens the file is a client.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"iter"
	"net/url"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"golang.org/x/sync/semaphore"
	sqlite3 "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// Numbers begin at 0; next is the one that a stream gives next. Times are
// microseconds since 1970, headers JSON, NULL is nil.
const schema = `CREATE TABLE IF NOT EXISTS streams (stream TEXT PRIMARY KEY, next INTEGER);
CREATE TABLE IF NOT EXISTS messages (stream TEXT, seq INTEGER, time INTEGER, key BLOB, value BLOB, headers TEXT,
	PRIMARY KEY (stream, seq)) WITHOUT ROWID`

// Opener opens sqlite+file:///path/to/file.db, and makes the file if there is none.
var Opener = driver.OpenerFunc(func(ctx context.Context, u driver.URL) (driver.Driver, error) {
	if err := u.Options().Err(); err != nil {
		return nil, err
	}
	// A transaction waits for those of others when it begins (_txlock): later it would fail.
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: u.Nodes[0]}).EscapedPath()+
		"?_txlock=immediate&_pragma=busy_timeout(30000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)")
	if err == nil {
		_, err = db.ExecContext(ctx, schema)
	}
	if err != nil {
		return nil, errors.Join(fail(ctx, "open "+u.String(), err), db.Close())
	}
	return store{db}, nil
})

// store is the driver.
type store struct{ db *sql.DB }

func (s store) Close(context.Context) error { return s.db.Close() }

func (s store) Features() driver.Features {
	return driver.Features{
		Backend: "sqlite+file", SeekSeq: true, SeekTime: true, Keys: true, Headers: true, Tombstones: true,
		Timestamps: true, TimeUnit: time.Microsecond, Durabilities: []driver.Durability{driver.AtLeastOnce},
		Classes: []driver.Class{driver.ClassProcess}, Autocreate: true, Needs: "a local file system",
	}
}

func (s store) Bounds(ctx context.Context, streams []string) (all map[driver.Shard]driver.Bound, err error) {
	all = map[driver.Shard]driver.Bound{}
	for _, stream := range streams {
		if all[driver.Shard{Stream: stream}], err = s.bound(ctx, stream, time.Time{}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// bound is that of the messages since a time, which is rounded up as theirs are rounded down.
func (s store) bound(ctx context.Context, stream string, since time.Time) (b driver.Bound, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT ifnull((SELECT MIN(seq) FROM messages WHERE stream = ?1 AND time >= ?2), next), next
		FROM streams WHERE stream = ?1`, stream, since.Add(time.Microsecond-1).UnixMicro()).Scan(&b.First.Lo, &b.Next.Lo)
	return b, fail(ctx, "look up "+stream, err)
}

// fail gives an error from below its kind. When ctx has ended, that is what failed.
func fail(ctx context.Context, op string, err error) error {
	var e *sqlite3.Error
	switch {
	case err == nil || ctx.Err() != nil:
		return context.Cause(ctx)
	case err.Error() == "sql: database is closed":
		return driver.Errorf(driver.ErrClosed, op, "%w", err)
	case errors.Is(err, sql.ErrNoRows):
		return driver.Errorf(driver.ErrNotFound, op, "there is no such stream: producing to it makes it")
	case errors.As(err, &e) && slices.Contains([]int{codes.SQLITE_BUSY, codes.SQLITE_LOCKED, codes.SQLITE_FULL}, e.Code()&0xff):
		return driver.Errorf(driver.ErrUnavailable, op, "%w", err)
	}
	return driver.Errorf(driver.ErrInvalid, op, "%w", err)
}

// producer writes one record after the other, each in a transaction of its own.
type producer struct {
	store
	turn *semaphore.Weighted // of one, first come first served; held until done was called
	ctx  context.Context     // of transactions; ends with the producer
	stop context.CancelCauseFunc
}

func (s store) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	if !s.Features().Has(c.Durability) {
		return nil, driver.Errorf(errors.ErrUnsupported, "open a producer", "SQLite sends at least once, not %v", c.Durability)
	}
	own, stop := context.WithCancelCause(context.Background())
	return &producer{s, semaphore.NewWeighted(1), own, stop}, fail(ctx, "open a producer", s.db.PingContext(ctx))
}

func (p *producer) Produce(ctx context.Context, rec driver.Record, done func(driver.Receipt, error)) error {
	if err := driver.CheckStream(rec.Stream); err != nil {
		return err
	}
	if n, _ := rec.Shard.Index(); n > 0 {
		return driver.Errorf(driver.ErrInvalid, "send to "+rec.Stream, "there is no shard %d: a stream has one", n)
	}
	rec.Time = cmp.Or(rec.Time, time.Now())
	if err := p.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	if p.ctx.Err() != nil {
		p.turn.Release(1)
		return driver.Errorf(driver.ErrClosed, "send to "+rec.Stream, "the producer is closed")
	}
	go func() { done(p.write(rec)); p.turn.Release(1) }()
	return nil
}

func (p *producer) write(rec driver.Record) (driver.Receipt, error) {
	op := "send to " + rec.Stream
	r := driver.Receipt{Shard: driver.Shard{Stream: rec.Stream}, Time: time.UnixMicro(rec.Time.UnixMicro()), Class: driver.ClassProcess}
	headers, _ := json.Marshal(rec.Headers) //nolint:errchkjson // strings and bytes cannot fail
	tx, err := p.db.BeginTx(p.ctx, nil)
	if err != nil {
		return r, fail(p.ctx, op, err)
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after Commit
	err = tx.QueryRow(`INSERT INTO streams VALUES (?, 1) ON CONFLICT DO UPDATE SET next = next + 1 RETURNING next - 1`, rec.Stream).Scan(&r.Seq.Lo)
	if err == nil {
		_, err = tx.Exec(`INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)`, rec.Stream, r.Seq.Lo, r.Time.UnixMicro(), rec.Key, rec.Value, string(headers))
	}
	if err != nil {
		return r, fail(p.ctx, op, err)
	}
	if err := tx.Commit(); err != nil {
		return r, driver.Errorf(driver.ErrUnknown, op, "commit: %w", err)
	}
	return r, nil
}

// Flush takes a turn, which comes when those before are done.
func (p *producer) Flush(ctx context.Context) error {
	err := p.turn.Acquire(ctx, 1)
	if err == nil {
		p.turn.Release(1)
	}
	return err
}

func (p *producer) Close(ctx context.Context) error {
	err := p.Flush(ctx)
	p.stop(driver.Errorf(driver.ErrUnknown, "send", "given up: the producer was closed"))
	_ = p.Flush(context.Background()) // soon: from now on transactions fail and Produce refuses
	return err
}

type consumer struct {
	store
	driver.ConsumerConfig
	shards []driver.Shard
	at     map[driver.Shard]batch // an empty one: where it stands
	ctx    context.Context        // ends with the consumer
	stop   context.CancelFunc
}

func (s store) Consumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	c := &consumer{store: s, ConsumerConfig: cfg, at: map[driver.Shard]batch{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	to := map[driver.Shard]driver.Start{}
	for _, stream := range cfg.Streams {
		to[driver.Shard{Stream: stream}] = cfg.Start
		c.shards = append(c.shards, driver.Shard{Stream: stream})
	}
	at, err := c.Seek(ctx, 0, to)
	if err != nil {
		return nil, err
	}
	gen, from, err := c.Assigned(ctx, at)
	c.move(gen, append(at, from...))
	return c, err
}

func (c *consumer) Seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) ([]driver.Position, error) {
	var at []driver.Position
	for shard, start := range to {
		if c.at[shard].gen > gen {
			continue
		}
		b, err := c.bound(ctx, shard.Stream, start.Time)
		if err != nil {
			return nil, err
		}
		if start.At == driver.AtLatest {
			start.Seq = b.Next
		}
		at = append(at, driver.Position{Shard: shard, Next: slices.MaxFunc([]driver.Seq{b.First, start.Seq}, driver.Seq.Compare)})
	}
	c.move(gen, at)
	return at, nil
}

func (c *consumer) move(gen uint64, at []driver.Position) {
	for _, p := range at {
		c.at[p.Shard] = batch{Position: p, gen: gen}
	}
}

func (c *consumer) Fetch(ctx context.Context, into []driver.Batch) (out []driver.Batch, err error) {
	for {
		for _, at := range c.at { // in any order, so that none waits for ever
			if out, err = c.read(ctx, at, into); err != nil || len(out) > len(into) {
				return out, err
			}
		}
		select {
		case <-ctx.Done():
			return into, context.Cause(ctx)
		case <-c.ctx.Done():
			return into, driver.Errorf(driver.ErrClosed, "read", "the consumer is closed")
		case <-time.After(10 * time.Millisecond): // other programs write too, and nobody tells
		}
	}
}

// read appends a run of messages without a hole. A hole before it is a gap.
func (c *consumer) read(ctx context.Context, b batch, into []driver.Batch) ([]driver.Batch, error) {
	op, from, to := "read "+b.Position.Stream, b.Position.Next, b.Position.Next
	// Where no message is there is a row of NULLs. An empty BLOB would come as nil, an empty TEXT does not.
	rows, err := c.db.QueryContext(ctx, `SELECT ifnull(seq, next), time, CAST(key AS TEXT), CAST(value AS TEXT), headers
		FROM streams s LEFT JOIN messages m ON m.stream = s.stream AND seq >= ?
		WHERE s.stream = ? ORDER BY seq LIMIT 1000`, from.Lo, b.Position.Stream)
	if err != nil {
		return into, fail(ctx, op, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	for b.bytes < cmp.Or(c.MaxBytes, 1<<20) && rows.Next() {
		m, at, headers := driver.Record{}, sql.NullInt64{}, []byte(nil)
		err = rows.Scan(&to.Lo, &at, &m.Key, &m.Value, &headers)
		if err != nil || !at.Valid || to != b.Next() {
			break
		}
		_ = json.Unmarshal(headers, &m.Headers)
		m.Time = time.UnixMicro(at.Int64)
		b.messages, b.Position.Next = append(b.messages, m), to.Succ()
		b.bytes += b.Size(b.Len()-1) + len(headers)
	}
	if err = cmp.Or(err, rows.Err()); err != nil {
		return into, fail(ctx, op, err)
	}
	if len(b.messages) > 0 {
		into = append(into, &b)
	} else if from.Less(to) {
		b.Position.Next = to
		err = &driver.GapError{Shard: b.Position.Shard, From: from, To: to, Cause: driver.GapTrimmed}
	}
	c.at[b.Position.Shard] = batch{Position: b.Position, gen: b.gen}
	return into, err
}

func (c *consumer) Close(ctx context.Context) error {
	c.stop()
	c.Revoked(ctx, c.shards, false) // c.at is Fetch's, which may be running
	return nil
}

type batch struct {
	driver.Position // after it
	gen             uint64
	bytes           int
	messages        []driver.Record // without a hole
}

func (b *batch) Shard() driver.Shard  { return b.Position.Shard }
func (b *batch) Gen() uint64          { return b.gen }
func (b *batch) Next() driver.Seq     { return b.Position.Next }
func (b *batch) Len() int             { return len(b.messages) }
func (b *batch) Seq(i int) driver.Seq { return driver.SeqOf(b.Next().Lo - uint64(b.Len()-i)) }
func (b *batch) Time(i int) time.Time { return b.messages[i].Time }
func (b *batch) Key(i int) []byte     { return b.messages[i].Key }
func (b *batch) Value(i int) []byte   { return b.messages[i].Value }
func (b *batch) Size(i int) int       { return 64 + len(b.messages[i].Key) + len(b.messages[i].Value) }
func (b *batch) Bytes() int           { return b.bytes }
func (b *batch) Attempt(int) int      { return 1 }
func (b *batch) Release()             {}
func (b *batch) Headers(i int) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, h := range b.messages[i].Headers {
			if !yield(h.Key, h.Value) {
				return
			}
		}
	}
}

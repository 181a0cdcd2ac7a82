package metrics

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
)

// Options are what a collector looks at. The zero value is everything but the
// streams that a backend keeps for itself.
type Options struct {
	Streams string // a glob of package path; "" is all
	Groups  string // likewise
	// Timeout is how long one look may take; zero is 9s, so that a broker that hangs
	// is told of before Prometheus gives up, after 10s.
	Timeout time.Duration
	// Every is how old a look may be to be served again, so that several servers
	// that ask cost the broker one look; zero is 1s.
	Every time.Duration
	// Failed is told what could not be looked at, by part: "streams", "groups",
	// "cluster". It may be nil.
	Failed func(part string, err error)
}

// A Collector is a prometheus.Collector that looks at a broker when it is asked.
// What it could not look at is missing from the answer, and
// seastreamer_scrape_failures_total counts it; seastreamer_up is 0 where no stream
// could be looked at. Bytes of a name that are no UTF-8 are written \xff. Any
// number of goroutines may use it.
type Collector struct {
	c *admin.Client
	o Options

	mu       sync.Mutex
	at       time.Time
	found    []prometheus.Metric
	failures map[string]int
}

// NewCollector is a collector of what c sees. The client's Streamer stays the
// caller's to close.
func NewCollector(c *admin.Client, o Options) (*Collector, error) {
	for _, glob := range []string{o.Streams, o.Groups} {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, err
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = 9 * time.Second
	}
	if o.Every <= 0 {
		o.Every = time.Second
	}
	if o.Failed == nil {
		o.Failed = func(string, error) {}
	}
	return &Collector{c: c, o: o, failures: map[string]int{"streams": 0, "groups": 0, "cluster": 0}}, nil
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("seastreamer_"+name, help, labels, nil)
}

var (
	descShards   = desc("stream_shards", "Shards of a stream.", "stream")
	descMessages = desc("shard_messages", "Messages that a shard holds.", "stream", "shard")
	descAdded    = desc("shard_messages_added_total", "Messages that were ever added to a shard.", "stream", "shard")
	descBytes    = desc("shard_bytes", "Bytes that a shard takes, on disk or in memory, of one replica.", "stream", "shard")
	descNewest   = desc("shard_newest_timestamp_seconds", "Timestamp of a shard's last message, since 1970.", "stream", "shard")
	descMembers  = desc("group_members", "Members of a consumer group.", "group")
	descLag      = desc("group_lag_messages", "Messages from where a group stands to the end of a shard.", "group", "stream", "shard")
	descAge      = desc("group_lag_seconds", "How long ago the first message at or behind where a group stands was sent; 0 where there is none. Pending messages have no part in it.", "group", "stream", "shard")
	descPending  = desc("group_pending_messages", "Messages that a group was given and has no verdict on.", "group", "stream", "shard")
	descNodes    = desc("cluster_nodes", "Servers that are up.")
	descProblems = desc("cluster_problems", "Things that are not well, by kind.", "problem")
	descUp       = desc("up", "1 where the broker could be looked at.")
	descTook     = desc("scrape_duration_seconds", "How long the look took.")
	descFailures = desc("scrape_failures_total", "Looks that failed, by part.", "part")
)

// Describe sends nothing: which metrics there are depends on the backend.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect looks at the broker, unless it has just done so.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) >= c.o.Every || c.found == nil {
		c.look()
	}
	for _, m := range c.found {
		out <- m
	}
}

// look replaces what was found. mu is held.
func (c *Collector) look() {
	ctx, cancel := context.WithTimeout(context.Background(), c.o.Timeout)
	defer cancel()
	began := time.Now()
	clear(c.found) // or those of streams that have gone would be kept
	c.found = c.found[:0]
	up := 1.0
	for _, part := range []struct {
		name string
		look func(context.Context) error
	}{{"streams", c.streams}, {"groups", c.groups}, {"cluster", c.cluster}} {
		err := part.look(ctx)
		if err == nil || errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if part.name == "streams" && !isPartial(err) {
			up = 0
		}
		c.failures[part.name]++
		c.o.Failed(part.name, err)
	}
	c.gauge(descUp, up)
	c.gauge(descTook, time.Since(began).Seconds())
	for part, n := range c.failures {
		c.counter(descFailures, float64(n), part)
	}
	c.at = time.Now()
}

func (c *Collector) gauge(d *prometheus.Desc, v float64, labels ...string) {
	c.add(d, prometheus.GaugeValue, v, labels)
}

func (c *Collector) counter(d *prometheus.Desc, v float64, labels ...string) {
	c.add(d, prometheus.CounterValue, v, labels)
}

func (c *Collector) add(d *prometheus.Desc, t prometheus.ValueType, v float64, labels []string) {
	for i, l := range labels {
		labels[i] = label(l)
	}
	c.found = append(c.found, prometheus.MustNewConstMetric(d, t, v, labels...))
}

// label is a name as Prometheus takes it. A group may be named with any bytes, and
// one that is no UTF-8 would cost the whole answer.
func label(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for i, r := range name {
		if _, n := utf8.DecodeRuneInString(name[i:]); r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, name[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isPartial reports whether the rest could be looked at.
func isPartial(err error) bool {
	var some *admin.PartialError
	return errors.As(err, &some)
}

// unlessGone is err where it is not that the thing was deleted while it was looked
// at.
func unlessGone(err error) error {
	if errors.Is(err, ss.ErrNotFound) {
		return nil
	}
	return err
}

func (c *Collector) streams(ctx context.Context) error {
	filter := admin.StreamFilter{Match: c.o.Streams, Detail: admin.DetailBounds | admin.DetailTimes | admin.DetailBytes}
	var tally admin.PartialError
	for in, err := range c.c.Streams(ctx, filter) {
		if err != nil {
			return err
		}
		if tally.Add(in.Name, unlessGone(in.Err)); in.Err != nil && len(in.Shards) == 0 {
			continue
		}
		c.gauge(descShards, float64(len(in.Shards)), in.Name)
		for _, sh := range in.Shards {
			index := strconv.Itoa(int(sh.Index))
			if sh.Messages.N >= 0 {
				c.gauge(descMessages, float64(sh.Messages.N), in.Name, index)
			}
			if n, ok := admin.Added(sh); ok {
				c.counter(descAdded, float64(n), in.Name, index)
			}
			if sh.Bytes >= 0 {
				c.gauge(descBytes, float64(sh.Bytes), in.Name, index)
			}
			if !sh.LastTime.IsZero() {
				c.gauge(descNewest, float64(sh.LastTime.UnixMilli())/1000, in.Name, index)
			}
		}
	}
	return tally.Failed()
}

// groupsAtOnce is for how many groups lag is computed at once.
const groupsAtOnce = 500

func (c *Collector) groups(ctx context.Context) error {
	var tally admin.PartialError
	var some []admin.GroupInfo
	flush := func() error {
		lags, err := c.c.LagOf(ctx, some)
		if err != nil && !isPartial(err) { // then ages are not known, and not zero
			return err
		}
		for _, l := range lags {
			tally.Add(l.Group, unlessGone(l.Err))
			for _, s := range l.Shards {
				labels := []string{l.Group, s.Stream, strconv.Itoa(int(s.Index))}
				if s.Messages.N >= 0 {
					c.gauge(descLag, float64(s.Messages.N), labels...)
				}
				c.gauge(descAge, s.Age.Seconds(), labels...)
				c.gauge(descPending, float64(s.Pending), labels...)
			}
		}
		some = some[:0]
		return nil
	}
	for g, err := range c.c.GroupsMatching(ctx, c.o.Groups) {
		if err != nil {
			return err
		}
		if g.Err != nil {
			tally.Add(g.Name, unlessGone(g.Err))
			continue
		}
		c.gauge(descMembers, float64(len(g.Members)), g.Name)
		if some = append(some, g); len(some) < groupsAtOnce {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if len(some) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	return tally.Failed()
}

func (c *Collector) cluster(ctx context.Context) error {
	in, err := c.c.Cluster(ctx)
	if err != nil {
		return err
	}
	c.gauge(descNodes, float64(in.Nodes))
	problems := make(map[string]int)
	for _, p := range in.Problems {
		problems[p.What]++
	}
	for what, n := range problems {
		c.gauge(descProblems, float64(n), what)
	}
	return nil
}

// Package bench is the commands that load a broker and measure it: pub, sub and
// e2e.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// New is the command with those below it.
func New(f *factory.Factory) *cobra.Command {
	cmd := factory.Group("bench", "Load a broker and measure throughput and latency", `  sea streamer bench pub --broker localhost:9092
  sea streamer bench e2e --rate 1000 --time 30s --broker redis://localhost:6379
  sea streamer bench sub news -n 1000000 --broker localhost:9092`,
		newPub(f), newSub(f), newE2E(f))
	cmd.Long = `Load a broker and measure throughput and latency. Where no stream is named, pub and
e2e use one of their own, and remove it afterwards; a stream that is named gets
the messages and keeps them. Figures are those of this machine at this time: compare
what was measured side by side.`
	return cmd
}

// options are what pub and e2e have in common.
type options struct {
	f         *factory.Factory
	target    factory.Target
	stream    string // "" is one of its own
	n         int64
	time      time.Duration
	size      int
	rate      float64
	producers int
	shards    int
	delivery  string
	output    string
}

func (o *options) flags(fs *pflag.FlagSet, n int64) {
	factory.AddBrokerFlags(fs, &o.target)
	fs.Int64VarP(&o.n, "count", "n", n, "end after `N` messages")
	fs.Var(factory.Duration(&o.time), "time", "end after `DURATION`, whatever the count")
	fs.IntVar(&o.size, "size", 256, "bytes of each message")
	fs.Float64Var(&o.rate, "rate", o.rate, "messages per second, evenly; 0 is as many as there can be")
	fs.IntVar(&o.shards, "shards", 1, "shards of the stream of its own")
	o.delivery, o.output = "at-least", "text"
	fs.Var(factory.OneOf(&o.delivery, "at-most", "at-least", "exactly"), "delivery", "`at-most|at-least|exactly`")
	fs.VarP(factory.OneOf(&o.output, "text", "json"), "output", "o", "`text|json`: the result in words, or as one object of JSON")
}

func (o *options) check(args []string) error {
	if err := factory.Operands(args, 0, 1, "at most one stream", "bench pub news"); err != nil {
		return err
	}
	if len(args) == 1 {
		o.stream = args[0]
	}
	switch {
	case o.n < 1:
		return exit.Usagef("", "--count %d: at least one message is needed", o.n)
	case o.size < 8 || o.size > 16<<20:
		return exit.Usagef("", "--size %d: 8 bytes to 16MiB are allowed", o.size)
	case !(o.rate >= 0): // which NaN is not either
		return exit.Usagef("", "--rate %v is no rate", o.rate)
	case o.shards < 1:
		return exit.Usagef("", "--shards %d: at least one is needed", o.shards)
	case o.producers < 1:
		return exit.Usagef("", "--producers %d: at least one is needed", o.producers)
	case o.stream != "" && o.shards != 1:
		return exit.Usagef("stream create "+o.stream+fmt.Sprintf(" --shards %d makes one that has them", o.shards), "--shards is for a stream of its own, and %s is named", o.stream)
	}
	return nil
}

func (o *options) durability() ss.Durability {
	return map[string]ss.Durability{"at-most": ss.AtMostOnce, "at-least": ss.AtLeastOnce, "exactly": ss.ExactlyOnce}[o.delivery]
}

// with opens the broker and the stream, has do measure, and cleans up.
func (o *options) with(parent context.Context, do func(ctx context.Context, s *ss.Streamer, stream string) (result, error)) (err error) {
	var u ss.URL
	if o.stream != "" {
		u, err = o.f.Resolve(o.target, o.stream)
	} else {
		u, err = o.f.ResolveBroker(o.target)
	}
	if err != nil {
		return err
	}
	ctx, _, end := o.f.HandleSignals(parent)
	defer end()
	s, err := o.f.Open(ctx, u, ss.Observer{})
	if err != nil {
		return err
	}
	defer func() {
		c, cancel := context.WithTimeout(context.WithoutCancel(parent), factory.ConnectTimeout)
		defer cancel()
		if e := s.Close(c); err == nil {
			err = e
		}
	}()
	stream := strings.Join(u.Streams, "")
	if stream == "" {
		stream = fmt.Sprintf("sea-bench-%08x", rand.Uint32())
		c := admin.New(s)
		if _, err := c.Apply(ctx, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: stream, Shards: o.shards}}); err != nil {
			return err
		}
		defer func() {
			d, cancel := context.WithTimeout(context.WithoutCancel(parent), factory.ConnectTimeout)
			defer cancel()
			if _, e := c.Apply(d, admin.DeleteStream{Streams: []string{stream}}); e != nil && err == nil {
				err = &exit.Error{Code: exit.Partial, Item: stream, Msg: "remove stream " + stream, Err: e, Hint: "stream rm " + stream + " does it"}
			}
		}()
	}
	r, err := do(ctx, s, stream)
	if err != nil {
		return err
	}
	return o.print(r)
}

// A result is what was measured.
type result struct {
	Backend   string  `json:"backend"`
	What      string  `json:"what"`
	Messages  int64   `json:"messages"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"took_s"`
	PerSecond float64 `json:"messages_per_s"`
	BytesPer  float64 `json:"bytes_per_s"`
	Failed    int64   `json:"failed,omitempty"`
	// Latency in seconds: of pub from the call until the receipt, of e2e from the
	// call until the message was read.
	P50  float64 `json:"p50_s,omitempty"`
	P90  float64 `json:"p90_s,omitempty"`
	P99  float64 `json:"p99_s,omitempty"`
	P999 float64 `json:"p999_s,omitempty"`
	Max  float64 `json:"max_s,omitempty"`

	cause error // of the first that failed
}

func newResult(s *ss.Streamer, what string, n, size int64, took time.Duration, h *histogram) result {
	r := result{Backend: s.Features().Backend, What: what, Messages: n, Bytes: n * size, Seconds: took.Seconds()}
	if took > 0 {
		r.PerSecond, r.BytesPer = float64(n)/took.Seconds(), float64(n*size)/took.Seconds()
	}
	if h != nil && h.n.Load() > 0 {
		q := func(q float64) float64 { return h.quantile(q).Seconds() }
		r.P50, r.P90, r.P99, r.P999, r.Max = q(0.5), q(0.9), q(0.99), q(0.999), h.max().Seconds()
	}
	return r
}

func (o *options) print(r result) error {
	if o.output == "json" {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return o.end(r, append(b, '\n'))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s messages in %s: %s/s, %s/s\n", r.Backend, r.What, listing.HumanCount(admin.Count{N: r.Messages}),
		time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond), listing.HumanCount(admin.Count{N: int64(r.PerSecond)}), listing.Bytes(int64(r.BytesPer)))
	if r.Max > 0 {
		d := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Round(time.Microsecond) }
		fmt.Fprintf(&b, "latency: p50 %v, p90 %v, p99 %v, p99.9 %v, max %v\n", d(r.P50), d(r.P90), d(r.P99), d(r.P999), d(r.Max))
	}
	if r.Failed > 0 {
		fmt.Fprintf(&b, "failed: %d\n", r.Failed)
	}
	return o.end(r, []byte(b.String()))
}

// end writes the result, and is what it ends with.
func (o *options) end(r result, text []byte) error {
	_, err := o.f.IO.Out.Write(text)
	if err = exit.Output(err); err == nil && r.Failed > 0 {
		err = &exit.Error{Code: exit.Incomplete, Msg: fmt.Sprintf("%d of %d messages were not written", r.Failed, r.Failed+r.Messages), Err: r.cause}
	}
	return err
}

// pace waits until message i is due at rate per second; it never sleeps for
// less than a millisecond, so that a high rate comes in small bursts.
func pace(ctx context.Context, began time.Time, i int64, rate float64) error {
	if rate <= 0 {
		return ctx.Err()
	}
	due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	wait := time.Until(due)
	if wait < time.Millisecond {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

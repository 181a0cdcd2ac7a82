// Package send turns a flow of bytes into records and sends them: what produce
// and flux have in common.
package send

import (
	"fmt"
	"math"
	"strings"

	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/frame"
)

// largestMessage is how much of one message is buffered where neither the
// flags nor the backend say less.
const largestMessage = frame.DefaultMaxMessage

// Options are the flags that say how bytes become records.
type Options struct {
	In         string // text, json
	Frame      string
	Key        string
	KeySet     bool
	Headers    []string
	ToShard    int
	Compress   string
	Delivery   string
	OnError    string // fail, skip
	MaxMessage string
	Oversize   string
	Partial    string
	CRLF       bool
	KeepBlank  bool
	CheckJSON  string // "", json

	// StreamFromEnvelope: the command names no stream, so each line does.
	StreamFromEnvelope bool

	Cutting frame.Options // what Check makes of them
	headers []ss.Header
	durable ss.Durability
}

// AddFlags adds the flags with their defaults.
func AddFlags(fs *pflag.FlagSet, o *Options) {
	o.In, o.Frame, o.Delivery, o.OnError, o.Oversize, o.Partial, o.ToShard = "text", "lines", "at-least", "fail", "fail", "send", -1
	fs.Var(factory.OneOf(&o.In, "text", "json"), "in", "what a message is: `text|json`, text (its bytes are the payload) or json (lines that consume -o json wrote)")
	fs.Var(factory.OneOf(&o.Frame, "lines", "nul", "len32be", "whole", "envelope"), "frame", "how messages are told apart: `KIND` is lines, nul, len32be, whole (all of a file or session is one), or envelope (--in json)")
	fs.StringVarP(&o.Key, "key", "k", "", "`KEY` of all records")
	fs.StringArrayVarP(&o.Headers, "header", "H", nil, "header `NAME=VALUE` of all records; may be repeated")
	fs.IntVar(&o.ToShard, "to-shard", -1, "shard `N` that all records go to; the default is the backend's partitioner")
	fs.Lookup("to-shard").DefValue = "0" // none, and so not shown
	fs.VarP(factory.OneOf(&o.Compress, "none", "gzip", "snappy", "lz4", "zstd"), "compress", "z", "compression on the way and in the broker: `NAME` is none, gzip, snappy, lz4 or zstd; the default is the backend's")
	fs.Var(factory.OneOf(&o.Delivery, "at-most", "at-least", "exactly"), "delivery", "`at-most|at-least|exactly`: at-most (not acknowledged), at-least (repeated until acknowledged) or exactly (repeats are removed, within the backend's window)")
	fs.Var(factory.OneOf(&o.OnError, "fail", "skip"), "on-error", "what to do about a record that is refused or cannot be decoded: `fail|skip`")
	fs.StringVar(&o.MaxMessage, "max-message", "", "longest message, a `SIZE` such as 1MiB; the default is the backend's limit, at most 16 MiB")
	fs.Var(factory.OneOf(&o.Oversize, "fail", "skip", "truncate"), "oversize", "what to do about a longer one: `fail|skip|truncate`")
	fs.Var(factory.OneOf(&o.Partial, "send", "drop", "hold", "fail"), "partial", "what to do about a last message without its end: `POLICY` is send, drop, hold (the next file or session goes on with it) or fail")
	fs.Var(factory.OneOf(&o.CheckJSON, "json"), "check", "`json`: a payload that is not JSON is an error, as --on-error says")
	fs.BoolVar(&o.CRLF, "crlf", false, "take the carriage return off the end of a line")
	fs.BoolVar(&o.KeepBlank, "keep-blank", false, "send messages without bytes, which are left out otherwise")
}

// Check reads the values that are more than words. set says whether a flag was
// given.
func (o *Options) Check(set func(flag string) bool) error {
	o.KeySet = set("key")
	k, err := frame.ParseKind(o.Frame)
	if err != nil {
		return err
	}
	switch {
	case o.In == "json" && set("frame") && k != frame.Lines && k != frame.Envelope:
		return exit.Usagef("leave out --frame", "--in json reads lines, and --frame is %s", o.Frame)
	case o.In == "text" && set("in") && k == frame.Envelope:
		return exit.Usagef("leave out --in", "--frame envelope is --in json, and --in is text")
	case o.In == "json":
		k = frame.Envelope
	}
	o.Cutting = frame.Options{
		Kind: k, CRLF: o.CRLF, KeepBlank: o.KeepBlank,
		Oversize: frame.Oversize(index(o.Oversize, "fail", "skip", "truncate")),
		Partial:  frame.Partial(index(o.Partial, "send", "drop", "hold", "fail")),
	}
	if o.CRLF && k != frame.Lines && k != frame.Envelope {
		return exit.Usagef("leave it out", "--crlf is for lines, and --frame is %s", o.Frame)
	}
	if k == frame.Envelope {
		o.Cutting.KeepBlank = false // an empty line is no envelope
		if o.KeySet || set("header") {
			return exit.Usagef("leave them out", "--key and --header do not go with --in json, whose lines have their own")
		}
	}
	if o.MaxMessage != "" {
		n, err := driver.ParseSize(o.MaxMessage)
		if err != nil || n < 1 || n > math.MaxInt32/2 {
			return exit.Usagef("use for instance 64KiB or 16MiB", "--max-message %s is not a size from 1 byte to 1 GiB", o.MaxMessage)
		}
		o.Cutting.MaxMessage = int(n)
	}
	for _, h := range o.Headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return exit.Usagef("write --header NAME=VALUE", "header %q has no name and value", h)
		}
		o.headers = append(o.headers, ss.Header{Key: name, Value: []byte(value)})
	}
	if set("to-shard") && (o.ToShard < 0 || o.ToShard >= math.MaxInt32) {
		return exit.Usagef("shards count from 0", "--to-shard %d is not a shard", o.ToShard)
	}
	o.durable = map[string]ss.Durability{"at-most": ss.AtMostOnce, "at-least": ss.AtLeastOnce, "exactly": ss.ExactlyOnce}[o.Delivery]
	return nil
}

func index(s string, words ...string) int {
	for i, w := range words {
		if w == s {
			return i
		}
	}
	return 0
}

// Compressed is u with the compression asked for.
func (o *Options) Compressed(u ss.URL) (ss.URL, error) {
	if o.Compress == "" {
		return u, nil
	}
	if u.Scheme != "kafka" {
		return u, exit.Usagef("leave it out", "--compress: %s has no compression to choose", u.Scheme)
	}
	if had := u.Query.Get("compression"); had != "" && had != o.Compress {
		return u, exit.Usagef("give one of them", "--compress is %s and the URL says compression=%s", o.Compress, had)
	}
	q := map[string][]string{}
	for k, v := range u.Query {
		q[k] = v
	}
	q["compression"] = []string{o.Compress}
	u.Query = q
	return u, nil
}

// Producer is the configuration of the producer.
func (o *Options) Producer(stream string, budget int) ss.ProducerConfig {
	return ss.ProducerConfig{Stream: stream, Durability: o.durable, MaxBytes: budget}
}

// limit completes Cutting by what the backend allows.
func (o *Options) limit(f ss.Features) frame.Options {
	c := o.Cutting
	if c.MaxMessage == 0 {
		c.MaxMessage = largestMessage
		if n := f.MaxRecord - o.around(); f.MaxRecord > 0 && n < c.MaxMessage {
			c.MaxMessage = max(n, 1)
		}
		if c.Kind == frame.Envelope {
			// The line is longer than its record: base64 and escapes. The
			// backend judges the record.
			c.MaxMessage = largestMessage
		}
	}
	return c
}

// around is what key and headers take of a record.
func (o *Options) around() int {
	n := len(o.Key)
	for _, h := range o.headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// describe says how many of something there are.
func describe(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

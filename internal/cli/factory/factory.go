// Package factory is what every command needs: the streams, the backends, the
// flags that all commands share, which broker and stream are meant, and
// signals.
package factory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// ConnectTimeout is how long a broker may take to say anything at all.
const ConnectTimeout = 10 * time.Second

// A Factory is shared by the commands of one run.
type Factory struct {
	IO       *iostreams.Streams
	Registry ss.Registry
	Getenv   func(string) string
	Program  string // how the commands are called: "sea streamer" or "sea-streamer"

	// The flags that all commands have.
	Errors   string // text, json
	Progress string // auto, never, json

	warned bool         // about a password on the command line
	signal atomic.Int32 // the first that came
}

// New is a factory for this process.
func New(io *iostreams.Streams, r ss.Registry) *Factory {
	return &Factory{IO: io, Registry: r, Getenv: os.Getenv, Errors: "text", Progress: "auto"}
}

// AddFlags adds the flags that all commands have.
func (f *Factory) AddFlags(fs *pflag.FlagSet) {
	fs.BoolVarP(&f.IO.Quiet, "quiet", "q", false, "say nothing but errors")
	fs.CountVarP(&f.IO.Verbose, "verbose", "v", "say more")
	fs.Var(OneOf(&f.Errors, "text", "json"), "errors", "how errors are written to standard error: `text|json`")
	fs.Var(OneOf(&f.Progress, "auto", "never", "json"), "progress", "progress on standard error: `auto|never|json`, auto being on a terminal")
}

// Target is which broker and which streams are meant.
type Target struct {
	Brokers []string // --broker, --cluster, --streamer
	Topic   string   // --topic, --stream
}

// AddTargetFlags adds the flags that say which broker and stream are meant.
func AddTargetFlags(fs *pflag.FlagSet, t *Target) {
	AddBrokerFlags(fs, t)
	fs.StringVarP(&t.Topic, "topic", "t", "", "stream: its `NAME`, or a URL such as kafka://HOST:PORT/NAME")
	fs.StringVar(&t.Topic, "stream", "", "the same as --topic: a `NAME` or a URL")
}

// AddBrokerFlags adds the flags that say which broker is meant.
func AddBrokerFlags(fs *pflag.FlagSet, t *Target) {
	fs.StringArrayVar(&t.Brokers, "broker", nil, "broker: `HOST:PORT` of Kafka, or a URL such as kafka://HOST:PORT, redis://HOST:PORT or file:///DIRECTORY; the default is $STREAMER_URI, else files in the user's data folder")
	fs.Var(alias{&t.Brokers}, "cluster", "the same as --broker: `HOST:PORT` or a URL")
	fs.Var(alias{&t.Brokers}, "streamer", "the same as --broker: `HOST:PORT` or a URL")
}

// alias is another name of a flag that may be repeated.
type alias struct{ to *[]string }

func (a alias) String() string     { return "" }
func (a alias) Set(s string) error { *a.to = append(*a.to, s); return nil }
func (a alias) Type() string       { return "stringArray" }

// oneOf is a flag that takes one of a few words.
type oneOf struct {
	to    *string
	words []string
}

// OneOf is a flag value that must be one of the words.
func OneOf(to *string, words ...string) pflag.Value { return oneOf{to, words} }

func (o oneOf) String() string { return *o.to }
func (o oneOf) Type() string   { return "string" }
func (o oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return fmt.Errorf("use %s", strings.Join(o.words, ", "))
	}
	*o.to = s
	return nil
}

// duration is a flag that takes days and weeks too.
type duration struct{ to *time.Duration }

// Duration is a flag value that is a length of time, such as 90s or 7d.
func Duration(to *time.Duration) pflag.Value { return duration{to} }

func (d duration) Type() string { return "duration" }
func (d duration) String() string {
	if *d.to == 0 {
		return "0" // which help does not print as a default
	}
	return d.to.String()
}

func (d duration) Set(s string) (err error) {
	*d.to, err = driver.ParseDuration(s)
	return err
}

// Open opens the broker of a URL and tells its temporary troubles and what is
// missing to standard error.
func (f *Factory) Open(ctx context.Context, u ss.URL, o ss.Observer) (*ss.Streamer, error) {
	if o.Retry == nil {
		o.Retry = f.RetryNotice()
	}
	ctx, cancel := context.WithTimeout(ctx, ConnectTimeout)
	defer cancel()
	s, err := f.Registry.OpenURL(ctx, u, ss.Options{Observer: o})
	if err == nil {
		return s, nil
	}
	e := *exit.From(err)
	e.Item = u.Broker().String()
	if u.Scheme == "file" && len(u.Nodes) == 1 {
		if st, err := os.Stat(u.Nodes[0]); err == nil && !st.IsDir() {
			e.Code, e.Hint = exit.Usage, "--broker file:///DIRECTORY names a directory"
		}
	}
	return nil, &e
}

// RetryNotice is an Observer's Retry that says that something is being tried again, once it has taken a
// while, and not more often than every few seconds.
func (f *Factory) RetryNotice() func(string, error, time.Duration) {
	var mu sync.Mutex
	var first, said time.Time
	return func(op string, err error, wait time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if now.Sub(said) > time.Minute && now.Sub(first) > time.Minute {
			first = now
		}
		if now.Sub(first) >= 3*time.Second && now.Sub(said) >= 10*time.Second {
			said = now
			f.IO.Warn("%s: %v: trying again", op, err)
		}
	}
}

// Bounds asks for the bounds of streams, and so finds out whether the broker
// answers, within ConnectTimeout.
func Bounds(ctx context.Context, s *ss.Streamer, streams ...string) (map[ss.Shard]ss.Bound, error) {
	ctx, cancel := context.WithTimeout(ctx, ConnectTimeout)
	defer cancel()
	return s.Bounds(ctx, streams...)
}

// Reader is an error of a command that reads, with what to do about it.
func Reader(err error, streams []string) error {
	if err == nil {
		return nil
	}
	e := exit.From(err)
	if e.Code == exit.NotFound && e.Hint == "" && errors.Is(err, ss.ErrNotFound) {
		c := *e
		c.Hint = "reading creates no stream: check the name and --broker, or write to it first with produce"
		c.Item = strings.Join(streams, ",")
		return &c
	}
	return err
}

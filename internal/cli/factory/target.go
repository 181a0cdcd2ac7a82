package factory

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// ErrNoStream is Resolve's error where no stream is named.
var ErrNoStream = errors.New("no stream is named")

// Resolve is the URL of the broker with the streams that are meant: those of
// the operands, which are names or URLs, or else the one of --topic, or else
// those in STREAM_URL.
//
// The broker is the one of the operands' URLs, or of the flags, or of
// STREAMER_URI, or the embedded default: a directory of files in the user's data
// folder. Two different ones are an error.
func (f *Factory) Resolve(t Target, operands ...string) (ss.URL, error) {
	if len(operands) == 0 && t.Topic != "" {
		operands = []string{t.Topic}
	}
	fromEnv := false
	if len(operands) == 0 {
		if s := f.Getenv("STREAM_URL"); s != "" {
			operands, fromEnv = []string{s}, true
		}
	}
	if len(operands) == 0 {
		return ss.URL{}, &exit.Error{Code: exit.Usage, Err: ErrNoStream, Hint: "name it as an operand or with --topic"}
	}
	var u ss.URL
	var streams []string
	for _, o := range operands {
		if !looksLikeURL(o) {
			if err := checkName(o); err != nil {
				return ss.URL{}, err
			}
			streams = append(streams, o)
			continue
		}
		if !fromEnv {
			f.warnPassword(o)
		}
		of, err := driver.ParseURL(o)
		if err != nil {
			return ss.URL{}, usage(err)
		}
		if len(of.Streams) == 0 {
			return ss.URL{}, exit.Usagef("write "+example(of), "URL %v names no stream", of)
		}
		streams = append(streams, of.Streams...)
		of.Streams = nil
		if u.Scheme != "" && !sameBroker(u, of) {
			return ss.URL{}, exit.Usagef("run one command for each", "streams of two brokers are named: %v and %v", u, of)
		}
		u = of
	}
	if err := Once("stream", streams); err != nil {
		return ss.URL{}, err
	}
	b, given, err := f.broker(t)
	switch {
	case err != nil:
		return ss.URL{}, err
	case u.Scheme == "":
		u = b
	case given && !sameBroker(u, b):
		return ss.URL{}, exit.Usagef("leave out --broker, or name the stream without a broker", "the stream is on %v and --broker is %v", u, b)
	}
	if err := f.builtIn(u); err != nil {
		return ss.URL{}, err
	}
	u.Streams = streams
	return u, nil
}

// ResolveBroker is the URL of the broker that is meant, without a stream.
func (f *Factory) ResolveBroker(t Target) (ss.URL, error) {
	u, _, err := f.broker(t)
	if err == nil {
		err = f.builtIn(u)
	}
	return u, err
}

// builtIn refuses the schemes that a reader of the documentation may try and
// this version does not have. Others are refused by the registry, which lists
// what it has.
func (f *Factory) builtIn(u ss.URL) error {
	if u.Scheme == "nats" {
		return exit.Usagef("use kafka://HOST:PORT, redis://HOST:PORT or file:///DIRECTORY", "%s:// is not built into this version yet", u.Scheme)
	}
	return nil
}

func checkName(name string) error {
	if err := driver.CheckStream(name); err != nil {
		return exit.Usagef("", "stream %q: %v", name, err)
	}
	return nil
}

// usage is an error of a URL, which is a mistake in the call.
func usage(err error) error {
	e := exit.From(err)
	return &exit.Error{Code: exit.Usage, Err: e, Hint: e.Hint}
}

func example(u ss.URL) string {
	switch {
	case u.Scheme == "file":
		return "file:///DIRECTORY/STREAM"
	case strings.HasSuffix(u.Scheme, "+unix"):
		return u.Scheme + ":///SOCKET/STREAM"
	}
	return u.Scheme + "://HOST:PORT/STREAM"
}

// sameBroker compares all but the streams; nodes in any order.
func sameBroker(a, b ss.URL) bool {
	a, b = a.Broker(), b.Broker()
	a.Nodes, b.Nodes = slices.Sorted(slices.Values(a.Nodes)), slices.Sorted(slices.Values(b.Nodes))
	password := func(u ss.URL) string {
		if u.User == nil {
			return ""
		}
		p, _ := u.User.Password()
		return p
	}
	return a.String() == b.String() && password(a) == password(b) && a.Query.Encode() == b.Query.Encode()
}

// looksLikeURL tells a URL from a name or a host with a port.
func looksLikeURL(s string) bool {
	return strings.Contains(s, "://") || strings.HasPrefix(s, "file:")
}

// broker is the broker of the flags, with given true, or else of the
// environment, or else the embedded default.
func (f *Factory) broker(t Target) (u ss.URL, given bool, err error) {
	if len(t.Brokers) == 0 {
		if env := f.Getenv("STREAMER_URI"); env != "" {
			u, err = parseBroker(env)
			if err != nil {
				err = &exit.Error{Code: exit.Usage, Msg: "STREAMER_URI", Err: err}
			}
			return u, false, err
		}
		u, err = f.embedded()
		return u, false, err
	}
	for i, text := range t.Brokers {
		f.warnPassword(text)
		b, err := parseBroker(text)
		if err != nil {
			return u, true, usage(err)
		}
		if i == 0 {
			u = b
			continue
		}
		nodes := b.Nodes
		b.Nodes, u.Nodes = nil, slices.Clone(u.Nodes)
		first := u
		first.Nodes = nil
		if !sameBroker(first, b) || onePath(u) {
			return u, true, exit.Usagef("several --broker are nodes of one cluster", "--broker names two brokers: %v and %v", t.redacted(0), t.redacted(i))
		}
		u.Nodes = append(u.Nodes, nodes...)
	}
	return u, true, nil
}

func (t Target) redacted(i int) ss.URL {
	u, _ := parseBroker(t.Brokers[i])
	return u
}

// onePath reports whether the broker is a path, which is one node and not the
// first of several.
func onePath(u ss.URL) bool { return u.Scheme == "file" || strings.HasSuffix(u.Scheme, "+unix") }

// parseBroker reads a broker URL, or HOST:PORT[,HOST:PORT…] of Kafka.
func parseBroker(s string) (ss.URL, error) {
	if !looksLikeURL(s) {
		if s == "" || strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") {
			return ss.URL{}, exit.Usagef("a directory is file:///DIRECTORY", "%q is not a broker", s)
		}
		s = "kafka://" + s
	}
	u, err := driver.ParseBroker(s)
	switch {
	case err != nil:
		return u, database(s, err)
	case u.Scheme == "kafka" && len(u.Nodes) == 0:
		return u, exit.Usagef("write kafka://HOST:PORT", "broker URL %v names no host", u)
	}
	return u, nil
}

// database is err with what to do about the number of a database in the place
// of a stream, where other programs expect it.
func database(s string, err error) error {
	u, e := driver.ParseURL(s)
	if e != nil || len(u.Streams) != 1 || !strings.HasPrefix(u.Scheme, "redis") {
		return err
	}
	if _, e := strconv.ParseUint(u.Streams[0], 10, 31); e != nil {
		return err
	}
	return &exit.Error{Code: exit.Usage, Err: err, Hint: "database " + u.Streams[0] + " is written ?db=" + u.Streams[0]}
}

// embedded is the directory that is used where no broker is named.
func (f *Factory) embedded() (ss.URL, error) {
	dir := f.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(dir) { // the specification says to ignore others
		home, err := os.UserHomeDir()
		if err != nil || home == "" {
			return ss.URL{}, exit.Usagef("set HOME or XDG_DATA_HOME, or name a directory with --broker file:///DIRECTORY", "no --broker is given, and there is no home folder for the embedded default")
		}
		dir = filepath.Join(home, ".local", "share")
	}
	return ss.URL{Scheme: "file", Nodes: []string{filepath.ToSlash(filepath.Join(dir, "sea-streamer"))}}, nil
}

// warnPassword says, once, that what is on the command line can be seen by
// others on this machine.
func (f *Factory) warnPassword(s string) {
	if f.warned || !hasSecret(s) {
		return
	}
	f.warned = true
	f.IO.Warn("the password on the command line can be seen by every user of this machine: put the URL into STREAMER_URI instead")
}

// hasSecret reports whether a URL gives a secret. What cannot be read as a URL
// is not one.
func hasSecret(s string) bool {
	if !strings.Contains(s, "://") {
		s = "kafka://" + s
	}
	u, err := driver.ParseURL(s)
	if err != nil {
		return false
	}
	return strings.Contains(u.String(), "xxxxx")
}

// Package drivers is the command that says what each backend can do.
package drivers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// New is the command.
func New(f *factory.Factory) *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "drivers",
		Short: "Say what each backend can do",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := Features(cmd.Context(), f.Registry)
			if err != nil {
				return err
			}
			var out []byte
			switch output {
			case "json":
				out, err = asJSON(all)
			case "markdown":
				out = markdown(all)
			default:
				out = text(all, f.IO.OutTTY)
			}
			if err == nil {
				_, err = f.IO.Out.Write(out)
				err = exit.Output(err)
			}
			return err
		},
	}
	cmd.Flags().VarP(factory.OneOf(&output, "text", "json", "markdown"), "output", "o", "`text|json|markdown`: text (a table; on a pipe with tabs), json or markdown")
	return cmd
}

// nowhere is an address for each scheme that is opened for its features only:
// no backend connects or creates anything before it is used.
var nowhere = map[string]ss.URL{
	"redis":           {Scheme: "redis", Nodes: []string{"localhost"}},
	"rediss":          {Scheme: "rediss", Nodes: []string{"localhost"}},
	"redis+unix":      {Scheme: "redis+unix", Nodes: []string{"/nonexistent/redis.sock"}},
	"redis+sentinel":  {Scheme: "redis+sentinel", Nodes: []string{"localhost"}, Query: map[string][]string{"master": {"mymaster"}}},
	"rediss+sentinel": {Scheme: "rediss+sentinel", Nodes: []string{"localhost"}, Query: map[string][]string{"master": {"mymaster"}}},

	"file":  {Scheme: "file", Nodes: []string{filepath.ToSlash(filepath.Join(string(filepath.Separator), "nonexistent", "sea-streamer"))}},
	"kafka": {Scheme: "kafka", Nodes: []string{"localhost:9092"}},
}

// A Backend is what one can do, and the schemes of its URLs.
type Backend struct {
	ss.Features
	Schemes []string
}

// Features opens each backend of a registry and asks what it can do.
func Features(ctx context.Context, r ss.Registry) ([]Backend, error) {
	var all []Backend
	for _, scheme := range r.Schemes() {
		u, ok := nowhere[scheme]
		if !ok {
			u = ss.URL{Scheme: scheme}
		}
		s, err := r.OpenURL(ctx, u, ss.Options{})
		if err != nil {
			return nil, err
		}
		f := s.Features()
		if err := s.Close(ctx); err != nil {
			return nil, err
		}
		at := slices.IndexFunc(all, func(b Backend) bool { return b.Backend == f.Backend })
		if at < 0 {
			at, all = len(all), append(all, Backend{Features: f})
		}
		all[at].Schemes = append(all[at].Schemes, scheme)
	}
	return all, nil
}

// rows are what the tables show.
var rows = []struct {
	name  string
	value func(Backend) string
}{
	{"URLs", func(f Backend) string { return strings.Join(f.Schemes, "://, ") + "://" }},
	{"shards", func(f Backend) string { return yes(f.Shards) }},
	{"keys", func(f Backend) string { return yes(f.Keys) }},
	{"headers", func(f Backend) string { return yes(f.Headers) }},
	{"tombstones", func(f Backend) string { return yes(f.Tombstones) }},
	{"timestamps kept", func(f Backend) string {
		if !f.Timestamps {
			return "no"
		}
		return "to " + unit(f.TimeUnit)
	}},
	{"groups keep", func(f Backend) string {
		switch f.Ack {
		case driver.AckPosition:
			return "a position per shard"
		case driver.AckMessage:
			return "a verdict per message"
		default:
			return "nothing: there are none"
		}
	}},
	{"seek by sequence", func(f Backend) string { return yes(f.SeekSeq) }},
	{"seek by time", func(f Backend) string { return yes(f.SeekTime) }},
	{"transactions can be hidden", func(f Backend) string { return yes(f.Isolation) }},
	{"delivery", func(f Backend) string { return join(f.Durabilities) }},
	{"repeats removed", func(f Backend) string {
		var s []string
		if f.Dedup.Retry {
			own := "our own"
			if f.Dedup.Window > 0 {
				own += " within " + f.Dedup.Window.String()
			}
			s = append(s, own)
		}
		if f.UnitMessages > 0 {
			s = append(s, "the application's, by name and ID")
		}
		if len(s) == 0 {
			return "no"
		}
		return strings.Join(s, "; ")
	}},
	{"records and progress in one step", func(f Backend) string {
		if f.UnitShared {
			return "yes, members may share"
		}
		return yes(f.UnitMessages > 0)
	}},
	{"acknowledged is", func(f Backend) string { return join(f.Classes) }},
	{"largest record", func(f Backend) string {
		if f.MaxRecord == 0 {
			return "the server decides"
		}
		return iostreams.Bytes(int64(f.MaxRecord))
	}},
	{"creates streams", func(f Backend) string { return yes(f.Autocreate) }},
	{"needs", func(f Backend) string { return or(f.Needs, "nothing") }},
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func unit(d time.Duration) string {
	switch d {
	case time.Nanosecond:
		return "the nanosecond"
	case time.Microsecond:
		return "the microsecond"
	case time.Millisecond:
		return "the millisecond"
	case time.Second:
		return "the second"
	}
	return d.String()
}

func join[T fmt.Stringer](list []T) string {
	var s []string
	for _, v := range list {
		s = append(s, v.String())
	}
	return or(strings.Join(s, ", "), "not known")
}

// text is the table for people: aligned on a terminal, else with tabs.
func text(all []Backend, aligned bool) []byte {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		if aligned {
			_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
		} else {
			fmt.Fprintln(&b, strings.Join(cells, "\t"))
		}
	}
	table(all, line)
	_ = w.Flush() // into memory
	return b.Bytes()
}

func markdown(all []Backend) []byte {
	var b bytes.Buffer
	first := true
	table(all, func(cells []string) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		if first {
			b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
		}
		first = false
	})
	return b.Bytes()
}

func table(all []Backend, line func([]string)) {
	cells := []string{"feature"}
	for _, f := range all {
		cells = append(cells, f.Backend)
	}
	line(cells)
	for _, r := range rows {
		cells := []string{r.name}
		for _, f := range all {
			cells = append(cells, r.value(f))
		}
		line(cells)
	}
}

// asJSON is a line for each backend.
func asJSON(all []Backend) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, f := range all {
		if err := e.Encode(struct {
			Backend      string   `json:"backend"`
			Schemes      []string `json:"schemes"`
			Shards       bool     `json:"shards"`
			Keys         bool     `json:"keys"`
			Headers      bool     `json:"headers"`
			Tombstones   bool     `json:"tombstones"`
			Timestamps   bool     `json:"timestamps"`
			TimeUnit     string   `json:"time_unit"`
			Groups       bool     `json:"groups"`
			GroupAck     string   `json:"group_ack"`
			SeekSeq      bool     `json:"seek_sequence"`
			SeekTime     bool     `json:"seek_time"`
			Isolation    bool     `json:"isolation"`
			Delivery     []string `json:"delivery"`
			DedupRetry   bool     `json:"dedup_retry"`
			DedupResend  bool     `json:"dedup_resend"`
			DedupSeconds float64  `json:"dedup_window_seconds"`
			UnitMessages int      `json:"unit_messages"`
			UnitShared   bool     `json:"unit_shared"`
			Classes      []string `json:"classes"`
			MaxRecord    int      `json:"max_record"`
			Autocreate   bool     `json:"autocreate"`
			Needs        string   `json:"needs"`
		}{f.Backend, f.Schemes, f.Shards, f.Keys, f.Headers, f.Tombstones, f.Timestamps, f.TimeUnit.String(), f.Ack != driver.AckNone, f.Ack.String(), f.SeekSeq, f.SeekTime, f.Isolation,
			strs(f.Durabilities), f.Dedup.Retry, f.UnitMessages > 0, f.Dedup.Window.Seconds(), f.UnitMessages, f.UnitShared, strs(f.Classes), f.MaxRecord, f.Autocreate, f.Needs}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func strs[T fmt.Stringer](list []T) []string {
	s := []string{}
	for _, v := range list {
		s = append(s, v.String())
	}
	return s
}

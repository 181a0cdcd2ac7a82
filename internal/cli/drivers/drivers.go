// Package drivers is the command that says what each backend can do.
package drivers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
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

// nowhere is an address for each backend that is opened for its features only:
// no backend connects or creates anything before it is used.
var nowhere = map[string]ss.URL{
	"file":  {Scheme: "file", Nodes: []string{filepath.ToSlash(filepath.Join(string(filepath.Separator), "nonexistent", "sea-streamer"))}},
	"kafka": {Scheme: "kafka", Nodes: []string{"localhost:9092"}},
}

// Features opens each backend of a registry and asks what it can do.
func Features(ctx context.Context, r ss.Registry) ([]ss.Features, error) {
	var all []ss.Features
	for _, scheme := range r.Schemes() {
		u, ok := nowhere[scheme]
		if !ok {
			u = ss.URL{Scheme: scheme}
		}
		s, err := r.OpenURL(ctx, u, ss.Options{})
		if err != nil {
			return nil, err
		}
		all = append(all, s.Features())
		if err := s.Close(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rows are what the tables show.
var rows = []struct {
	name  string
	value func(ss.Features) string
}{
	{"shards", func(f ss.Features) string { return yes(f.Shards) }},
	{"keys", func(f ss.Features) string { return yes(f.Keys) }},
	{"headers", func(f ss.Features) string { return yes(f.Headers) }},
	{"tombstones", func(f ss.Features) string { return yes(f.Tombstones) }},
	{"timestamps kept", func(f ss.Features) string {
		if !f.Timestamps {
			return "no"
		}
		return "to " + unit(f.TimeUnit)
	}},
	{"groups", func(f ss.Features) string { return yes(f.Ack != driver.AckNone) }},
	{"seek by sequence", func(f ss.Features) string { return yes(f.SeekSeq) }},
	{"seek by time", func(f ss.Features) string { return yes(f.SeekTime) }},
	{"transactions can be hidden", func(f ss.Features) string { return yes(f.Isolation) }},
	{"delivery", func(f ss.Features) string { return join(f.Durabilities) }},
	{"repeats removed", func(f ss.Features) string {
		var s []string
		if f.Dedup.Retry {
			s = append(s, "our own")
		}
		if f.Dedup.Resend {
			s = append(s, "the application's")
		}
		if len(s) == 0 {
			return "no"
		}
		if f.Dedup.Window > 0 {
			s = append(s, "within "+f.Dedup.Window.String())
		}
		return strings.Join(s, ", ")
	}},
	{"acknowledged is", func(f ss.Features) string { return join(f.Classes) }},
	{"largest record", func(f ss.Features) string {
		if f.MaxRecord == 0 {
			return "the server decides"
		}
		return iostreams.Bytes(int64(f.MaxRecord))
	}},
	{"creates streams", func(f ss.Features) string { return yes(f.Autocreate) }},
	{"needs", func(f ss.Features) string { return or(f.Needs, "nothing") }},
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
func text(all []ss.Features, aligned bool) []byte {
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

func markdown(all []ss.Features) []byte {
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

func table(all []ss.Features, line func([]string)) {
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
func asJSON(all []ss.Features) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, f := range all {
		if err := e.Encode(struct {
			Backend      string   `json:"backend"`
			Shards       bool     `json:"shards"`
			Keys         bool     `json:"keys"`
			Headers      bool     `json:"headers"`
			Tombstones   bool     `json:"tombstones"`
			Timestamps   bool     `json:"timestamps"`
			TimeUnit     string   `json:"time_unit"`
			Groups       bool     `json:"groups"`
			SeekSeq      bool     `json:"seek_sequence"`
			SeekTime     bool     `json:"seek_time"`
			Isolation    bool     `json:"isolation"`
			Delivery     []string `json:"delivery"`
			DedupRetry   bool     `json:"dedup_retry"`
			DedupResend  bool     `json:"dedup_resend"`
			DedupSeconds float64  `json:"dedup_window_seconds"`
			Classes      []string `json:"classes"`
			MaxRecord    int      `json:"max_record"`
			Autocreate   bool     `json:"autocreate"`
			Needs        string   `json:"needs"`
		}{f.Backend, f.Shards, f.Keys, f.Headers, f.Tombstones, f.Timestamps, f.TimeUnit.String(), f.Ack != driver.AckNone, f.SeekSeq, f.SeekTime, f.Isolation,
			strs(f.Durabilities), f.Dedup.Retry, f.Dedup.Resend, f.Dedup.Window.Seconds(), strs(f.Classes), f.MaxRecord, f.Autocreate, f.Needs}); err != nil {
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

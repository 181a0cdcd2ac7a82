package group

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

func newLag(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	var most int64
	var oldest string
	cmd := &cobra.Command{
		Use:   "lag [GROUP...]",
		Short: "Say how far groups are behind, in messages and in seconds",
		Long: `Say how far groups are behind: in messages, and in seconds, which is the age of the
first message that is not done; and the shard that is the worst. Without a GROUP all
are listed, the worst first. With --max or --max-age the exit code is 1 when a group
is over, and standard error says which and on what shard.`,
		Example: `  sea streamer group lag --broker localhost:9092
  sea streamer group lag workers --max-age 5m -q --broker localhost:9092
  sea streamer group lag -o json | jq 'select(.messages > 1000)'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := names(args, 0, -1, "a group", "group lag workers"); err != nil {
				return err
			}
			limit := limits{messages: -1, age: -1}
			if cmd.Flags().Changed("max") {
				if limit.messages = most; most < 0 {
					return exit.Usagef("for instance --max 1000", "--max %d: it is at least 0", most)
				}
			}
			if oldest != "" {
				var err error
				if limit.age, err = driver.ParseDuration(oldest); err != nil {
					return exit.Usagef("", "--max-age: %v", err)
				}
				if limit.age < 0 {
					return exit.Usagef("for instance --max-age 5m", "--max-age %s: it is at least 0s", oldest)
				}
			}
			if len(args) > 0 && len(t.streams) > 0 {
				return exit.Usagef("leave out one of them", "groups and --stream are two ways to say which groups")
			}
			return t.lag(cmd, o, limit, args)
		},
	}
	fs := cmd.Flags()
	t.flags(fs, "only groups that know this stream")
	listing.AddFlags(fs, &o)
	fs.Int64Var(&most, "max", 0, "exit with 1 if a group is more than `N` messages behind")
	fs.StringVar(&oldest, "max-age", "", "exit with 1 if a group is behind by more than `DURATION`, such as 30s or 5m")
	return cmd
}

func (t *target) lag(cmd *cobra.Command, o listing.Options, limit limits, groups []string) error {
	u, c, end, err := t.open(cmd.Context())
	if err != nil {
		return err
	}
	var lags []admin.Lag
	tally := failures{}
	if len(groups) > 0 {
		if lags, err = c.Lag(cmd.Context(), groups...); notPartial(err) != nil {
			return end(missing(err))
		}
	} else {
		for l, err := range c.Lags(cmd.Context(), "", u.Streams...) {
			if err != nil {
				return end(err)
			}
			lags = append(lags, l)
		}
		slices.SortFunc(lags, func(a, b admin.Lag) int {
			return cmp.Or(cmp.Compare(b.Age(), a.Age()), cmp.Compare(b.Messages().N, a.Messages().N), cmp.Compare(a.Group, b.Group))
		})
	}
	known := lags[:0:0]
	for _, l := range lags {
		if tally.add(l.Group, l.Err); l.Err == nil || len(l.Shards) > 0 {
			known = append(known, l)
		}
	}
	if err := listing.Write(t.f.IO, o, Columns, each(known), func(l admin.Lag) any { return document(l) }); err != nil {
		return end(err)
	}
	if err := exit.Join(missing(tally.err()), limit.check(known)); err != nil {
		return end(err)
	}
	return end(nil)
}

// limits are what a lag must not be over; below zero is not given.
type limits struct {
	messages int64
	age      time.Duration
}

// told is how many groups that are over are named one by one.
const told = 5

// check is nil where no group is over. What is not known is over any limit.
func (l limits) check(lags []admin.Lag) error {
	var over []string
	for _, g := range lags {
		if text := l.over(g); text != "" {
			over = append(over, g.Group+" "+text)
		}
	}
	if len(over) == 0 {
		return nil
	}
	text := strings.Join(over[:min(told, len(over))], "; ")
	if n := len(over) - told; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	of := ""
	if len(lags) > 1 {
		of = fmt.Sprintf("%d of %d groups: ", len(over), len(lags))
	}
	return &exit.Error{Code: exit.Partial, Msg: "too far behind: " + of + text}
}

func (l limits) over(g admin.Lag) string {
	var says []string
	if l.age >= 0 && g.Age() > l.age {
		s, _ := g.Worst()
		says = append(says, fmt.Sprintf("by %s, on %v", listing.Duration(s.Age), s.Shard))
	}
	switch n := g.Messages(); {
	case l.messages >= 0 && n.N < 0:
		says = append(says, "by an unknown number of messages")
	case l.messages >= 0 && n.N > l.messages:
		s, _ := g.Most()
		says = append(says, fmt.Sprintf("by %s messages, %s of them on %v", listing.HumanCount(n), listing.HumanCount(s.Messages), s.Shard))
	}
	return strings.Join(says, ", and ")
}

// lagDoc is how far behind something is, as JSON.
type lagDoc struct {
	Messages  *int64  `json:"messages,omitempty"` // not there: not known
	Estimated bool    `json:"estimated,omitempty"`
	Age       float64 `json:"age_seconds"`
	Pending   int64   `json:"pending,omitempty"`
}

func lagOf(l admin.Lag) lagDoc { return behind(l.Messages(), l.Age(), l.Pending()) }

func behind(n admin.Count, age time.Duration, pending int64) lagDoc {
	d := lagDoc{Estimated: n.Estimated, Age: seconds(age), Pending: pending}
	if n.N >= 0 {
		d.Messages = &n.N
	}
	return d
}

type groupLagDoc struct {
	Group string `json:"group"`
	State string `json:"state,omitempty"`
	lagDoc
	Worst *shardDoc  `json:"worst,omitempty"`
	Each  []shardDoc `json:"each"`
	Error string     `json:"error,omitempty"`
}

type shardDoc struct {
	Stream string     `json:"stream"`
	Shard  int32      `json:"shard"`
	Next   driver.Seq `json:"next"`
	End    driver.Seq `json:"end"`
	lagDoc
	Member string `json:"member,omitempty"`
}

func shard(s admin.ShardLag) shardDoc {
	return shardDoc{s.Stream, s.Index, s.Next, s.End, behind(s.Messages, s.Age, s.Pending), s.Member}
}

func document(l admin.Lag) groupLagDoc {
	d := groupLagDoc{Group: l.Group, State: l.State, lagDoc: lagOf(l), Each: []shardDoc{}}
	for _, s := range l.Shards {
		d.Each = append(d.Each, shard(s))
	}
	if s, ok := l.Worst(); ok {
		d.Worst = new(shard(s))
	}
	if l.Err != nil {
		d.Error = l.Err.Error()
	}
	return d
}

// lagColumns are how far a group is behind.
var lagColumns = []listing.Column[admin.Lag]{
	{Name: "messages", Raw: func(l admin.Lag) string { return listing.Count(l.Messages()) }, Human: func(l admin.Lag) string { return listing.HumanCount(l.Messages()) }, Right: true},
	{Name: "age", Raw: func(l admin.Lag) string { return secondsText(l.Age()) }, Human: func(l admin.Lag) string { return ageText(l.Age()) }, Right: true},
	{Name: "pending", Raw: func(l admin.Lag) string { return listing.Number(l.Pending()) }, Human: func(l admin.Lag) string { return listing.HumanCount(admin.Count{N: l.Pending()}) }, Right: true},
}

// Columns are the table of lags, also of those that are watched.
var Columns = slices.Concat([]listing.Column[admin.Lag]{
	{Name: "group", Raw: func(l admin.Lag) string { return l.Group }},
	{Name: "state", Raw: func(l admin.Lag) string { return l.State }},
}, lagColumns, []listing.Column[admin.Lag]{
	{Name: "worst", Raw: func(l admin.Lag) string {
		s, ok := l.Worst()
		if !ok {
			return ""
		}
		return s.Shard.String()
	}, Human: func(l admin.Lag) string {
		s, ok := l.Worst()
		if !ok {
			return "-"
		}
		return fmt.Sprintf("%v %s, %s", s.Shard, listing.HumanCount(s.Messages), ageText(s.Age))
	}},
})

// Document is a lag as an object of JSON.
func Document(l admin.Lag) any { return document(l) }

// ageText is a lag in time for people; a dash where there is none.
func ageText(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return listing.Duration(d)
}

// failures are what went wrong with some of many groups.
type failures struct {
	total  int
	failed []admin.Failure
}

func (f *failures) add(item string, err error) { f.total++; f.fail(item, err) }

func (f *failures) fail(item string, err error) {
	if err != nil {
		f.failed = append(f.failed, admin.Failure{Item: item, Err: err})
	}
}

func (f *failures) err() error {
	if len(f.failed) == 0 {
		return nil
	}
	return &admin.PartialError{Total: f.total, Failures: f.failed}
}

// notPartial is err where it is not about some of many.
func notPartial(err error) error {
	var some *admin.PartialError
	if errors.As(err, &some) {
		return nil
	}
	return err
}

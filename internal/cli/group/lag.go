package group

import (
	"cmp"
	"errors"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/chart"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// lagDoc is how far behind something is, as JSON.
type lagDoc struct {
	Messages  *int64  `json:"messages,omitempty"` // not there: not known
	Estimated bool    `json:"estimated,omitempty"`
	Age       float64 `json:"age_s"`
	Pending   int64   `json:"pending"`
}

func lagOf(l admin.Lag) lagDoc {
	n := l.Messages()
	return lagDoc{Messages: listing.Known(n.N), Estimated: n.Estimated, Age: l.Age().Seconds(), Pending: l.Pending()}
}

// lagColumns are how far a group is behind.
var lagColumns = []listing.Column[admin.Lag]{
	{Name: "behind", Raw: func(l admin.Lag) string { return listing.Count(l.Messages()) }, Human: func(l admin.Lag) string { return listing.HumanCount(l.Messages()) }, Right: true},
	{Name: "age", Raw: func(l admin.Lag) string { return listing.Seconds(l.Age()) }, Human: func(l admin.Lag) string { return chart.Time(l.Age()) }, Right: true},
	{Name: "pending", Raw: func(l admin.Lag) string { return listing.Number(l.Pending()) }, Human: func(l admin.Lag) string { return listing.HumanCount(admin.Count{N: l.Pending()}) }, Right: true},
}

// failed is what went wrong with some of many groups; nil where nothing did.
func failed(all []row) error {
	var tally admin.PartialError
	for _, r := range all {
		tally.Add(r.Name, cmp.Or(r.Err, r.lag.Err))
	}
	return tally.Failed()
}

// notPartial is err where it is not about some of many.
func notPartial(err error) error {
	var some *admin.PartialError
	if errors.As(err, &some) {
		return nil
	}
	return err
}

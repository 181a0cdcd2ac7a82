package stream

import (
	"bytes"
	"errors"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// What is not known of a shard is not 0. Words for people are for people.
func TestShow(t *testing.T) {
	half := admin.StreamInfo{Name: "half", Err: errors.New("no leader"), Shards: []admin.ShardInfo{
		{Bound: ss.Bound{First: ss.SeqOf(2), Next: ss.SeqOf(5)}, Messages: admin.Count{N: 3}, Bytes: 30, Leader: "1"}, {Index: 1, Messages: admin.Count{N: -1}, Bytes: -1}}}
	gone := admin.StreamInfo{Name: "gone", Err: errors.New("not found")}
	for _, test := range []struct {
		output string
		tty    bool
		want   string
	}{
		{"auto", true, "half: 2 shards, - messages\nSHARD  FIRST  NEXT  MESSAGES  BYTES  OLDEST  NEWEST  LEADER  REPLICAS\n    0      2     5         3    30B  -       -       1\n    1                      -      -  -       -\n"},
		{"tsv", true, "stream\tshard\tfirst\tnext\tmessages\tbytes\toldest\tnewest\tleader\treplicas\tin_sync\nhalf\t0\t2\t5\t3\t30\t\t\t1\t\t\nhalf\t1\t\t\t\t\t\t\t\t\t\n"},
		{"json", true, `{"name":"half","shards":2,"each":[{"shard":0,"first":"2","next":"5","messages":3,"bytes":30,"leader":"1"},{"shard":1}],"error":"no leader"}` + "\n"},
	} {
		var b bytes.Buffer
		f := &factory.Factory{IO: &iostreams.Streams{Out: &b, OutTTY: test.tty}}
		if err := show(f, listing.Options{Output: test.output}, []admin.StreamInfo{half, gone}); err != nil {
			t.Fatal(err)
		}
		if b.String() != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.output, &b, test.want)
		}
	}
}

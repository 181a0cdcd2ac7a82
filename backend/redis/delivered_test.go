package redis

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func TestDelivered(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	c := open(t, r.URL(), Options{})
	_, err := r.Pipe(1,
		[]string{"XADD", "s:0", "5-1", "msg", "x"}, []string{"XADD", "s:0", "6-2", "msg", "x"}, []string{"XADD", "s:1", "7-0", "msg", "x"}, []string{"XADD", "s:2", "8-0", "msg", "x"},
		[]string{"XGROUP", "CREATE", "s:0", "g", "0"}, []string{"XGROUP", "CREATE", "s:1", "other", "0"}, []string{"XGROUP", "CREATE", "s:1", "g", "$"}, []string{"XGROUP", "CREATE", "s:2", "g", "0"},
		[]string{"XREADGROUP", "GROUP", "g", "me", "COUNT", "1", "STREAMS", "s:0", ">"})
	if err != nil {
		t.Fatal(err)
	}
	var d interface {
		Delivered(context.Context, string, []string) (map[driver.Shard]driver.Seq, error)
	}
	if !c.As(&d) {
		t.Fatal("it does not say")
	}
	got, err := d.Delivered(t.Context(), "g", []string{"s"})
	want := map[driver.Shard]driver.Seq{{Stream: "s"}: {Hi: 5, Lo: 2}, {Stream: "s", Index: 1}: {Hi: 7, Lo: 1}, {Stream: "s", Index: 2}: {Lo: 1}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if got, err := d.Delivered(t.Context(), "none", []string{"s"}); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

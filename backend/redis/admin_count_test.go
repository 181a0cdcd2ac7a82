package redis

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// arrivals are ids as they come about.
var arrivals = map[string]func(r *rand.Rand, n int) []driver.Seq{
	"even": func(_ *rand.Rand, n int) []driver.Seq {
		return seqs(n, func(i int) float64 { return 1 })
	},
	"random": func(r *rand.Rand, n int) []driver.Seq {
		return seqs(n, func(int) float64 { return r.ExpFloat64() * 10 })
	},
	"batches": func(r *rand.Rand, n int) []driver.Seq { // a hundred at once
		return seqs(n, func(i int) float64 {
			if i%100 != 0 {
				return 0
			}
			return 10 + 10*r.Float64()
		})
	},
	"ramp": func(r *rand.Rand, n int) []driver.Seq { // ever faster, a hundredfold in the end
		return seqs(n, func(i int) float64 { return r.ExpFloat64() * 100 / (1 + 99*float64(i)/float64(n)) })
	},
	"bursts": func(r *rand.Rand, n int) []driver.Seq { // of up to some thousands, with pauses of up to hours
		left := 0
		return seqs(n, func(int) float64 {
			if left--; left > 0 {
				return r.ExpFloat64()
			}
			left = int(10 / math.Pow(r.Float64()+1e-3, 0.9))
			return 1000 / math.Pow(r.Float64()+1e-4, 0.9)
		})
	},
	"counter": func(_ *rand.Rand, n int) []driver.Seq { // ids without a time
		ids := make([]driver.Seq, n)
		for i := range ids {
			ids[i] = driver.SeqOf(uint64(i + 1))
		}
		return ids
	},
}

func seqs(n int, gap func(i int) float64) []driver.Seq {
	ids := make([]driver.Seq, n)
	at := 1e12
	for i := range ids {
		at += gap(i)
		ids[i].Hi = uint64(at)
		if i > 0 && ids[i].Hi == ids[i-1].Hi {
			ids[i].Lo = ids[i-1].Lo + 1
		}
	}
	return ids
}

// TestCount compares with what was added, and measures what Count says of its
// error. COUNT_ENTRIES=300000 measures larger streams.
func TestCount(t *testing.T) {
	t.Parallel()
	n := fromEnv(t, "COUNT_ENTRIES", 30_000)
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range slices.Sorted(maps.Keys(arrivals)) {
		ids := arrivals[name](r, n)
		addAll(t, c, name, ids)
		// Not all is there any more, and not in the order of nodes.
		const trimmed, deleted = 1234, 300
		run(t, c, "XTRIM", name, "MINID", idText(ids[trimmed]))
		ids = ids[trimmed:]
		rc, _ := c.connect(t.Context())
		var cmds []rueidis.Completed
		for range deleted {
			i := r.IntN(len(ids))
			cmds = append(cmds, rc.B().Xdel().Key(name).Id(idText(ids[i])).Build())
			ids = slices.Delete(ids, i, i+1)
		}
		if _, err := c.askAll(t.Context(), rc, cmds); err != nil {
			t.Fatal(err)
		}
		end := ids[len(ids)-1].Succ()
		sh := driver.Shard{Stream: name}
		ranges := []driver.Range{
			{Shard: sh, To: driver.MaxSeq},                                        // all
			{Shard: sh, From: end, To: driver.MaxSeq},                             // nothing
			{Shard: sh, From: ids[len(ids)-900], To: end},                         // near the end
			{Shard: sh, From: driver.Seq{}, To: ids[900]},                         // near the front
			{Shard: sh, From: ids[5000], To: ids[5900]},                           // few
			{Shard: sh, From: ids[900], To: ids[len(ids)-900]},                    // all but few
			{Shard: sh, From: ids[7000], To: ids[7000]},                           // empty
			{Shard: sh, From: ids[8000], To: ids[100]},                            // the wrong way round
			{Shard: sh, From: ids[len(ids)-1], To: ids[len(ids)-1].Succ().Succ()}, // the last
		}
		exact := len(ranges)
		got, err := c.Count(t.Context(), ranges)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 { // each by itself: together they would be almost exact
			a, b := r.IntN(len(ids)), r.IntN(len(ids))
			one := driver.Range{Shard: sh, From: ids[min(a, b)], To: ids[max(a, b)]}
			count, err := c.Count(t.Context(), []driver.Range{one})
			if err != nil {
				t.Fatal(err)
			}
			ranges, got = append(ranges, one), append(got, count...)
		}
		var worst, sum float64
		estimated := 0
		for i, g := range got {
			from, _ := slices.BinarySearchFunc(ids, ranges[i].From, driver.Seq.Compare)
			to, _ := slices.BinarySearchFunc(ids, ranges[i].To, driver.Seq.Compare)
			want := int64(max(0, to-from))
			if i < exact && g.Estimated || !g.Estimated && g.N != want {
				t.Errorf("%s: range %d: got %+v, want %d", name, i, g, want)
			}
			if g.Estimated {
				off := math.Abs(float64(g.N-want)) / float64(len(ids))
				worst, sum, estimated = max(worst, off), sum+off, estimated+1
			}
		}
		t.Logf("%-8s %d of %d ranges estimated, off by %.2f %% of the stream at most, %.2f %% on average", name, estimated, 10, 100*worst, 100*sum/float64(max(1, estimated)))
		if limit := map[string]float64{"bursts": 0.25, "batches": 0.05}[name]; worst > max(limit, 0.02) {
			t.Errorf("%s: off by %.2f %%: the documentation promises less", name, 100*worst)
		}
	}
}

// addAll adds entries with these ids.
func addAll(t *testing.T, c *client, key string, ids []driver.Seq) {
	t.Helper()
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmds := make([]rueidis.Completed, len(ids))
	for i, id := range ids {
		cmds[i] = rc.B().Xadd().Key(key).Id(idText(id)).FieldValue().FieldValue("msg", "x").Build()
	}
	answers, err := c.askAll(t.Context(), rc, cmds)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if err := a.Error(); err != nil {
			t.Fatal(err)
		}
	}
}

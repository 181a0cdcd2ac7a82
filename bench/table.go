package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table is the results in Markdown, for docs/PERFORMANCE.md.
func table(results []result, singles []single, o options) string {
	w := new(strings.Builder)
	fmt.Fprintf(w, "Measured %s by `go run . %s` in `bench/`: %s, %d processors, %s; %d alternating pairs after one that is not counted.\n\n",
		time.Now().UTC().Format("2006-01-02"), o.args, runtime.Version(), runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH, o.pairs)
	fmt.Fprintln(w, "| what | against | throughput, ours / peer: median (least–most) | goal | CPU per message, ours / peer | peak memory, ours; peer |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, r := range results {
		cpu := "–"
		if len(r.cpu) > 0 {
			cpu = fmt.Sprintf("%.2f", median(r.cpu))
		}
		fmt.Fprintf(w, "| %s | %s | **%.2f** (%.2f–%.2f) | %s | %s | %s; %s |\n", r.name, r.peer.name,
			median(r.speed), slices.Min(r.speed), slices.Max(r.speed), r.goal, cpu, mib(r.rssO), mib(r.rss))
	}
	if len(singles) == 0 {
		return w.String()
	}
	fmt.Fprintln(w, "\n| what | measured | goal |\n|---|---|---|")
	for _, s := range singles {
		fmt.Fprintf(w, "| %s | %s | %s |\n", s.name, s.value, s.goal)
	}
	return w.String()
}

func mib(n int64) string {
	if n == 0 {
		return "–"
	}
	return strings.TrimSuffix(fmt.Sprintf("%d MiB", n>>20), ".0")
}

// A single is a figure that has no peer: nanoseconds a message over memory, the
// memory of an endless tap, the wake-ups of an idle flux.
type single struct{ name, value, goal string }

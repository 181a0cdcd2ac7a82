// Bench measures SeaStreamer beside its peers, in alternating pairs on the same
// machine, and prints the tables of docs/PERFORMANCE.md:
//
//	cd bench && go run .                     # everything, five pairs each
//	cd bench && go run . -only kafka -n 100000 -pairs 3
//
// It starts an Apache Kafka and a Redis of its own, and needs kcat for the rows
// of the shell.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
)

type options struct {
	n     int
	pairs int
	size  int
	only  *regexp.Regexp
	args  string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	o := options{args: strings.Join(os.Args[1:], " ")}
	flag.IntVar(&o.n, "n", 1_000_000, "messages in each run")
	flag.IntVar(&o.size, "size", 256, "bytes of a message's value")
	flag.IntVar(&o.pairs, "pairs", 5, "counted pairs")
	only := flag.String("only", "", "measure the rows whose name matches this regular expression")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "sea-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env := &environment{options: o, dir: dir}
	defer env.close()

	var results []result
	var singles []single
	for _, group := range []func(*environment) ([]pair, error){kafkaPairs, exactlyPairs, copyPairs, redisPairs, filePairs, shellPairs} {
		pairs, err := group(env)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if !o.only.MatchString(p.name) {
				continue
			}
			r, err := measure(ctx, p, o.pairs, func(s string) { fmt.Fprintln(os.Stderr, s) })
			if err != nil {
				return err
			}
			results = append(results, r)
		}
	}
	for _, s := range singleRows(env) {
		if !o.only.MatchString(s.name) {
			continue
		}
		row, err := s.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, row.value)
		singles = append(singles, row)
	}
	fmt.Print(table(results, singles, o))
	return ctx.Err()
}

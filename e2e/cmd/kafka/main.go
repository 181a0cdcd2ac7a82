//go:build unix

// Kafka runs an Apache Kafka until it is told to end by TERM or INT: for
// scripts and for trying things by hand.
//
//	go run ./cmd/kafka -port 9092
//
// When it answers it prints one line, "ready HOST:PORT[,HOST:PORT…]", to its
// standard output.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

func main() {
	port := flag.Int("port", 9092, "of the first node; 0 chooses a free one")
	nodes := flag.Int("nodes", 1, "how many brokers")
	props := properties{}
	flag.Var(props, "property", "`name=value` for server.properties; may be repeated")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "kafka: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(apachekafka.Options{Port: *port, Nodes: *nodes, Properties: props}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o apachekafka.Options) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer cancel()
	c, err := apachekafka.Start(ctx, o)
	if err != nil {
		return err
	}
	defer c.Stop()
	fmt.Println("ready", strings.Join(c.Brokers(), ","))
	<-ctx.Done()
	return nil
}

type properties map[string]string

func (p properties) String() string { return "" }

func (p properties) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("want name=value, not %q", s)
	}
	p[name] = value
	return nil
}

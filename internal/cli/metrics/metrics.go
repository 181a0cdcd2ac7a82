// Package metrics is the command that serves a broker's state to Prometheus.
package metrics

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/metrics"
)

// shutdownTime is how long a look that somebody waits for may still take.
var shutdownTime = 5 * time.Second // shorter in a test

// New is the command.
func New(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o metrics.Options
	listen := "localhost:9464"
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "Serve lag, rates and health to Prometheus",
		Long: `Serve what there is to know of a broker to Prometheus, at /metrics: what is in its
streams and comes in, how far groups are behind in messages and seconds, and what
is not well. The broker is looked at when somebody asks. It runs until it is told
to stop (INT or TERM; then it ends with 0), and goes on while the broker is down:
seastreamer_up is 0 then.`,
		Example: `  sea streamer metrics --broker localhost:9092
  sea streamer metrics --listen :9464 --streams 'news*' --broker redis://localhost:6379
  curl -s localhost:9464/metrics | grep lag_seconds`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 0, "no operand", "metrics --streams NAME"); err != nil {
				return err
			}
			if err := cmp.Or(factory.CheckGlob(o.Streams), factory.CheckGlob(o.Groups)); err != nil {
				return err
			}
			if o.Timeout == 0 {
				return exit.Usagef("use 9s", "--scrape-timeout %v is no time", o.Timeout)
			}
			return b.With(cmd.Context(), func(u ss.URL, c *admin.Client) error { return serve(cmd.Context(), f, c, listen, o) })
		},
	}
	fs := cmd.Flags()
	b.AddFlags(fs)
	fs.StringVar(&listen, "listen", listen, "serve at `ADDRESS`, such as :9464 for every network")
	fs.StringVar(&o.Streams, "streams", "", "only streams whose name matches `GLOB`")
	fs.StringVar(&o.Groups, "groups", "", "only groups whose name matches `GLOB`")
	o.Timeout = 9 * time.Second
	fs.Var(factory.Duration(&o.Timeout), "scrape-timeout", "how long one look at the broker may take: less than what Prometheus waits, which is 10s by default")
	return cmd
}

func serve(parent context.Context, f *factory.Factory, c *admin.Client, listen string, o metrics.Options) error {
	ctx, _, end := f.HandleSignals(parent)
	defer end()
	said := make(map[string]time.Time)
	o.Failed = func(part string, err error) { // one look at a time calls it
		if time.Since(said[part]) > time.Minute && ctx.Err() == nil {
			said[part] = time.Now()
			f.IO.Warn("look at %s: %v", part, err)
		}
	}
	collector, err := metrics.NewCollector(c, o)
	if err != nil {
		return err
	}
	r := prometheus.NewRegistry()
	if err := r.Register(collector); err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return &exit.Error{Code: exit.Usage, Item: listen, Err: err, Hint: "choose another address with --listen"}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("sea streamer metrics: /metrics\n"))
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	f.IO.Notice("serving http://%s/metrics", l.Addr())
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err = srv.Shutdown(short); errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // a broker that does not answer is no reason to fail now
	}
	if e := <-done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

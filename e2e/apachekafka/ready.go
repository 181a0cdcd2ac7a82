//go:build unix

package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startLimit is how long a node may take when the caller's context sets no
// limit: a JVM on a machine that is busy with other tests.
const startLimit = 3 * time.Minute

// ready returns when n's own metadata name every node that runs.
func (c *Cluster) ready(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr(n.ports.plain)), kgo.DialTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}
	defer cl.Close()
	for {
		missing, err := c.missing(ctx, cl)
		if err == nil && missing == 0 {
			return nil
		}
		select {
		case <-n.Ended():
			err := errors.New("it ended")
			if n.portTaken() {
				err = errPortTaken
			}
			return fmt.Errorf("apachekafka: start node %d at %s: %w\n%s", n.id, addr(n.ports.plain), err, n.lastWords())
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("its metadata lack %d nodes", missing)
			}
			return fmt.Errorf("apachekafka: node %d at %s is not ready: %w (%w)\n%s", n.id, addr(n.ports.plain), err, ctx.Err(), n.lastWords())
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// missing counts the running nodes that the client's seed does not name.
func (c *Cluster) missing(ctx context.Context, cl *kgo.Client) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none, where nil is all
	resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
	if err != nil {
		return 0, err
	}
	named := map[int32]bool{}
	for _, b := range resp.Brokers {
		named[b.NodeID] = true
	}
	missing := 0
	for _, n := range c.nodes {
		if n.running() && !named[int32(n.id)] {
			missing++
		}
	}
	return missing, nil
}

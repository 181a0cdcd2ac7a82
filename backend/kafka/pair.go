package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

var _ driver.Paired = (*client)(nil)

// Pair opens an owner whose positions are also the offsets of the consumer
// group of its name, where the input is of this cluster.
func (c *client) Pair(ctx context.Context, in driver.Driver, oc driver.OwnerConfig) (driver.PairedOwner, error) {
	src, ok := in.(*client)
	if !ok {
		return nil, driver.Errorf(errors.ErrUnsupported, "", "the input is not Kafka")
	}
	within, cancel := c.within(ctx)
	defer cancel()
	if src != c {
		a, err := c.clusterID(within)
		if err != nil {
			return nil, err
		}
		b, err := src.clusterID(within)
		if err != nil {
			return nil, err
		}
		if a == "" || a != b {
			return nil, driver.Errorf(errors.ErrUnsupported, "", "the input is of another Kafka cluster than %s", c.nodes())
		}
	}
	o, err := c.newOwner(ctx, oc)
	if err != nil {
		return nil, err
	}
	return &pairedOwner{o, src}, nil
}

// pairedOwner is an owner with the input's driver.
type pairedOwner struct {
	*owner
	in *client
}

// Consumer opens the ordinary consumer. Where the owner is alone that has no
// group: then the owner is not a member of the group whose offsets it commits,
// which is that of its name.
func (p *pairedOwner) Consumer(ctx context.Context, cc driver.ConsumerConfig) (driver.Consumer, error) {
	if !p.shared {
		p.group = newGroup(p.c, p.name)
		return p.in.Consumer(ctx, cc)
	}
	if cc.Group == "" {
		return nil, driver.Errorf(driver.ErrInvalid, "", "owners of %q that share an input need a group, which says who reads what", p.name)
	}
	p.group = newGroup(p.c, cc.Group)
	c, err := p.in.Consumer(ctx, cc)
	if m, ok := c.(*member); ok {
		p.group.cl = m.cl
		close(p.group.opened) // claims wait for it
		p.kept = make(chan struct{})
		go p.keep()
	}
	return c, err
}

// clusterID is what the cluster calls itself.
func (c *client) clusterID(ctx context.Context) (string, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	var resp *kmsg.MetadataResponse
	var err error
	if gone := c.ask(ctx, func() { resp, err = req.RequestWith(ctx, c.cl) }); gone != nil {
		return "", c.fail("", "", gone)
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return "", c.fail("", "", err)
	}
	if resp.ClusterID == nil {
		return "", nil
	}
	return *resp.ClusterID, nil
}

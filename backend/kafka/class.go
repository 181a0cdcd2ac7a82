package kafka

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A streamClass is what an acknowledged record of a stream survives. It is
// "process" until the broker has said how many copies an acknowledgement
// means.
type streamClass struct{ class atomic.Uint32 }

func (s *streamClass) get() driver.Class { return driver.Class(s.class.Load()) }

// class returns the class of a stream and begins to find it out the first
// time.
func (c *client) class(stream string) *streamClass {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.classes[stream]
	if !ok {
		s = new(streamClass)
		s.class.Store(uint32(driver.ClassProcess))
		c.classes[stream] = s
		if !c.closed {
			c.work.Add(1)
			go c.probe(stream, s)
		}
	}
	return s
}

// probe finds out whether acks=all means two copies. It tries again while the
// broker is away or the stream is not there yet, which its first record may be
// about to create, and gives up where it is not allowed to ask.
func (c *client) probe(stream string, s *streamClass) {
	defer c.work.Done()
	for tries := range 20 {
		if replicated, err := c.isReplicated(stream); err == nil {
			if replicated {
				s.class.Store(uint32(driver.ClassReplicated))
			}
			return
		} else if kind, _ := c.describe(err, stream); kind == driver.ErrDenied || kind == driver.ErrInvalid {
			return
		}
		select {
		case <-time.After(retryBackoff(tries)):
		case <-c.life.Done():
			return
		}
	}
}

func (c *client) isReplicated(stream string) (bool, error) {
	ctx, cancel := context.WithTimeout(c.life, c.o.ConnectTimeout)
	defer cancel()
	ts, err := topics(ctx, c, c.cl, false, stream)
	if err != nil {
		return false, err
	}
	for _, p := range ts[stream].partitions {
		if p.replicas < 2 {
			return false, nil
		}
	}
	configs, err := c.topicConfigs(ctx, stream, "min.insync.replicas")
	if err != nil {
		return false, err
	}
	n, err := strconv.Atoi(configs["min.insync.replicas"])
	return err == nil && n >= 2, nil
}

// topicConfigs asks for some of a stream's configuration.
func (c *client) topicConfigs(ctx context.Context, stream string, names ...string) (map[string]string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, stream, names
	req.Resources = append(req.Resources, r)
	var resp *kmsg.DescribeConfigsResponse
	var err error
	if gone := c.ask(ctx, func() { resp, err = req.RequestWith(ctx, c.cl) }); gone != nil {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return nil, err
		}
		for _, config := range r.Configs {
			if config.Value != nil {
				found[config.Name] = *config.Value
			}
		}
	}
	return found, nil
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// The driver administers all that Kafka has. Share groups, whose messages are
// pending one by one, are left out so far: see the package's documentation.
var (
	_ driver.StreamAdmin  = (*client)(nil)
	_ driver.GroupAdmin   = (*client)(nil)
	_ driver.NodeAdmin    = (*client)(nil)
	_ driver.ClusterAdmin = (*client)(nil)
	_ driver.AccessAdmin  = (*client)(nil)
)

// reach finds out whether a broker answers, within the connect time-out and
// once for this driver, so that who administers a cluster that is away does not
// wait for all that franz-go tries.
func (c *client) reach(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.reached.Load() {
		return nil
	}
	err := c.Ping(ctx)
	if err == nil {
		c.reached.Store(true)
	}
	return err
}

// request sends one request and waits for its answer within ctx.
func request[R kmsg.Response](ctx context.Context, c *client, to kmsg.Requestor, req kmsg.Request) (R, error) {
	var answer kmsg.Response
	var err error
	var none R
	if gone := c.ask(ctx, func() { answer, err = to.Request(ctx, req) }); gone != nil {
		return none, gone
	}
	if err != nil {
		return none, err
	}
	r, ok := answer.(R)
	if !ok {
		return none, fmt.Errorf("%s answered with another message", c.nodes())
	}
	return r, nil
}

// sharded sends a request in parts to the brokers that have to do with it.
func (c *client) sharded(ctx context.Context, req kmsg.Request) ([]kgo.ResponseShard, error) {
	var answers []kgo.ResponseShard
	if gone := c.ask(ctx, func() { answers = c.cl.RequestSharded(ctx, req) }); gone != nil {
		return nil, gone
	}
	return answers, nil
}

// asked runs f, which uses one of kadm's methods.
func asked[T any](ctx context.Context, c *client, f func() (T, error)) (T, error) {
	var v, none T
	var err error
	if gone := c.ask(ctx, func() { v, err = f() }); gone != nil {
		return none, gone
	}
	return v, err
}

// answer is the error of an answer of Kafka, with what the broker said of it.
func answer(code int16, text *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || text == nil || *text == "" {
		return err
	}
	return withText(err, *text)
}

// withText adds what a broker said to its error, on one line.
func withText(err error, text string) error {
	text = strings.Join(strings.Fields(text), " ")
	if err == nil || text == "" {
		return err
	}
	return &answered{strings.TrimSuffix(text, "."), err}
}

// settled waits until the brokers have heard of a change, so that who looks
// next sees it: a change is known to the controller first. It is not an error
// when that takes longer.
func settled(ctx context.Context, done func() bool) {
	for tries := 0; tries < 20 && !done(); tries++ {
		if !pausing(ctx, min(5*time.Millisecond<<min(tries, 10), 200*time.Millisecond)) {
			return
		}
	}
}

const offsetsTopic = "__consumer_offsets"

// ownTopics are those that Kafka keeps for itself, where a broker does not say
// which those are.
var ownTopics = map[string]bool{
	offsetsTopic:            true,
	"__transaction_state":   true,
	"__share_group_state":   true,
	"__cluster_metadata":    true,
	"__remote_log_metadata": true,
}

// StreamNames yields the names of all topics that the user may describe. Kafka
// says them all in one answer.
func (c *client) StreamNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := c.topicNames(ctx)
		for _, n := range names {
			if !yield(n, nil) {
				return
			}
		}
		if err != nil {
			yield("", c.fail("list streams", "", err))
		}
	}
}

// topicNames copies the names out of the answer, which is many times larger.
func (c *client) topicNames(ctx context.Context) ([]string, error) {
	all, err := c.everything(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(all.Topics))
	for i := range all.Topics {
		if t := all.Topics[i].Topic; t != nil && *t != "" {
			names = append(names, *t)
		}
	}
	return names, nil
}

// everything is the metadata of all topics.
func (c *client) everything(ctx context.Context) (*kmsg.MetadataResponse, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	req := kmsg.NewPtrMetadataRequest() // Topics nil is all
	return request[*kmsg.MetadataResponse](ctx, c, c.cl, req)
}

// metadata is that of the topics named, and of none where none is named. It
// creates none.
func (c *client) metadata(ctx context.Context, names []string) (*kmsg.MetadataResponse, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = make([]kmsg.MetadataRequestTopic, 0, len(names)) // none, where nil is all
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(n)
		req.Topics = append(req.Topics, t)
	}
	return request[*kmsg.MetadataResponse](ctx, c, c.cl, req)
}

// nodeName and nodeNumber say the id of a broker as the driver writes it.
func nodeName(id int32) string { return strconv.Itoa(int(id)) }

func nodeNames(ids []int32) []string {
	if len(ids) == 0 {
		return nil
	}
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = nodeName(id)
	}
	return s
}

func nodeNumber(id string) (int32, error) {
	n, err := strconv.ParseInt(id, 10, 32)
	if err != nil || n < 0 {
		return 0, driver.Errorf(driver.ErrInvalid, "", "node %q: the nodes of Kafka have numbers", id)
	}
	return int32(n), nil
}

// unsupported reports whether the server does not know a request.
func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, kerr.UnsupportedVersion) ||
		err != nil && (strings.Contains(err.Error(), "broker is too old") || strings.Contains(err.Error(), "request key is unknown"))
}

// unlisted is the text about what Kafka has not.
func unlisted(op, format string, args ...any) error {
	return driver.Errorf(errors.ErrUnsupported, op, format, args...)
}

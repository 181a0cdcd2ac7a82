package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// TestAnotherIdentity: a member that the group has given up, and that learns it
// only when it joins, joins anew under another id without giving its shards up:
// franz-go believes that it has them still. Meanwhile they may have been
// another's, who went on from where they stood, so that the unit it has in hand
// must not be committed, although the group takes it for a member.
func TestAnotherIdentity(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "in", "out"))
	c := open(t, url(k.ListenAddrs(), "session_timeout=6s"), Options{})
	p, err := c.Pair(within(t), c, driver.OwnerConfig{Name: "job", Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	o := p.(*pairedOwner)
	t.Cleanup(func() { _ = o.Close(context.Background()) })
	claimed := make(chan error, 10)
	in, err := p.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"in"}, Group: "job", Start: driver.Earliest, Events: driver.Events{
		Assigned: func(ctx context.Context, at []driver.Position) (uint64, []driver.Position, error) {
			from, err := p.Claim(ctx, at)
			claimed <- err
			return 1, from, err
		},
		Revoked: func(ctx context.Context, s []driver.Shard, _ bool) { _ = p.Release(ctx, s) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(context.Background()) })
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
	if err := unitOf(t, p, 0); err != nil {
		t.Fatalf("a unit of a member: %v", err)
	}

	before := o.membership()
	k.ControlKey(int16(kmsg.Heartbeat), func(r kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		resp := r.(*kmsg.HeartbeatRequest).ResponseKind().(*kmsg.HeartbeatResponse)
		if r.(*kmsg.HeartbeatRequest).MemberID == before.id {
			resp.ErrorCode = kerr.RebalanceInProgress.Code
			return resp, nil, true
		}
		return nil, nil, false
	})
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = "job"
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = before.id
	leave.MemberID, leave.Members = before.id, append(leave.Members, m)
	if resp, err := leave.RequestWith(within(t), c.cl); err != nil || resp.ErrorCode != 0 {
		t.Fatal(resp, err)
	}
	ctx := within(t)
	for o.membership().id == before.id || o.membership().generation < 0 {
		select {
		case <-ctx.Done():
			t.Fatal("the member has not joined anew")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := unitOf(t, p, 1); !errors.Is(err, driver.ErrFenced) {
		t.Errorf("a unit of shards that were claimed under another id: %v, want ErrFenced", err)
	}
	if got, want := committed(t, c), "0"; got != want {
		t.Errorf("the stream holds %q, want %q", got, want)
	}
}

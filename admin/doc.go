// Package admin looks at brokers and clusters and changes them: streams, shards,
// groups, pending messages, nodes, users and their rights, with one API for
// every backend. The commands of sea streamer use it and nothing else.
//
//	c := admin.New(streamer)
//	for s, err := range c.Streams(ctx, admin.StreamFilter{Match: "news*"}) { … }
//	lags, err := c.Lag(ctx, "workers")
//	plan, err := c.Plan(ctx, admin.SeekGroup{Group: "workers", To: seastreamer.Since(yesterday)})
//	fmt.Print(plan)
//	err = plan.Apply(ctx)
//
// Everything that changes something is a [Change], and every change has a
// [Plan], which says what it would do to what before it does it, as text and as
// JSON, and what it did afterwards in the same form. Some can be undone: the
// plan knows the change that takes it back.
//
// What a backend does not have is an errors.ErrUnsupported that names the
// feature. Calls on many things return all results; what failed stands with the
// thing (its Err), and in a [*PartialError] of those that failed. Looking creates
// nothing: no stream, no group, no member, no commit.
//
// A backend takes part by implementing the interfaces of package driver that end
// in Admin.
package admin

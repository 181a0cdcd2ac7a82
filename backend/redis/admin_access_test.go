package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// dataNodes are those that have data.
func dataNodes(s *redistest.Servers, kind string) int {
	if kind == "sentinel" {
		return 3
	}
	return s.Len()
}

func users(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{})
	ctx := t.Context()
	if err := c.SetUser(ctx, driver.UserSpec{Name: "ann"}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("without a password: got %v, want ErrInvalid", err)
	}
	if err := c.SetUser(ctx, driver.UserSpec{Name: "ann", Password: "x", NoPassword: true}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("with a password and without: got %v, want ErrInvalid", err)
	}
	if err := c.SetUser(ctx, driver.UserSpec{Name: "ann", Password: "sesame", Native: []string{"+ping", "~a:*"}}); err != nil {
		t.Fatal(err)
	}
	works := func(password string) bool {
		for node := 1; node <= dataNodes(s, kind); node++ {
			if cli(t, s, node, "--user", "ann", "--pass", password, "PING") != "PONG" {
				return false
			}
		}
		return true
	}
	if !works("sesame") {
		t.Error("redis-cli cannot log in everywhere")
	}
	if err := c.SetUser(ctx, driver.UserSpec{Name: "ann", Password: "mellon"}); err != nil {
		t.Fatal(err)
	}
	if works("sesame") || !works("mellon") {
		t.Error("the password was not replaced")
	}
	find := func() (u driver.UserInfo, ok bool) {
		all, err := c.Users(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range all {
			if u.Name == "ann" {
				return u, true
			}
		}
		return u, false
	}
	u, _ := find()
	if d := cmp.Diff(driver.UserInfo{Name: "ann", Enabled: true, Logins: []string{"password (sha-256)"}, Native: "on ~a:* +ping"}, u); d != "" {
		t.Errorf("ann (-want +got):\n%s", d)
	}
	err := c.SetUser(ctx, driver.UserSpec{Name: "ann", Native: []string{">hunter2", "nonsense"}})
	if !errors.Is(err, driver.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("nonsense: got %v, want ErrInvalid without the password", err)
	}
	err = c.SetUser(ctx, driver.UserSpec{Name: "ann", Native: []string{"<hunter2"}}) // there is no such password
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password that is not there: got %v, want an error without it", err)
	}
	if err := c.SetUser(ctx, driver.UserSpec{Name: "ann", Disable: true}); err != nil {
		t.Fatal(err)
	}
	if u, _ := find(); u.Enabled || works("mellon") {
		t.Errorf("disabled: got %+v", u)
	}
	if err := c.SetUser(ctx, driver.UserSpec{Name: "bob", Password: "x", Mechanism: "scram-sha-256"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("scram: got %v, want ErrUnsupported", err)
	}
	if err := c.DeleteUser(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	if _, ok := find(); ok {
		t.Error("ann is still there")
	}
	for node := 1; node <= dataNodes(s, kind); node++ {
		if got := cli(t, s, node, "ACL", "LIST"); strings.Contains(got, "user ann ") {
			t.Errorf("node %d has %q", node, got)
		}
	}
	if err := c.DeleteUser(ctx, "ann"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("again: got %v, want ErrNotFound", err)
	}
	if err := c.DeleteUser(ctx, "default"); err == nil {
		t.Error("the user default is gone")
	}
}

func rules(t *testing.T, s *redistest.Servers, kind string) {
	admin := open(t, s.URL(), Options{})
	ctx := t.Context()
	if err := admin.SetUser(ctx, driver.UserSpec{Name: "eve", Password: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"news", "mail:0", "mail:1", "mailbox", "other"} {
		run(t, admin, "XADD", k, "1-0", "msg", "x")
	}
	rule := func(name, op string) driver.AccessRule {
		return driver.AccessRule{User: "eve", Kind: "stream", Name: name, Operation: op}
	}
	of := func() []driver.AccessRule {
		all, err := admin.Rules(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var eve []driver.AccessRule
		for _, r := range all {
			if r.User == "eve" {
				eve = append(eve, r)
			}
		}
		return eve
	}
	grant := func(r ...driver.AccessRule) {
		t.Helper()
		if err := admin.Grant(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	// reads and writes are what the library can do as eve.
	as := func() (reads, writes func(stream string) error) {
		c := open(t, s.URL(), Options{User: "eve", Password: "x", DeliveryTimeout: time.Minute})
		reads = func(stream string) error {
			k, err := c.Consumer(ctx, driver.ConsumerConfig{Streams: []string{stream}, Start: driver.Earliest, Events: driver.Events{
				Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 1, nil, nil },
				Revoked:  func(context.Context, []driver.Shard, bool) {},
			}})
			if err == nil {
				_, err = k.Fetch(ctx, nil)
				_ = k.Close(ctx)
			}
			return err
		}
		writes = func(stream string) error {
			p, err := c.Producer(ctx, driver.ProducerConfig{})
			if err != nil {
				return err
			}
			defer p.Close(ctx)
			done := make(chan error, 1)
			if err := p.Produce(ctx, driver.Record{Stream: stream, Value: []byte("x")}, func(_ driver.Receipt, err error) { done <- err }); err != nil {
				return err
			}
			return <-done
		}
		return reads, writes
	}
	if got := of(); len(got) != 0 {
		t.Errorf("a new user has %+v", got)
	}
	grant(rule("news", "read"), rule("mail", "write"))
	grant(rule("news", "read")) // again
	if d := cmp.Diff([]driver.AccessRule{rule("news", "read"), rule("mail", "write")}, of(),
		cmpopts.IgnoreFields(driver.AccessRule{}, "Native")); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
	for node := 1; node <= dataNodes(s, kind); node++ {
		list := cli(t, s, node, "ACL", "GETUSER", "eve")
		if n := strings.Count(list, "%R~news "); n != 1 {
			t.Errorf("node %d: redis-cli has the selector %d times: %q", node, n, list)
		}
	}
	reads, writes := as()
	for what, err := range map[string]error{"reads news": reads("news"), "writes mail": writes("mail")} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"reads mail": reads("mail"), "writes news": writes("news"), "reads other": reads("other"), "writes mailbox": writes("mailbox"),
	} {
		if !errors.Is(err, driver.ErrDenied) {
			t.Errorf("%s: got %v, want ErrDenied", what, err)
		}
	}
	for _, r := range []driver.AccessRule{rule("mail", "write"), rule("news", "write"), rule("*", "all")} {
		gone, err := admin.Revoke(ctx, []driver.AccessRule{r})
		if want := r.Name == "mail"; err != nil || (len(gone) == 1) != want {
			t.Errorf("revoke %+v: got %+v, %v", r, gone, err)
		}
	}
	if d := cmp.Diff([]driver.AccessRule{rule("news", "read")}, of(), cmpopts.IgnoreFields(driver.AccessRule{}, "Native")); d != "" {
		t.Errorf("after revoke (-want +got):\n%s", d)
	}
	reads, writes = as()
	if err := writes("mail"); !errors.Is(err, driver.ErrDenied) {
		t.Errorf("writes mail: got %v, want ErrDenied", err)
	}
	if err := reads("news"); err != nil {
		t.Errorf("reads news: %v", err)
	}

	// All of it, by a prefix and a group, and the cluster.
	prefix := rule("ma", "all")
	prefix.Prefix = true
	cluster := driver.AccessRule{User: "eve", Kind: "cluster", Name: "*", Operation: "describe"}
	grant(prefix, cluster)
	if got := of(); len(got) != 3 || got[1].Name != "ma" || !got[1].Prefix || got[1].Operation != "all" || got[2].Kind != "cluster" || got[2].Operation != "describe" {
		t.Errorf("got %+v", got)
	}
	eve := open(t, s.URL(), Options{User: "eve", Password: "x"})
	k, err := eve.Consumer(ctx, driver.ConsumerConfig{Streams: []string{"mail"}, Group: "g", Start: driver.Earliest})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Fetch(ctx, nil); err != nil || len(got) == 0 {
		t.Errorf("with a group: got %v, %v", got, err)
	}
	if err := k.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := eve.CreateStream(ctx, driver.StreamSpec{Name: "made", Shards: 2}); err != nil {
		t.Errorf("create: %v", err)
	}
	if n, err := eve.Nodes(ctx); err != nil || len(n) == 0 || n[0].Err != nil {
		t.Errorf("nodes as eve: %+v, %v", n, err)
	}
	if _, err := eve.Rules(ctx); !errors.Is(err, driver.ErrDenied) || !strings.Contains(err.Error(), "+acl") {
		t.Errorf("rules as eve: got %v, want ErrDenied that says what to allow", err)
	}
	if gone, err := admin.Revoke(ctx, []driver.AccessRule{prefix, cluster}); err != nil || len(gone) != 2 {
		t.Errorf("revoke: got %+v, %v", gone, err)
	}

	// What an administrator has written himself.
	native := driver.AccessRule{User: "eve", Native: "~x ~yy* +@all -@dangerous (%R~z +@read)"}
	grant(native)
	write := rule("x", "write")
	gone, err := admin.Revoke(ctx, []driver.AccessRule{write, rule("z", "read"), rule("y", "read")})
	if d := cmp.Diff([]driver.AccessRule{write, rule("z", "read")}, gone); d != "" || err != nil {
		t.Errorf("%v; revoked (-want +got):\n%s", err, d)
	}
	var got []string
	for _, r := range of() {
		got = append(got, fmt.Sprintf("%s %v %s", r.Name, r.Prefix, r.Operation))
	}
	if d := cmp.Diff([]string{"x false read", "yy true all", "news false read"}, got); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}

	everybody, host, deny, group := rule("x", "read"), rule("x", "read"), rule("x", "read"), rule("x", "read")
	everybody.User, host.Host, deny.Deny, group.Kind = "*", "10.0.0.1", true, "group"
	for _, r := range []driver.AccessRule{everybody, host, deny, group} {
		if err := admin.Grant(ctx, []driver.AccessRule{r}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%+v: got %v, want ErrUnsupported", r, err)
		}
	}
	stranger := rule("x", "read")
	stranger.User = "stranger"
	if err := admin.Grant(ctx, []driver.AccessRule{stranger}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("stranger: got %v, want ErrNotFound", err)
	}
	if err := admin.Grant(ctx, []driver.AccessRule{rule("x", "fly")}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("fly: got %v, want ErrInvalid", err)
	}
	if err := admin.DeleteUser(ctx, "eve"); err != nil {
		t.Error(err)
	}
}

package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// guarded is a backend with two users, one rule and one node, which takes
// everything and does nothing.
type guarded struct{ driver.Driver }

func (guarded) Rules(context.Context) ([]driver.AccessRule, error) {
	return []driver.AccessRule{{User: "alice", Kind: "stream", Name: "news", Operation: "read"}}, nil
}
func (guarded) Grant(context.Context, []driver.AccessRule) error { return nil }
func (g guarded) Revoke(ctx context.Context, r []driver.AccessRule) ([]driver.AccessRule, error) {
	return g.Rules(ctx)
}
func (guarded) Users(context.Context) ([]driver.UserInfo, error) {
	return []driver.UserInfo{{Name: "alice"}, {Name: "bob"}}, nil
}
func (guarded) SetUser(context.Context, driver.UserSpec) error { return nil }
func (guarded) DeleteUser(context.Context, string) error       { return nil }
func (guarded) Nodes(context.Context) ([]driver.NodeInfo, error) {
	return []driver.NodeInfo{{ID: "1"}}, nil
}
func (guarded) NodeConfig(context.Context, string) ([]driver.ConfigEntry, error) {
	return []driver.ConfigEntry{{Name: "a.b", Value: "canary", Secret: true}, {Name: "threads", Value: "1"}}, nil
}
func (guarded) SetNodeConfig(context.Context, string, map[string]*string) error { return nil }
func (guarded) LogDirs(context.Context, string) ([]driver.LogDir, error)        { return nil, nil }

func openGuarded(t *testing.T) *admin.Client {
	s := ss.New(guarded{memory.NewStore().Driver(memory.Options{})}, ss.Options{})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return admin.New(s)
}

// No plan shows a secret, neither as text nor as JSON.
func TestPlansShowNoSecret(t *testing.T) {
	c := openGuarded(t)
	for _, ch := range []admin.Change{
		admin.SetUser{UserSpec: admin.UserSpec{Name: "alice", Password: "canary", Native: []string{">canary", "<canary", "#canary", "!canary", "~news"}}},
		admin.SetNodeConfig{Node: "", Set: map[string]*string{"requirepass": new("canary"), "ssl.key.password": new("canary")}},
		admin.SetNodeConfig{Node: "1", Set: map[string]*string{"a.b": new("canary")}},
	} {
		p, err := c.Plan(t.Context(), ch)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if text := p.String() + string(b); strings.Contains(text, "canary") {
			t.Errorf("%s: %s", ch.Kind(), text)
		}
	}
}

// What takes something from somebody is asked for.
func TestAccessThatIsTakenIsDestructive(t *testing.T) {
	c := openGuarded(t)
	deny := admin.AccessRule{User: "alice", Kind: "stream", Name: "news", Operation: "read", Deny: true}
	allow := deny
	allow.Deny = false
	for _, test := range []struct {
		ch   admin.Change
		want bool
	}{
		{admin.SetUser{UserSpec: admin.UserSpec{Name: "alice", Native: []string{"off"}}}, true},
		{admin.SetUser{UserSpec: admin.UserSpec{Name: "carol", Password: "x"}}, false},
		{admin.Grant{Rules: []admin.AccessRule{allow}}, false},
		{admin.Grant{Rules: []admin.AccessRule{allow, deny}}, true},
		{admin.Revoke{Rules: []admin.AccessRule{allow}}, true},
		{admin.DeleteUser{Name: "alice"}, true},
	} {
		p, err := c.Plan(t.Context(), test.ch)
		if err != nil || p.Destructive != test.want {
			t.Errorf("%+v: destructive %v, %v, want %v", test.ch, p.Destructive, err, test.want)
		}
	}
}

// A rule that was not there was not revoked.
func TestRevokeSaysWhatWasNotThere(t *testing.T) {
	c := openGuarded(t)
	there := admin.AccessRule{User: "alice", Kind: "stream", Name: "news", Operation: "READ"}
	other := there
	other.Name = "others"
	p, err := c.Apply(t.Context(), admin.Revoke{Rules: []admin.AccessRule{there, other}})
	var partial *admin.PartialError
	if !errors.As(err, &partial) || len(partial.Failures) != 1 || !errors.Is(err, ss.ErrNotFound) {
		t.Errorf("error %v, want one of two that is not found", err)
	}
	if !p.Steps[0].Done || p.Steps[1].Done {
		t.Errorf("steps %+v", p.Steps)
	}
}

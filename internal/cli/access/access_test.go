package access

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = driver.Errorf(driver.ErrUnavailable, "", "node 3 is away")

// halved is a cluster of which one node is away; alone: all are.
type halved struct {
	driver.Driver
	alone bool
	set   []driver.UserSpec
}

func (h *halved) Open(context.Context, driver.URL) (driver.Driver, error) { return h, nil }

func (h *halved) Rules(context.Context) ([]driver.AccessRule, error) {
	if h.alone {
		return nil, errAway
	}
	return []driver.AccessRule{{User: "alice", Kind: "stream", Name: "news", Operation: "read"}}, errAway
}
func (h *halved) Users(context.Context) ([]driver.UserInfo, error) {
	if h.alone {
		return nil, errAway
	}
	return []driver.UserInfo{{Name: "alice", Enabled: true, Logins: []string{"nopass"}}}, errAway
}
func (h *halved) Grant(context.Context, []driver.AccessRule) error { return nil }
func (h *halved) Revoke(context.Context, []driver.AccessRule) ([]driver.AccessRule, error) {
	return nil, nil
}
func (h *halved) SetUser(_ context.Context, u driver.UserSpec) error {
	h.set = append(h.set, u)
	return errAway
}
func (h *halved) DeleteUser(context.Context, string) error { return nil }

// run runs a command on h.
func run(t *testing.T, h *halved, args ...string) (out string, err error) {
	h.Driver = memory.NewStore().Driver(memory.Options{})
	var stdout, stderr bytes.Buffer
	f := factory.New(&iostreams.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr}, ss.Registry{"halved": h})
	state := t.TempDir()
	f.Getenv = func(name string) string {
		return map[string]string{"XDG_STATE_HOME": state, "STREAMER_URI": "halved://"}[name]
	}
	cmd := &cobra.Command{Use: "sea", SilenceErrors: true, SilenceUsage: true}
	cmd.AddCommand(NewACL(f), NewUser(f))
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return stdout.String(), err
}

// What the nodes that answer know is listed, and the error says that it is not
// all; without any it is the only thing.
func TestListsOfACluster(t *testing.T) {
	for _, args := range [][]string{{"user", "ls"}, {"acl", "ls"}, {"acl", "ls", "alice"}, {"acl", "explain", "alice", "read", "news"}} {
		out, err := run(t, &halved{}, append(args, "-o", "json")...)
		if e := exit.From(err); e == nil || e.Code != exit.Partial || !errors.Is(err, errAway) || !strings.Contains(out, `"alice"`) {
			t.Errorf("%q: %v, printed %q; want what is known, and exit 1", args, err, out)
		}
		out, err = run(t, &halved{alone: true}, args...)
		if e := exit.From(err); e == nil || e.Code != exit.Connect || out != "" {
			t.Errorf("%q, all away: %v, printed %q; want exit 3", args, err, out)
		}
	}
	out, err := run(t, &halved{}, "acl", "explain", "bob", "read", "news")
	if e := exit.From(err); e == nil || e.Code != exit.Partial || !strings.Contains(err.Error(), "no rule allows it") || !strings.Contains(err.Error(), "node 3 is away") {
		t.Errorf("%v, printed %q; want that no rule is known, and of which node", err, out)
	}
}

// A user is made where that is possible, and the error says where not.
func TestChangesOnACluster(t *testing.T) {
	h := &halved{}
	if _, err := run(t, h, "user", "create", "bob", "--no-password"); !errors.Is(err, errAway) || len(h.set) != 1 {
		t.Errorf("%v, %d users were set", err, len(h.set))
	}
	if _, err := run(t, h, "user", "create", "alice", "--no-password"); exit.From(err) == nil || exit.From(err).Code != exit.Conflict {
		t.Errorf("a user that is there: %v, want exit 6", err)
	}
}

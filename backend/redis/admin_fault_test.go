package redis

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// problems are those of a cluster, as words and items.
func problems(t *testing.T, c *client) (all []string, k driver.ClusterInfo) {
	t.Helper()
	k, err := c.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range k.Problems {
		if p.Detail == "" || strings.Contains(p.Detail, "\n") {
			t.Errorf("%+v: want one line of detail", p)
		}
		all = append(all, p.What+" "+p.Item)
	}
	return all, k
}

func hasProblem(all []string, what, item string) bool {
	for _, p := range all {
		if p == what+" "+item {
			return true
		}
	}
	return false
}

func TestAdministrationOfAClusterWithHoles(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{Directives: []string{"cluster-require-full-coverage no"}})
	c := open(t, s.URL(), Options{})
	for i := range 30 {
		run(t, c, "XADD", "s"+strconv.Itoa(i), "1-0", "msg", "x")
	}
	master, replica := s.Call(t, 1, "CLUSTER", "MYID"), s.Call(t, 4, "CLUSTER", "MYID")
	s.Kill(4)
	s.Kill(1)
	names, failed := 0, error(nil)
	for name, err := range c.StreamNames(t.Context()) {
		if failed != nil {
			t.Error("something comes after the error")
		}
		if failed = err; err == nil && name != "" {
			names++
		}
	}
	if !errors.Is(failed, driver.ErrUnavailable) || names == 0 || names == 30 {
		t.Errorf("%d names, %v; want those of two masters, and ErrUnavailable", names, failed)
	}
	until(t, "the cluster takes the master for failed", func() bool {
		all, k := problems(t, c)
		return k.Nodes == 4 && hasProblem(all, "slots-uncovered", "0-5460") && hasProblem(all, "node-down", master) && hasProblem(all, "node-down", replica)
	})
	nodes, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if down := n.ID == master || n.ID == replica; n.Up == down || (n.Err != nil) != down {
			t.Errorf("got %+v", n)
		}
	}
	users, err := c.Users(t.Context())
	if len(users) != 2 || !errors.Is(err, driver.ErrUnavailable) || !strings.Contains(err.Error(), "users are not known on 2 of 6 nodes: ") {
		t.Errorf("users: got %+v, %v; want default and redistest, and an error about two nodes", users, err)
	}
	if rules, err := c.Rules(t.Context()); len(rules) == 0 || !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("rules: got %+v, %v; want those of default, and an error", rules, err)
	}
	err = c.SetUser(t.Context(), driver.UserSpec{Name: "ann", Password: "x"})
	var some *driver.PartialError
	if !errors.Is(err, driver.ErrUnavailable) || !errors.As(err, &some) || len(some.Errs) != 6 || !strings.Contains(err.Error(), "not done on 2 of 6 nodes: ") {
		t.Errorf("a user: got %v, want an error about two nodes of six", err)
	}
	v := "5"
	for _, n := range nodes {
		down := n.ID == master || n.ID == replica
		if err := c.SetNodeConfig(t.Context(), n.ID, map[string]*string{"maxmemory-samples": &v}); errors.Is(err, driver.ErrUnavailable) != down || err == nil == down {
			t.Errorf("settings of %+v: %v", n, err)
		}
	}
	if got := s.Call(t, 2, "CONFIG", "GET", "maxmemory-samples"); !strings.HasSuffix(got, "\n5") {
		t.Errorf("the others were not set: %q", got)
	}
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	until(t, "a replica is away", func() bool { // a master without one is no problem by itself
		all, _ := problems(t, c)
		return len(all) == 1 && hasProblem(all, "node-down", replica)
	})
}

func TestAdministrationBehindSentinelsWithoutQuorum(t *testing.T) {
	t.Parallel()
	s := redistest.SentinelForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Kill(2)
	s.Kill(4)
	s.Kill(5)
	until(t, "there is no quorum", func() bool {
		all, k := problems(t, c)
		return k.Nodes == 3 && hasProblem(all, "no-quorum", redistest.MasterName) && hasProblem(all, "node-down", s.Addr(2)) && hasProblem(all, "node-down", s.Addr(5))
	})
	s.Kill(1) // and so nobody makes another one the master
	until(t, "the master is away", func() bool {
		all, _ := problems(t, c)
		return hasProblem(all, "node-down", s.Addr(1))
	})
}

// TestAdministrationOfARentedServer is about a server whose provider keeps
// CONFIG and ACL to himself, and that is not well.
func TestAdministrationOfARentedServer(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{
		Users:      map[string]string{"little": "on >x ~* +@stream +@connection +exists +scan -client|list"},
		Directives: []string{"rename-command ACL \"\"", "rename-command CONFIG \"\"", "maxmemory 4mb", "maxmemory-policy noeviction", "save 3600 1", "stop-writes-on-bgsave-error no"},
	})
	c := open(t, s.URL(), Options{})
	ctx := t.Context()
	run(t, c, "XADD", "s", "1-0", "msg", strings.Repeat("x", 100))
	_, configErr := c.NodeConfig(ctx, s.Addr(1))
	_, usersErr := c.Users(ctx)
	_, rulesErr := c.Rules(ctx)
	v := "5"
	for what, err := range map[string]error{
		"CONFIG": configErr, "CONFIG ": c.SetNodeConfig(ctx, s.Addr(1), map[string]*string{"maxmemory-samples": &v}),
		"ACL": usersErr, "ACL ": rulesErr, "ACL  ": c.SetUser(ctx, driver.UserSpec{Name: "u", Password: "x"}),
	} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), strings.TrimSpace(what)+" is not there") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line that says what is not there", what, err)
		}
	}
	dirs, err := c.LogDirs(ctx, "")
	if err != nil || len(dirs) != 2 || dirs[0].Err != nil || dirs[0].Total != 4<<20 || dirs[1].Err == nil {
		t.Errorf("folders: got %+v, %v; want the memory, and why the other is not known", dirs, err)
	}
	nodes, err := c.Nodes(ctx)
	if err != nil || len(nodes) != 1 || nodes[0].Err != nil || !nodes[0].Up || nodes[0].Bytes <= 0 {
		t.Errorf("nodes: got %+v, %v", nodes, err)
	}

	// Who may do little sees what he may.
	little := open(t, s.URL(), Options{User: "little", Password: "x"})
	infos, err := little.DescribeStreams(ctx, []string{"s"}, driver.DetailBounds|driver.DetailBytes|driver.DetailReplicas)
	if err != nil {
		t.Fatal(err)
	}
	if i := infos[0]; !errors.Is(i.Err, driver.ErrDenied) || i.Shards[0].Messages.N != 1 || i.Shards[0].Bytes != -1 || i.Shards[0].Leader != s.Addr(1) {
		t.Errorf("got %+v: want the messages, and why the bytes are not known", i)
	}
	if got := streamNames(t, little); len(got) != 1 {
		t.Errorf("names: got %q", got)
	}
	run(t, c, "XGROUP CREATE", "s", "g", "0")
	if g := describeGroup(t, little, "g"); g.Err != nil || len(g.Positions) != 1 {
		t.Errorf("group: got %+v", g)
	}
	nodes, err = little.Nodes(ctx)
	if err != nil || len(nodes) != 1 || !nodes[0].Up || !errors.Is(nodes[0].Err, driver.ErrDenied) || !strings.Contains(fmt.Sprint(nodes[0].Err), "'info'") {
		t.Errorf("nodes: got %+v, %v; want one that is up and does not say more", nodes, err)
	}
	if all, _ := problems(t, little); len(all) != 1 || !hasProblem(all, "failing", s.Addr(1)) {
		t.Errorf("problems: got %q", all)
	}

	if all, _ := problems(t, c); len(all) != 0 {
		t.Errorf("problems: got %q, want none", all)
	}
	for i := 0; ; i++ {
		if _, err := s.Do(1, "SET", "fill"+strconv.Itoa(i), strings.Repeat("x", 50_000)); err != nil {
			break // it is full
		}
	}
	if err := os.RemoveAll(filepath.Join(s.Dir(), "node-1")); err != nil {
		t.Fatal(err)
	}
	s.Call(t, 1, "BGSAVE")
	until(t, "it is full and cannot save", func() bool {
		all, _ := problems(t, c)
		return len(all) == 2 && hasProblem(all, "memory-full", s.Addr(1)) && hasProblem(all, "persistence", s.Addr(1))
	})
}

package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func nodes(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{})
	got, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != s.Len() {
		t.Fatalf("%d nodes, want %d: %+v", len(got), s.Len(), got)
	}
	byAddr := map[string]driver.NodeInfo{}
	for i, n := range got {
		byAddr[n.Addr] = n
		if i > 0 && got[i-1].ID >= n.ID {
			t.Errorf("%q comes before %q", got[i-1].ID, n.ID)
		}
	}
	var leads int64
	for node := 1; node <= s.Len(); node++ {
		n := byAddr[s.Addr(node)]
		id, role, of := s.Addr(node), "master", ""
		switch {
		case kind == "cluster":
			id = s.Call(t, node, "CLUSTER", "MYID")
			if node > 3 {
				role, of = "replica", s.Call(t, node-3, "CLUSTER", "MYID")
			}
			leads += n.Leads
		case node > 3:
			role = "sentinel"
		case node > 1:
			role, of = "replica", s.Addr(1)
		}
		if n.ID != id || n.Of != of || !n.Up || n.Err != nil || !strings.Contains(cli(t, s, node, "INFO", "server"), "redis_version:"+n.Version+"\r") {
			t.Errorf("node %d: got %+v, want id %s, a replica of %q", node, n, id, of)
		}
		if d := cmp.Diff([]string{role}, n.Roles); d != "" {
			t.Errorf("node %d: roles (-want +got):\n%s", node, d)
		}
		if (n.Bytes > 0) != (role != "sentinel") {
			t.Errorf("node %d: %d bytes", node, n.Bytes)
		}
		if kind == "cluster" && n.Holds != max(n.Leads, byID(got, of).Leads) {
			t.Errorf("node %d: leads %d and holds %d slots", node, n.Leads, n.Holds)
		}
	}
	if kind == "cluster" && leads != 1<<14 {
		t.Errorf("all lead %d slots", leads)
	}
	dirs, err := c.LogDirs(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	data := s.Len()
	if kind == "sentinel" {
		data = 3
	}
	if len(dirs) != 2*data { // memory, and the append-only file
		t.Fatalf("folders: got %+v", dirs)
	}
	for _, d := range dirs {
		if d.Err != nil || d.Path == "memory" && (d.Bytes <= 0 || d.Total < d.Bytes || d.Free != d.Total-d.Bytes) ||
			d.Path != "memory" && (!strings.HasPrefix(d.Path, s.Dir()) || d.Bytes < 0) {
			t.Errorf("folder: got %+v", d)
		}
	}
	if _, err := c.LogDirs(t.Context(), "nobody"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("nobody's: got %v, want ErrNotFound", err)
	}
}

func byID(all []driver.NodeInfo, id string) driver.NodeInfo {
	for _, n := range all {
		if n.ID == id {
			return n
		}
	}
	return driver.NodeInfo{}
}

func nodeConfig(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{})
	ctx := t.Context()
	list, err := c.Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	find := func(all []driver.ConfigEntry, name string) driver.ConfigEntry {
		for _, e := range all {
			if e.Name == name {
				return e
			}
		}
		t.Errorf("no setting %s", name)
		return driver.ConfigEntry{}
	}
	value := func(s string) *string { return &s }
	for node := 1; node <= dataNodes(s, kind); node++ {
		if err := c.SetNodeConfig(ctx, s.Addr(node), map[string]*string{"maxmemory-samples": value("7"), "lfu-decay-time": value("3")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.NodeConfig(ctx, ""); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("settings that all nodes have in common: got %v, want ErrUnsupported", err)
	}
	for node := 1; node <= s.Len(); node++ {
		if kind == "sentinel" && node > 3 {
			all, err := c.NodeConfig(ctx, s.Addr(node))
			if e := find(all, "resolve-hostnames"); err != nil || e.Value != "no" || e.ReadOnly {
				t.Errorf("sentinel: got %+v, %v", e, err)
			}
			if e := find(all, "sentinel-pass"); !e.Secret || e.Value != "" {
				t.Errorf("sentinel: got %+v", e)
			}
			continue
		}
		all, err := c.NodeConfig(ctx, s.Addr(node)) // an address names a node, too
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(cli(t, s, node, "CONFIG", "GET", "*"), "\n")/2 + 1; len(all) != n && len(all) != n-1 { // an empty last value
			t.Errorf("%d settings, redis-cli has %d", len(all), n)
		}
		if e := find(all, "maxmemory-samples"); e.Value != "7" || e.ReadOnly || e.Secret || cli(t, s, node, "CONFIG", "GET", "maxmemory-samples") != "maxmemory-samples\n7" {
			t.Errorf("node %d: got %+v", node, e)
		}
		if e := find(all, "masterauth"); !e.Secret || e.Value != "" {
			t.Errorf("masterauth: got %+v", e)
		}
		if e := find(all, "databases"); !e.ReadOnly {
			t.Errorf("databases: got %+v", e)
		}
	}
	one := list[0].ID
	if kind == "sentinel" {
		one = s.Addr(2)
	}
	if err := c.SetNodeConfig(ctx, one, map[string]*string{"maxmemory-samples": value("9")}); err != nil {
		t.Fatal(err)
	}
	all, err := c.NodeConfig(ctx, one)
	if e := find(all, "maxmemory-samples"); err != nil || e.Value != "9" {
		t.Errorf("got %+v, %v", e, err)
	}
	if err := c.SetNodeConfig(ctx, one, map[string]*string{"maxmemory-samples": nil}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a default: got %v, want ErrUnsupported", err)
	}
	if err := c.SetNodeConfig(ctx, one, map[string]*string{"requirepass": value(strings.Repeat("sesame", 100)), "nonsense": value("x")}); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("nonsense: got %v, want an error without the password", err)
	}
	if err := c.SetNodeConfig(ctx, "nobody", nil); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("nobody: got %v, want ErrNotFound", err)
	}
	if _, err := c.NodeConfig(ctx, "nobody"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("nobody: got %v, want ErrNotFound", err)
	}
}

func clusterInfo(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{})
	k, err := c.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	version := ""
	for line := range strings.Lines(cli(t, s, 1, "INFO", "server")) {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			version = strings.TrimSpace(v)
		}
	}
	if k.Kind != kind || k.Nodes != s.Len() || k.Version != version || len(k.Problems) != 0 {
		t.Errorf("got %+v", k)
	}
	if kind == "cluster" && (k.Features["slots"] != "16384" || k.Features["slots moving"] != "0") {
		t.Errorf("features: got %v", k.Features)
	}
	_, err = c.ElectLeaders(t.Context(), nil, false)
	for _, err := range []error{err, c.Reassign(t.Context(), nil)} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), "redis-cli --cluster") && !strings.Contains(fmt.Sprint(err), "CLUSTER FAILOVER") {
			t.Errorf("got %v, want ErrUnsupported that names what to use", err)
		}
	}
}

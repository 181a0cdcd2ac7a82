package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

var errUnsupported = errors.ErrUnsupported

// Nodes are the servers of the cluster, or the one there is, by ID.
func (c *Client) Nodes(ctx context.Context) ([]NodeInfo, error) {
	d, err := c.nodes()
	if err != nil {
		return nil, err
	}
	return d.Nodes(ctx)
}

// NodeConfig are the settings of one node, by name.
func (c *Client) NodeConfig(ctx context.Context, id string) ([]ConfigEntry, error) {
	d, err := c.nodes()
	if err != nil {
		return nil, err
	}
	return d.NodeConfig(ctx, id)
}

// LogDirs are the folders in which a node keeps data; with id "" those of all
// nodes.
func (c *Client) LogDirs(ctx context.Context, id string) ([]LogDir, error) {
	d, err := c.nodes()
	if err != nil {
		return nil, err
	}
	return d.LogDirs(ctx, id)
}

// Cluster describes the cluster and what is not well with it.
func (c *Client) Cluster(ctx context.Context) (ClusterInfo, error) {
	d, err := c.cluster()
	if err != nil {
		return ClusterInfo{}, err
	}
	return d.Cluster(ctx)
}

// Reassignments are those that are under way.
func (c *Client) Reassignments(ctx context.Context) ([]Reassignment, error) {
	d, err := c.cluster()
	if err != nil {
		return nil, err
	}
	return d.Reassignments(ctx)
}

// Rules are what users may do, and may not. Where some nodes could not be asked
// it is the rules of the others, and an error.
func (c *Client) Rules(ctx context.Context) ([]AccessRule, error) {
	d, err := c.access()
	if err != nil {
		return nil, err
	}
	return d.Rules(ctx)
}

// Users are the users that the server itself knows. Where some nodes could not be
// asked it is those of the others, and an error.
func (c *Client) Users(ctx context.Context) ([]UserInfo, error) {
	d, err := c.access()
	if err != nil {
		return nil, err
	}
	return d.Users(ctx)
}

// SetNodeConfig is the change of settings of a node, or with Node "" of all: those
// that the cluster keeps for all nodes, or where there are none, as on Redis, those
// of each node that has data. A nil value is the default.
type SetNodeConfig struct {
	Node string
	Set  map[string]*string
}

// Kind is "set-node-config".
func (SetNodeConfig) Kind() string { return "set-node-config" }

func (ch SetNodeConfig) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.nodes()
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: nodeName(ch.Node), Destructive: true}
	was, err := d.NodeConfig(ctx, ch.Node)
	if ch.Node == "" && errors.Is(err, errUnsupported) {
		return p, ch.eachNode(ctx, d, p)
	}
	if err != nil {
		return nil, err
	}
	p.Steps = ch.steps(ch.Node, was)
	p.apply = once(func(ctx context.Context) error { return d.SetNodeConfig(ctx, ch.Node, ch.Set) })
	return p, nil
}

func nodeName(id string) string {
	if id == "" {
		return "all nodes"
	}
	return "node " + id
}

// eachNode plans the change of each node for itself. One that is down is tried,
// and fails.
func (ch SetNodeConfig) eachNode(ctx context.Context, d driver.NodeAdmin, p *Plan) error {
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return err
	}
	nodes = slices.DeleteFunc(nodes, func(n NodeInfo) bool { return slices.Contains(n.Roles, "sentinel") })
	for _, n := range nodes {
		var was []ConfigEntry
		if n.Up {
			was, _ = d.NodeConfig(ctx, n.ID) // how it is is not known then
		}
		p.Steps = append(p.Steps, ch.steps(n.ID, was)...)
	}
	p.apply = func(ctx context.Context, p *Plan) error {
		failed := false
		for i, n := range nodes {
			err := driver.ErrNotTried
			if !failed || ctx.Err() == nil {
				err = d.SetNodeConfig(ctx, n.ID, ch.Set)
				failed = failed || err != nil
			}
			end(p.Steps[i*len(ch.Set):(i+1)*len(ch.Set)], err)
		}
		return p.result()
	}
	return nil
}

// steps are those of one node whose settings were so.
func (ch SetNodeConfig) steps(id string, was []ConfigEntry) (steps []Step) {
	for _, name := range slices.Sorted(keys(ch.Set)) {
		s := Step{Item: nodeName(id), Action: "set", What: name, To: "default"}
		secret := secretName(name)
		if i := slices.IndexFunc(was, func(e ConfigEntry) bool { return e.Name == name }); i >= 0 {
			s.From, secret = was[i].Value, secret || was[i].Secret
		}
		if v := ch.Set[name]; v != nil {
			s.To = *v
		}
		if secret {
			s.From, s.To = "", "(secret)"
		}
		steps = append(steps, s)
	}
	return steps
}

// secretName reports whether a setting of this name may hold a secret, where
// nobody says so: all nodes are not asked what each takes for one.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"pass", "secret", "auth", "token", "credential", "jaas", "key"}, func(part string) bool { return strings.Contains(name, part) })
}

// ElectLeaders is the change that makes preferred replicas leaders again.
type ElectLeaders struct {
	Shards  []ss.Shard // empty is all whose leader is another one
	Unclean bool       // take a replica that is not in sync where there is no other: messages may be lost
}

// Kind is "elect-leaders".
func (ElectLeaders) Kind() string { return "elect-leaders" }

func (ch ElectLeaders) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.cluster()
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: "cluster", Destructive: ch.Unclean}
	detail := ""
	if ch.Unclean {
		detail = "unclean: messages may be lost"
	}
	for _, sh := range ch.Shards {
		p.Steps = append(p.Steps, Step{Item: sh.String(), Action: "elect", To: "preferred leader", Detail: detail})
	}
	if len(ch.Shards) == 0 {
		p.Steps = []Step{{Item: "every shard whose leader is not the preferred one", Action: "elect", To: "preferred leader", Detail: detail}}
	}
	p.apply = func(ctx context.Context, p *Plan) error {
		changed, err := d.ElectLeaders(ctx, ch.Shards, ch.Unclean)
		if len(ch.Shards) == 0 {
			p.electedAll(len(changed), err)
			return p.result()
		}
		end(p.Steps, err)
		for i := range p.Steps {
			if p.Steps[i].Done && !slices.Contains(changed, ch.Shards[i]) {
				p.Steps[i].Detail = "it led already"
			}
		}
		return p.result()
	}
	return p, nil
}

// electedAll ends an election for all shards. Those that failed are known only
// now, and get a step each.
func (p *Plan) electedAll(changed int, err error) {
	all := &p.Steps[0]
	all.Detail = fmt.Sprintf("%d leaders have changed", changed)
	var some *driver.PartialError
	if !errors.As(err, &some) {
		all.end(err)
		return
	}
	all.end(nil)
	for _, err := range some.Unwrap() {
		s := Step{Item: "a shard", Action: all.Action, To: all.To}
		var e *driver.Error
		if errors.As(err, &e) {
			s.Item = e.Shard.String()
		}
		s.end(err)
		p.Steps = append(p.Steps, s)
	}
}

// Reassign is the change that has shards held by other nodes. Empty Replicas
// cancel what is under way.
type Reassign struct{ To []Reassignment }

// Kind is "reassign".
func (Reassign) Kind() string { return "reassign" }

func (ch Reassign) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.cluster()
	if err != nil {
		return nil, err
	}
	seen := make(map[string]struct{})
	for _, r := range ch.To {
		seen[r.Stream] = struct{}{}
	}
	infos, err := c.Describe(ctx, DetailReplicas|DetailBytes, slices.Sorted(keys(seen))...)
	if err != nil {
		return nil, err
	}
	now := make(map[ss.Shard]ShardInfo)
	for _, in := range infos {
		for _, sh := range in.Shards {
			now[ss.Shard{Stream: in.Name, Index: sh.Index}] = sh
		}
	}
	p := &Plan{Target: "cluster", Destructive: true}
	for _, r := range ch.To {
		s := Step{Item: r.Shard.String(), Action: "reassign", From: strings.Join(now[r.Shard].Replicas, ","), To: strings.Join(r.Replicas, ",")}
		if len(r.Replicas) == 0 {
			s.Action, s.To = "cancel", ""
		} else if b := now[r.Shard].Bytes; b > 0 {
			added := 0
			for _, n := range r.Replicas {
				if !slices.Contains(now[r.Shard].Replicas, n) {
					added++
				}
			}
			s.Detail = FormatBytes(b*int64(added)) + " to copy"
		}
		p.Steps = append(p.Steps, s)
	}
	p.apply = once(func(ctx context.Context) error { return d.Reassign(ctx, ch.To) })
	return p, nil
}

// Grant is the change that lets users do things, or with Deny forbids them.
type Grant struct{ Rules []AccessRule }

// Kind is "grant".
func (Grant) Kind() string { return "grant" }

func (ch Grant) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.access()
	if err != nil {
		return nil, err
	}
	denies := slices.ContainsFunc(ch.Rules, func(r AccessRule) bool { return r.Deny })
	p := &Plan{Target: "access rules", Destructive: denies, Steps: ruleSteps(ch.Rules, "grant")}
	p.apply = once(func(ctx context.Context) error { return d.Grant(ctx, ch.Rules) })
	return p, nil
}

// Revoke is the change that takes rules away.
type Revoke struct{ Rules []AccessRule }

// Kind is "revoke".
func (Revoke) Kind() string { return "revoke" }

func (ch Revoke) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.access()
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: "access rules", Destructive: true, Steps: ruleSteps(ch.Rules, "revoke")}
	p.apply = func(ctx context.Context, p *Plan) error {
		gone, err := d.Revoke(ctx, ch.Rules)
		end(p.Steps, err)
		for i := range p.Steps {
			if s := &p.Steps[i]; s.Done && !slices.ContainsFunc(gone, func(r AccessRule) bool { return sameRule(r, ch.Rules[i]) }) {
				s.end(driver.Errorf(ss.ErrNotFound, "revoke", "there is no such rule"))
			}
		}
		return p.result()
	}
	return p, nil
}

// sameRule reports whether a is b, in the words that the backend gave back: it
// may spell operations and the cluster's name in its own way.
func sameRule(a, b AccessRule) bool {
	return a.User == b.User && a.Kind == b.Kind && a.Prefix == b.Prefix && a.Deny == b.Deny &&
		strings.EqualFold(a.Operation, b.Operation) && (a.Name == b.Name || a.Kind == "cluster")
}

func ruleSteps(rules []AccessRule, action string) []Step {
	steps := make([]Step, len(rules))
	for i, r := range rules {
		steps[i] = Step{Item: r.User, Action: action, To: RuleText(r)}
	}
	return steps
}

// RuleText is the rule in words, without the user: "read stream news*".
func RuleText(r AccessRule) string {
	text := r.Operation + " " + r.Kind
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Prefix {
		text += "*"
	}
	if r.Host != "" && r.Host != "*" {
		text += " from " + r.Host
	}
	if r.Deny {
		text = "not " + text
	}
	return text
}

// SetUser is the change that makes a user or changes one.
type SetUser struct{ UserSpec }

// Kind is "set-user".
func (SetUser) Kind() string { return "set-user" }

func (ch SetUser) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.access()
	if err != nil {
		return nil, err
	}
	var to []string
	if ch.Password != "" {
		to = append(to, strings.TrimSpace("a password "+ch.Mechanism))
	}
	if ch.NoPassword {
		to = append(to, "no password")
	}
	if ch.Disable {
		to = append(to, "disabled")
	}
	for _, w := range ch.UserSpec.Native {
		if w != "" && strings.ContainsRune("><#!", rune(w[0])) { // passwords, in the words of Redis
			w = w[:1] + "(secret)"
		}
		to = append(to, w)
	}
	users, err := d.Users(ctx)
	if err != nil && len(users) == 0 {
		return nil, err
	}
	// A new user takes nothing from anybody.
	changed := slices.ContainsFunc(users, func(u UserInfo) bool { return u.Name == ch.Name })
	p := &Plan{Target: ch.Name, Destructive: changed, Steps: []Step{{Item: ch.Name, Action: "set", What: "user", To: strings.Join(to, " ")}}}
	p.apply = once(func(ctx context.Context) error { return d.SetUser(ctx, ch.UserSpec) })
	return p, nil
}

// DeleteUser is the change that removes a user.
type DeleteUser struct{ Name string }

// Kind is "delete-user".
func (DeleteUser) Kind() string { return "delete-user" }

func (ch DeleteUser) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.access()
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: ch.Name, Destructive: true, Steps: []Step{{Item: ch.Name, Action: "delete", What: "user"}}}
	p.apply = once(func(ctx context.Context) error { return d.DeleteUser(ctx, ch.Name) })
	return p, nil
}

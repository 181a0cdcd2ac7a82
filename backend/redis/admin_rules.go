package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// What the operations of a rule are in commands. A selector has to allow all
// that a command touches, so that each rule brings what a client needs besides.
const (
	toConnect = " +exists +ping +role +@transaction +cluster|slots +cluster|shards"
	toRead    = "+xread +xrange +xrevrange +xlen +xinfo +xpending +type +memory|usage" + toConnect
	toDoAll   = "+@stream +unlink +del +type +memory|usage +eval +evalsha" + toConnect
)

// An operation is what a rule allows: the access to keys, and the commands.
type operation struct {
	read, write bool
	commands    string
}

// operations on streams. What works with a group, with units or with scripts
// reads and writes, and needs all.
var operations = map[string]operation{
	"read":     {true, false, toRead},
	"write":    {false, true, "+xadd" + toConnect},
	"all":      {true, true, toDoAll},
	"create":   {true, true, "+eval +xgroup|create +xgroup|destroy" + toConnect},
	"delete":   {false, true, "+unlink" + toConnect},
	"alter":    {false, true, "+xtrim +xsetid" + toConnect},
	"describe": {true, false, "+xinfo +xlen +type +memory|usage" + toConnect},
}

// clusterOperations need no keys.
var clusterOperations = map[string]string{
	"describe": "+info +role +ping +scan +config|get +client|list +cluster|info +cluster|nodes +cluster|slots +cluster|shards",
	"alter":    "+config|set +config|rewrite",
	"all":      "+@admin +@dangerous +ping",
}

// Rules are what the ACL allows in terms of streams and of the cluster: from
// the patterns of keys and the commands of a user, and of each of its
// selectors. What a pattern of commands means beside XRANGE, XADD, XGROUP
// CREATE, UNLINK, XTRIM and XINFO, and INFO and CONFIG, only Native tells, which
// holds the words of the ACL.
func (c *client) Rules(ctx context.Context) ([]driver.AccessRule, error) {
	all, _, err := c.users(ctx)
	var rules []driver.AccessRule
	for _, u := range all {
		for i := range u.sets {
			rules = append(rules, c.o.rulesOf(u.name, &u.sets[i], i > 0)...)
		}
	}
	return rules, err
}

// rulesOf are the rules that a set of permissions amounts to.
func (o *Options) rulesOf(user string, s *aclSet, selector bool) (rules []driver.AccessRule) {
	native := func(k ...aclKey) string {
		one := aclSet{keys: k, commands: s.commands}
		if selector {
			return one.selector()
		}
		return strings.Join(one.words(), " ")
	}
	add := func(kind, name string, prefix bool, native string, ops ...string) {
		for _, op := range ops {
			rules = append(rules, driver.AccessRule{User: user, Kind: kind, Name: name, Prefix: prefix, Operation: op, Native: native})
		}
	}
	for _, k := range s.keys {
		if o.covered(s.keys, k) {
			continue
		}
		name, prefix := o.nameOf(k.pattern)
		add("stream", name, prefix, native(k), s.onStreams(k)...)
	}
	if ops := s.onCluster(); len(ops) > 0 {
		add("cluster", "*", false, native(), ops...)
	}
	return rules
}

// onStreams are the operations that a set allows on the keys of a pattern. Who
// may read may describe.
func (s *aclSet) onStreams(k aclKey) (ops []string) {
	for _, op := range []struct {
		name, command string
		may           bool
	}{
		{"read", "xrange", k.read}, {"describe", "xinfo|stream", k.read}, {"write", "xadd", k.write},
		{"create", "xgroup|create", k.write}, {"alter", "xtrim", k.write}, {"delete", "unlink", k.write},
	} {
		if op.may && s.allows(op.command) && (op.name != "describe" || len(ops) == 0) {
			ops = append(ops, op.name)
		}
	}
	if len(ops) == 5 {
		return []string{"all"}
	}
	return ops
}

func (s *aclSet) onCluster() (ops []string) {
	if s.allows("info") && s.allows("config|get") {
		ops = append(ops, "describe")
	}
	if s.allows("config|set") {
		ops = append(ops, "alter")
	}
	if len(ops) == 2 && s.allows("acl|setuser") {
		return []string{"all"}
	}
	return ops
}

// nameOf is the stream, or how names begin, that a pattern is about; or the
// pattern itself, where it is something else.
func (o *Options) nameOf(pattern string) (name string, prefix bool) {
	if pattern == "*" {
		return "*", false
	}
	body, star := strings.CutSuffix(pattern, "*")
	star = star && !strings.HasSuffix(body, `\`)
	if !star {
		body = pattern
	}
	plain, ok := unglobbed(body)
	switch {
	case !ok:
		return pattern, false
	case star:
		if o.HashTag == "stream" {
			plain = strings.TrimPrefix(plain, "{")
		}
		return plain, true
	}
	if s, ok := o.bareOf(plain); ok {
		return s, false
	}
	return plain, false
}

// unglobbed undoes globbed. What matches more than one thing is not ok.
func unglobbed(pattern string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*', '?', '[', ']':
			return "", false
		case '\\':
			if i++; i == len(pattern) {
				return "", false
			}
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), true
}

// patterns are those of the keys that a rule is about: those of a stream are
// its bare key and its shards.
func (o *Options) patterns(r *driver.AccessRule) []string {
	switch {
	case r.Name == "*":
		return []string{"*"}
	case r.Prefix && o.HashTag == "stream":
		return []string{globbed("{"+r.Name) + "*"}
	case r.Prefix:
		return []string{globbed(r.Name) + "*"}
	}
	if _, _, one := cutShard(r.Name); one {
		return []string{globbed(o.bareKey(r.Name))}
	}
	before, after := o.around(r.Name)
	return []string{globbed(o.bareKey(r.Name)), globbed(before) + "[0-9]*" + globbed(after)}
}

// covered reports whether a pattern is that of the shards of a stream whose
// bare key is there too, with the same access.
func (o *Options) covered(keys []aclKey, k aclKey) bool {
	return slices.ContainsFunc(keys, func(bare aclKey) bool {
		name, prefix := o.nameOf(bare.pattern)
		if prefix || bare.read != k.read || bare.write != k.write || bare.pattern == k.pattern {
			return false
		}
		p := o.patterns(&driver.AccessRule{Name: name})
		return len(p) == 2 && p[0] == bare.pattern && p[1] == k.pattern
	})
}

// set is what a rule allows as permissions of their own.
func (o *Options) set(r *driver.AccessRule) (s aclSet, err error) {
	switch {
	case r.User == "" || r.User == "*":
		return s, unsupported("Redis has no rules for everybody: name a user; default is who does not log in by name")
	case r.Host != "" && r.Host != "*":
		return s, unsupported("Redis does not ask from where somebody comes: leave out host %q", r.Host)
	case r.Deny:
		return s, unsupported("Redis forbids what is not allowed: revoke what allows it, or give the rule in its own words")
	}
	switch r.Kind {
	case "stream":
		op, ok := operations[r.Operation]
		if strings.HasPrefix(r.Operation, "+") {
			op, ok = operation{true, true, r.Operation}, true
		}
		if !ok {
			return s, driver.Errorf(driver.ErrInvalid, "", "operation %q: read, write, create, delete, alter, describe, all or a word of the ACL such as +xdel is wanted", r.Operation)
		}
		if r.Name == "" || strings.ContainsAny(r.Name, " \t\r\n\x00") {
			return s, driver.Errorf(driver.ErrInvalid, "", "stream %q: the ACL takes no empty names, and none with spaces", r.Name)
		}
		for _, p := range o.patterns(r) {
			s.keys = append(s.keys, aclKey{op.read, op.write, p})
		}
		s.commands = strings.Fields(op.commands)
	case "cluster":
		commands, ok := clusterOperations[r.Operation]
		if strings.HasPrefix(r.Operation, "+") {
			commands, ok = r.Operation, true
		}
		if !ok {
			return s, driver.Errorf(driver.ErrInvalid, "", "operation %q on the cluster: describe, alter, all or a word of the ACL such as +info is wanted", r.Operation)
		}
		s.commands = strings.Fields(commands)
	case "group":
		return s, unsupported("groups of Redis are a part of their streams: allow all on the streams")
	default:
		return s, unsupported("Redis has no rules on a %s: allow the commands and keys by a user's native rules", r.Kind)
	}
	return s, nil
}

// Grant gives each rule to its user as a selector of its own, so that it widens
// nothing else; that needs Redis 7.0. A rule without an Operation is applied as
// its Native says. Names of streams become patterns of their keys: the bare key
// and name:[0-9]*.
func (c *client) Grant(ctx context.Context, rules []driver.AccessRule) error {
	all, top, err := c.known(ctx)
	if err != nil {
		return err
	}
	words := map[string][]string{}
	var order []string
	for i := range rules {
		r := &rules[i]
		has, known := userSets(all, r.User)
		var w []string
		if r.Operation == "" && r.Native != "" {
			w = aclWords(r.Native)
		} else {
			s, err := c.o.set(r)
			if err != nil {
				return driver.RefusedAt(len(rules), i, err)
			}
			if err := c.needSelectors(); err != nil {
				return err
			}
			if !slices.ContainsFunc(has, func(o aclSet) bool { return o.same(&s) }) {
				w = []string{s.selector()}
			}
		}
		if !known {
			return driver.RefusedAt(len(rules), i, c.noUser(r.User))
		}
		if words[r.User] == nil && len(w) > 0 {
			order = append(order, r.User)
		}
		words[r.User] = append(words[r.User], w...)
	}
	errs := make([]error, len(rules))
	for _, user := range order {
		err := c.setACL(ctx, top, user, words[user])
		for i := range rules {
			if rules[i].User == user {
				errs[i] = err
			}
		}
	}
	return driver.Partial(errs)
}

func (c *client) needSelectors() error {
	if c.server().version.less(version{7, 0}) {
		return unsupported("rules of their own need Redis 7.0, whose ACL has selectors: give the rules of the whole user in Redis's own words")
	}
	return nil
}

// userSets are the permissions of a user, and whether there is one.
func userSets(all []aclUser, name string) (sets []aclSet, known bool) {
	for _, u := range all {
		if u.name == name {
			sets, known = append(sets, u.sets...), true
		}
	}
	return sets, known
}

// aclWords are words of the ACL; a selector is one.
func aclWords(text string) (words []string) {
	open := false
	for _, w := range strings.Fields(text) {
		if open {
			words[len(words)-1] += " " + w
		} else {
			words = append(words, w)
		}
		open = (open || w[0] == '(') && !strings.HasSuffix(w, ")")
	}
	return words
}

func (c *client) setACL(ctx context.Context, top *topology, user string, words []string) error {
	var secrets []string
	for _, w := range words {
		if len(w) > 1 && strings.ContainsRune("><#!", rune(w[0])) {
			secrets = append(secrets, w[1:])
		}
	}
	return onEach(top.data(), notDone, func(s *server) error {
		_, err := c.acl(ctx, s, secrets, append([]string{"ACL", "SETUSER", user}, words...))
		return err
	})
}

// Revoke takes back what Grant gave: the selector. Where there is none, reading,
// writing or all of it is taken from the patterns of keys that are exactly
// those of the rule, in the user's own permissions and in selectors; other
// operations cannot be taken from what allows more. A rule for less than a pattern
// allows, such as for one stream of *, is not there. What else is there is
// written anew as it was read: of two administrators at the same moment one
// loses.
func (c *client) Revoke(ctx context.Context, rules []driver.AccessRule) (gone []driver.AccessRule, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	errs := make([]error, len(rules))
	for i := range rules {
		var did bool
		if did, errs[i] = c.revoke(ctx, &rules[i]); did {
			gone = append(gone, rules[i])
		}
	}
	return gone, driver.Partial(errs)
}

// revoke takes one rule back, and says whether it was there.
func (c *client) revoke(ctx context.Context, r *driver.AccessRule) (bool, error) {
	s, err := c.o.set(r)
	if err != nil {
		return false, err
	}
	all, top, err := c.known(ctx)
	if err != nil {
		return false, err
	}
	if err := c.needSelectors(); err != nil {
		return false, err
	}
	at := slices.IndexFunc(all, func(u aclUser) bool { return u.name == r.User })
	if at < 0 {
		return false, c.noUser(r.User)
	}
	words := all[at].without(&s, r.Operation, append(c.o.patterns(r), r.Name))
	if len(words) == 0 {
		return false, nil
	}
	err = c.setACL(ctx, top, r.User, words)
	return err == nil, err
}

// without are the words that take a set away from a user, or the access to
// patterns; none where there is nothing to take away.
func (u *aclUser) without(s *aclSet, op string, patterns []string) []string {
	root, selectors := u.sets[0], slices.Clone(u.sets[1:])
	if i := slices.IndexFunc(selectors, func(o aclSet) bool { return o.same(s) }); i >= 0 {
		return selectorWords(slices.Delete(selectors, i, i+1))
	}
	if len(s.keys) == 0 || op != "read" && op != "write" && op != "all" {
		return nil
	}
	var words []string
	if keys, less := stripped(root.keys, op, patterns); less {
		words = append(words, "resetkeys")
		for _, k := range keys {
			words = append(words, k.String())
		}
	}
	changed := false
	for i := range selectors {
		var less bool
		if selectors[i].keys, less = stripped(selectors[i].keys, op, patterns); less {
			changed = true
		}
	}
	if changed {
		selectors = slices.DeleteFunc(selectors, func(s aclSet) bool { return len(s.keys) == 0 })
		words = append(words, selectorWords(selectors)...)
	}
	return words
}

// selectorWords are what makes these the only selectors.
func selectorWords(selectors []aclSet) []string {
	words := []string{"clearselectors"}
	for i := range selectors {
		words = append(words, selectors[i].selector())
	}
	return words
}

// stripped are keys without the access of an operation to patterns.
func stripped(keys []aclKey, op string, patterns []string) (left []aclKey, less bool) {
	for _, k := range keys {
		if slices.Contains(patterns, k.pattern) {
			before := k
			k.read = k.read && op == "write"
			k.write = k.write && op == "read"
			less = less || k != before
		}
		if k.read || k.write {
			left = append(left, k)
		}
	}
	return left, less
}

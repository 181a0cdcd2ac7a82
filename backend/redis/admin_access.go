package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// Users and rules are those of Redis's ACL, which each node has of its own:
// changes go to all nodes that hold data, replicas too, and not to sentinels.
// They last until a node ends, unless ACL SAVE (with an aclfile) or CONFIG
// REWRITE writes them down.

// users are those of all nodes, by name; where nodes differ a user comes more
// than once. With an error they are those of the nodes that could be asked.
func (c *client) users(ctx context.Context) ([]aclUser, *topology, error) {
	top, err := c.topology(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	known := map[string][]aclUser{}
	err = onEach(top.data(), "users are not known", func(s *server) error {
		answers, err := c.acl(ctx, s, nil, []string{"ACL", "LIST"})
		if err != nil {
			return err
		}
		lines, err := answers[0].texts()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, line := range lines {
			u, ok := parseACL(line)
			if ok && !slices.ContainsFunc(known[u.name], func(o aclUser) bool { return u.equal(&o) }) {
				known[u.name] = append(known[u.name], u)
			}
		}
		return nil
	})
	var all []aclUser
	for _, name := range slices.Sorted(maps.Keys(known)) {
		all = append(all, known[name]...)
	}
	return all, top, err
}

const notDone = "not done"

// known are the users before they are changed. A node that could not be asked
// cannot be changed either, and the change says so.
func (c *client) known(ctx context.Context) ([]aclUser, *topology, error) {
	all, top, err := c.users(ctx)
	if len(all) > 0 {
		err = nil
	}
	return all, top, err
}

// acl has a node execute commands of ACL; secrets are what no error may repeat.
func (c *client) acl(ctx context.Context, s *server, secrets []string, cmds ...[]string) ([]value, error) {
	answers, err := c.talk(ctx, s.addr, s.role, cmds...)
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		err := a.err()
		if err == nil {
			continue
		}
		r, _ := answer(veiled(err, secrets))
		switch {
		case code(r) == "NOPERM":
			return nil, &driver.Error{Kind: driver.ErrDenied, Err: &answered{s.addr + " does not allow " + c.who() + " to see or change users: allow +acl", r}}
		case strings.Contains(r.Error(), "unknown command"), strings.Contains(r.Error(), "unknown subcommand"):
			return nil, &driver.Error{Kind: errors.ErrUnsupported, Err: &answered{s.addr + " does not let its users be seen or changed (ACL is not there): its provider may have another way", r}}
		}
		return nil, driver.Errorf(driver.ErrInvalid, "", "%s: %s", s.addr, rest(r))
	}
	return answers, nil
}

// Users are those of the ACL.
func (c *client) Users(ctx context.Context) ([]driver.UserInfo, error) {
	all, _, err := c.users(ctx)
	var infos []driver.UserInfo
	for _, u := range all {
		if n := len(infos); n > 0 && infos[n-1].Name == u.name {
			infos[n-1].Native += " | on another node: " + u.native()
			continue
		}
		i := driver.UserInfo{Name: u.name, Enabled: u.enabled, Native: u.native()}
		if u.nopass {
			i.Logins = append(i.Logins, "nopass")
		}
		for range u.hashes {
			i.Logins = append(i.Logins, "password (sha-256)")
		}
		infos = append(infos, i)
	}
	return infos, err
}

// SetUser makes a user or changes it on all nodes. The password replaces all
// there were, and goes to the servers as the SHA-256 hash that they keep. A new
// user may do nothing but log in, until Native or Grant allows more.
func (c *client) SetUser(ctx context.Context, u driver.UserSpec) error {
	switch {
	case u.Name == "" || strings.ContainsAny(u.Name, " \t\r\n\x00"):
		return driver.Errorf(driver.ErrInvalid, "", "user %q: a name without spaces is wanted", u.Name)
	case u.NoPassword && u.Password != "":
		return driver.Errorf(driver.ErrInvalid, "", "user %q: with a password, or without one", u.Name)
	case u.Mechanism != "" && u.Mechanism != "sha256" && u.Mechanism != "sha-256":
		return unsupported("Redis keeps passwords as sha-256, not as %s", u.Mechanism)
	}
	all, top, err := c.known(ctx)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(all, func(o aclUser) bool { return o.name == u.Name })
	login := func(w string) bool { return w == "nopass" || w != "" && strings.ContainsRune(">#", rune(w[0])) }
	if !known && u.Password == "" && !u.NoPassword && !slices.ContainsFunc(u.Native, login) {
		return driver.Errorf(driver.ErrInvalid, "", "user %q is new: give a password", u.Name)
	}
	words := []string{"ACL", "SETUSER", u.Name}
	switch {
	case u.Disable:
		words = append(words, "off")
	case !known: // one that was disabled stays so
		words = append(words, "on")
	}
	var secrets []string
	if u.NoPassword {
		words = append(words, "nopass")
	}
	if u.Password != "" {
		hash := sha256.Sum256([]byte(u.Password))
		words = append(words, "resetpass", "#"+hex.EncodeToString(hash[:]))
		secrets = append(secrets, u.Password, hex.EncodeToString(hash[:]))
	}
	for _, w := range u.Native {
		if words = append(words, w); len(w) > 1 && strings.ContainsRune("><#!", rune(w[0])) {
			secrets = append(secrets, w[1:])
		}
	}
	return onEach(top.data(), notDone, func(s *server) error {
		_, err := c.acl(ctx, s, secrets, words)
		return err
	})
}

// DeleteUser removes a user from all nodes, which ends its connections. The
// user default stays.
func (c *client) DeleteUser(ctx context.Context, name string) error {
	all, top, err := c.known(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(u aclUser) bool { return u.name == name }) {
		return c.noUser(name)
	}
	return onEach(top.data(), notDone, func(s *server) error {
		_, err := c.acl(ctx, s, nil, []string{"ACL", "DELUSER", name})
		return err
	})
}

func (c *client) noUser(name string) error {
	return driver.Errorf(driver.ErrNotFound, "", "%s has no user %q", c.where(), name)
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/seastreamer/seastreamer/driver"
)

// scrams are the ways that Kafka itself knows users, the default first.
var scrams = []struct {
	name      string
	mechanism kadm.ScramMechanism
}{{"scram-sha-512", kadm.ScramSha512}, {"scram-sha-256", kadm.ScramSha256}}

// scramIterations is Kafka's own default, and the least that it takes.
const scramIterations = 4096

// Users are those with SCRAM credentials, for which Kafka keeps salted
// passwords. Who proves itself in another way (PLAIN, a certificate, Kerberos, a
// token) is known to the brokers' configuration or to nobody.
func (c *client) Users(ctx context.Context) ([]driver.UserInfo, error) {
	all, err := c.scramUsers(ctx)
	if err != nil {
		return nil, c.fail("users", "", err)
	}
	var users []driver.UserInfo
	for _, u := range all.Sorted() {
		info := driver.UserInfo{Name: u.User, Enabled: true}
		for _, k := range u.CredInfos {
			info.Logins = append(info.Logins, fmt.Sprintf("%s (%d iterations)", strings.ToLower(k.Mechanism.String()), k.Iterations))
		}
		slices.Sort(info.Logins)
		users = append(users, info)
	}
	return users, nil
}

// scramUsers are all, or those named that there are.
func (c *client) scramUsers(ctx context.Context, names ...string) (kadm.DescribedUserSCRAMs, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	all, err := asked(ctx, c, func() (kadm.DescribedUserSCRAMs, error) {
		return kadm.NewClient(c.cl).DescribeUserSCRAMs(ctx, names...)
	})
	if err != nil {
		return nil, err
	}
	for n, u := range all {
		switch {
		case errors.Is(u.Err, kerr.ResourceNotFound):
			delete(all, n)
		case u.Err != nil:
			return nil, withText(u.Err, u.ErrMessage)
		}
	}
	return all, nil
}

// SetUser keeps the password for SCRAM-SHA-512, or for the Mechanism named, and
// for each other mechanism that the user has: none goes on with the old one. The
// password itself is not sent, only what SCRAM needs of it.
func (c *client) SetUser(ctx context.Context, u driver.UserSpec) error {
	op := "set user " + u.Name
	want := scrams[0].mechanism
	if u.Mechanism != "" {
		i := slices.IndexFunc(scrams, func(s struct {
			name      string
			mechanism kadm.ScramMechanism
		}) bool {
			return strings.EqualFold(s.name, u.Mechanism)
		})
		if i < 0 {
			return driver.Errorf(driver.ErrInvalid, op, "mechanism %q: use scram-sha-512 or scram-sha-256", u.Mechanism)
		}
		want = scrams[i].mechanism
	}
	switch {
	case u.Name == "":
		return driver.Errorf(driver.ErrInvalid, "set user", "the user has no name")
	case u.NoPassword:
		return unlisted(op, "a user without a password: Kafka keeps passwords and nothing else of users, and who has none comes with a certificate or a ticket, and needs only rules (acl grant)")
	case u.Disable:
		return unlisted(op, "Kafka cannot disable a user: deny it everything, or delete it")
	case len(u.Native) > 0:
		return unlisted(op, "Kafka keeps rules apart from users: grant them")
	}
	has, err := c.scramUsers(ctx, u.Name)
	if err != nil {
		return c.fail(op, "", err)
	}
	mechanisms := []kadm.ScramMechanism{want}
	for _, k := range has[u.Name].CredInfos {
		if k.Mechanism != want {
			mechanisms = append(mechanisms, k.Mechanism)
		}
	}
	if u.Password == "" {
		if _, there := has[u.Name]; !there {
			return driver.Errorf(driver.ErrInvalid, op, "a new user needs a password")
		}
		if u.Mechanism != "" && len(mechanisms) > len(has[u.Name].CredInfos) {
			return driver.Errorf(driver.ErrInvalid, op, "Kafka does not know the password, which %s needs: give it", u.Mechanism)
		}
		return nil
	}
	var set []kadm.UpsertSCRAM
	for _, m := range mechanisms {
		set = append(set, kadm.UpsertSCRAM{User: u.Name, Mechanism: m, Iterations: scramIterations, Password: u.Password})
	}
	if err := c.alterUser(ctx, nil, set); err != nil {
		return c.fail(op, "", err)
	}
	settled(ctx, func() bool {
		now, err := c.scramUsers(ctx, u.Name)
		return err == nil && len(now[u.Name].CredInfos) == len(mechanisms)
	})
	return nil
}

// DeleteUser removes all credentials of a user, and no rules: they stay until
// they are revoked, and are those of whoever has the name later.
func (c *client) DeleteUser(ctx context.Context, name string) error {
	op := "delete user " + name
	has, err := c.scramUsers(ctx, name)
	if err != nil {
		return c.fail(op, "", err)
	}
	var del []kadm.DeleteSCRAM
	for _, k := range has[name].CredInfos {
		del = append(del, kadm.DeleteSCRAM{User: name, Mechanism: k.Mechanism})
	}
	if name == "" || len(del) == 0 {
		return driver.Errorf(driver.ErrNotFound, op, "%s knows no user of that name", c.nodes())
	}
	if err := c.alterUser(ctx, del, nil); err != nil {
		return c.fail(op, "", err)
	}
	settled(ctx, func() bool {
		now, err := c.scramUsers(ctx, name)
		return err == nil && len(now) == 0
	})
	return nil
}

// alterUser changes the credentials of one user, one after another: Kafka
// refuses two changes of the same user in one request. Where one fails those
// before it are changed.
func (c *client) alterUser(ctx context.Context, del []kadm.DeleteSCRAM, set []kadm.UpsertSCRAM) error {
	for len(del)+len(set) > 0 {
		d, s := del[:min(1, len(del))], set[:0]
		if len(d) == 0 {
			s = set[:1]
		}
		done, err := asked(ctx, c, func() (kadm.AlteredUserSCRAMs, error) {
			return kadm.NewClient(c.cl).AlterUserSCRAMs(ctx, d, s)
		})
		if err != nil {
			return err
		}
		for _, u := range done {
			if u.Err != nil {
				return withText(u.Err, u.ErrMessage)
			}
		}
		del, set = del[len(d):], set[len(s):]
	}
	return nil
}

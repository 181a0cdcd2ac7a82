package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/conn"
)

// codes are the kinds of what servers answer, by the first word. What is not
// listed has no kind.
var codes = map[string]error{
	"NOAUTH":    driver.ErrDenied,
	"WRONGPASS": driver.ErrDenied,
	"NOPERM":    driver.ErrDenied,
	"DENIED":    driver.ErrDenied, // protected mode

	"WRONGTYPE": driver.ErrInvalid,
	"CROSSSLOT": driver.ErrInvalid,
	"NOGROUP":   driver.ErrNotFound,

	// The same command may succeed soon, on this or another node.
	"MOVED":       driver.ErrUnavailable,
	"ASK":         driver.ErrUnavailable,
	"TRYAGAIN":    driver.ErrUnavailable,
	"CLUSTERDOWN": driver.ErrUnavailable,
	"READONLY":    driver.ErrUnavailable,
	"LOADING":     driver.ErrUnavailable,
	"MASTERDOWN":  driver.ErrUnavailable,
	"NOREPLICAS":  driver.ErrUnavailable,
	"BUSY":        driver.ErrUnavailable,
	"UNBLOCKED":   driver.ErrUnavailable, // a blocked read whose server changed its role

	// Somebody has to do something first.
	"OOM":     driver.ErrUnavailable,
	"MISCONF": driver.ErrUnavailable,
}

// answer is what a server said, if that is what err is about.
func answer(err error) (refusal, bool) {
	var r refusal
	if errors.As(err, &r) {
		return r, true
	}
	var theirs *rueidis.RedisError
	if errors.As(err, &theirs) && !theirs.IsNil() {
		return refusal(theirs.Error()), true
	}
	return "", false
}

// code is the first word of what a server said where that is one of codes, and
// else ERR, which is cut off.
func code(r refusal) string { return firstWord(r.Error()) }

// firstWord is code for what a server said as it said it, too.
func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	if _, listed := codes[word]; listed {
		return word
	}
	return "ERR"
}

// isNoKey reports whether a server said that a key does not exist.
func isNoKey(err error) bool {
	r, ok := answer(err)
	return ok && strings.TrimPrefix(r.Error(), "ERR ") == "no such key"
}

// temporary reports whether a server refused a command that may succeed when
// it is sent again soon. It was not carried out.
func temporary(err error) bool {
	r, ok := answer(err)
	if !ok {
		return false
	}
	switch word := code(r); word {
	case "OOM", "MISCONF":
		return false
	default:
		return errors.Is(codes[word], driver.ErrUnavailable)
	}
}

// failure is the error that a method returns: what a server or the way to it
// said, as one line with a kind. Op is empty where the core knows better what
// was tried, the shard zero where it is not about one. A driver.Error stays
// what it is.
func (c *client) failure(op string, shard driver.Shard, err error) error {
	if err == nil {
		return nil
	}
	var e *driver.Error
	if errors.As(err, &e) {
		return err
	}
	kind, text := c.describe(err)
	return &driver.Error{Op: op, Shard: shard, Kind: kind, Err: text}
}

// keyFailure is failure where the command was about a key, whose name helps.
func (c *client) keyFailure(op string, shard driver.Shard, key string, err error) error {
	r, ok := answer(err)
	if !ok {
		return c.failure(op, shard, err)
	}
	var said string
	switch code(r) {
	case "WRONGTYPE":
		said = fmt.Sprintf("key %q on %s is no stream: choose another name, or delete the key", key, c.where())
	case "NOPERM":
		said = fmt.Sprintf("%s does not allow %s to use key %q: %s", c.where(), c.who(), key, rest(r))
	default:
		return c.failure(op, shard, err)
	}
	return &driver.Error{Op: op, Shard: shard, Kind: codes[code(r)], Err: &answered{said, err}}
}

// describe is one line about err, and its kind.
func (c *client) describe(err error) (kind, text error) {
	if d := c.failedDial(err); d != nil {
		var verify *tls.CertificateVerificationError
		if errors.As(d.Err, &verify) || conn.IsAlert(d.Err) {
			return driver.ErrDenied, d
		}
		return driver.ErrUnavailable, d
	}
	if r, ok := answer(err); ok {
		kind, said := c.describeText(c.where(), r.Error())
		return kind, &answered{said, err}
	}
	switch {
	case errors.Is(err, rueidis.ErrClosing) && c.check() == nil: // the master has changed, or a node has left
		return driver.ErrUnavailable, &answered{c.where() + ": another node has taken the place of the one that was asked", err}
	case errors.Is(err, rueidis.ErrClosing):
		return driver.ErrClosed, nil
	case errors.Is(err, context.Canceled):
		return nil, err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return driver.ErrUnavailable, &answered{"no answer from " + c.where() + " in time", err}
	case conn.IsEOF(err):
		return driver.ErrUnavailable, &answered{c.where() + " closed the connection", err}
	case rueidis.IsRedisNil(err) && c.sentinel:
		return driver.ErrNotFound, c.noMaster(err)
	case rueidis.IsParseErr(err):
		return driver.ErrUnavailable, &answered{c.where() + " does not answer as Redis does: is this the right port?", err}
	case errors.Is(err, errPanic):
		return driver.ErrUnknown, err
	case errors.Is(err, rueidis.ErrNoSlot):
		return driver.ErrUnavailable, &answered{c.where() + ": no node of the cluster serves the key's slot", err}
	case err.Error() == "the redis role is not master":
		return driver.ErrUnavailable, &answered{fmt.Sprintf("%s: the master %q that Sentinel names is none: a fail-over may be under way", c.where(), c.o.Master), err}
	}
	return driver.ErrUnavailable, &answered{c.where() + ": " + err.Error(), err}
}

// answered is a clearer text for what was said, which still unwraps.
type answered struct {
	said string
	err  error
}

func (a *answered) Error() string { return a.said }
func (a *answered) Unwrap() error { return a.err }

// describeText is one line about what the server at said, and its kind.
func (c *client) describeText(at, text string) (kind error, said string) { //nolint:revive,staticcheck // the kind is no failure of this function
	word := firstWord(text)
	kind = codes[word]
	switch word {
	case "WRONGPASS", "NOAUTH":
		said = c.describeLogin(word)
	case "NOPERM":
		said = fmt.Sprintf("%s does not allow %s to do this: %s", at, c.who(), otherWords(text))
	case "DENIED":
		said = fmt.Sprintf("%s is in protected mode and takes connections from its own host only: give it a password, or set protected-mode no", at)
	case "OOM":
		said = fmt.Sprintf("%s is full (maxmemory): trim with max_len or max_age, or give it more memory", at)
	case "MISCONF":
		said = fmt.Sprintf("%s cannot write to its disk and takes no more records (MISCONF): see its log, and INFO persistence", at)
	case "READONLY":
		said = fmt.Sprintf("%s is a replica, which takes no writes: name the master, or its sentinels with %s://", at, SchemeSentinel)
		if c.sentinel || c.server().cluster {
			said = at + ": the server has just become a replica"
		}
	case "NOREPLICAS":
		said = at + " has too few replicas at hand for its min-replicas-to-write"
	case "LOADING":
		said = at + " is reading its data and will answer soon"
	case "CLUSTERDOWN":
		said = fmt.Sprintf("%s: the cluster is down (%s)", at, otherWords(text))
	case "MASTERDOWN":
		said = at + " has lost its master"
	case "BUSY":
		said = at + " is busy with a script"
	case "ERR":
		if said, kind = c.describeOther(at, otherWords(text)); said == "" {
			said = at + ": " + otherWords(text)
		}
	default:
		said = at + ": " + word + " " + otherWords(text)
	}
	return kind, said
}

// describeLogin is about credentials that a server or a sentinel does not take.
func (c *client) describeLogin(word string) string {
	at, user, url, password := c.where(), c.o.User, c.scheme()+"://user@host", "password_file"
	if a := c.lastRefusal.Load(); a != nil {
		at = *a
	}
	if strings.HasPrefix(at, string(toSentinel)) {
		user, url, password = c.o.SentinelUser, "sentinel_user", "sentinel_password_file"
	}
	if word == "NOAUTH" {
		return fmt.Sprintf("%s wants a password: give %s, and where it has users %s", at, password, url)
	}
	if user == "" {
		user = "default"
	}
	return fmt.Sprintf("%s refuses user %q: is the password right (%s), and is there such a user? Redis does not say which", at, user, password)
}

// describeOther is about errors that have no word of their own.
func (c *client) describeOther(at, text string) (said string, kind error) {
	lower := strings.ToLower(text)
	has := func(part string) bool { return strings.Contains(lower, part) }
	switch {
	case has("max number of clients"):
		return at + " has as many clients as it takes (maxclients)", driver.ErrUnavailable
	case has("select is not allowed in cluster mode"):
		return at + " is a cluster, which has no databases: leave out db", driver.ErrInvalid
	case has("db index is out of range"), has("invalid db index"):
		return fmt.Sprintf("%s has no database %d: see its setting databases", at, c.o.DB), driver.ErrInvalid
	case has("no such master"):
		return c.noMaster(nil).Error(), driver.ErrNotFound
	case has("cluster support disabled"):
		return at + ": these servers are no cluster: name one of them, or its sentinels with " + SchemeSentinel + "://", driver.ErrInvalid
	case has("unknown command") && c.sentinel && has("sentinel"):
		return at + " is no Sentinel: write redis://, or use Sentinel's port (" + sentinelPort + ")", driver.ErrInvalid
	case has("unknown command"), has("unknown subcommand"):
		return fmt.Sprintf("%s does not know a command (%s): Redis %v or later is needed, and commands must not be renamed", at, text, oldest), errors.ErrUnsupported
	case has("exhausted the last possible id"):
		return at + ": the stream has used up its last entry id: somebody has written an entry with an id far in the future", driver.ErrInvalid
	}
	return "", nil
}

func (c *client) noMaster(err error) error {
	return &answered{fmt.Sprintf("sentinel %s knows no master %q: see SENTINEL MASTERS for the name to give in master", c.where(), c.o.Master), err}
}

// rest is what a server said behind the first word, fit to be printed: it may
// repeat what others have written.
func rest(r refusal) string { return otherWords(r.Error()) }

func otherWords(text string) string {
	word := firstWord(text)
	text = strings.TrimPrefix(text, word)
	return printable(strings.TrimPrefix(text, " "))
}

// printable is what others have written as a part of one line of text.
func printable(text string) string {
	text = strings.TrimRight(text[:min(len(text), 300)], ". \r\n")
	if q := strconv.Quote(text); strings.ContainsRune(q, '\\') {
		return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	}
	return text
}

// failedDial is why no server could be reached, if that is what err is about:
// it says so itself, or time ran out while connections failed.
func (c *client) failedDial(err error) *conn.Error {
	var d *conn.Error
	if errors.As(err, &d) {
		return d
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return c.lastDial.Load()
	}
	return nil
}

func (c *client) who() string {
	if c.o.User == "" {
		return `user "default"`
	}
	return fmt.Sprintf("user %q", c.o.User)
}

// scheme is how to write the same kind of URL.
func (c *client) scheme() string {
	switch {
	case c.unix:
		return SchemeUnix
	case c.o.TLS:
		return SchemeTLS
	}
	return Scheme
}

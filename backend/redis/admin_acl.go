package redis

import (
	"slices"
	"strings"
)

// What a line of ACL LIST says.
// https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/

// An aclUser is one user. What it may do is in its root permissions and, from
// Redis 7.0, in any number of selectors: a command is allowed if one of these
// allows it with all its keys.
type aclUser struct {
	name    string
	enabled bool
	nopass  bool
	hashes  int      // passwords
	flags   []string // words that are nothing of the rest
	sets    []aclSet // the root permissions first
}

// An aclSet is what may be done with which keys.
type aclSet struct {
	keys     []aclKey
	commands []string // +… and -…, in their order
	channels []string
}

// An aclKey is a pattern of keys.
type aclKey struct {
	read, write bool
	pattern     string
}

// parseACL reads a line of ACL LIST. A line that is something else is not ok.
func parseACL(line string) (u aclUser, ok bool) {
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "user" {
		return u, false
	}
	u.name, u.sets = words[1], make([]aclSet, 1)
	in := 0 // the set that words go to
	for _, w := range words[2:] {
		if in == 0 {
			switch {
			case w == "on", w == "off":
				u.enabled = w == "on"
				continue
			case w == "nopass":
				u.nopass = true
				continue
			case strings.HasPrefix(w, "#"):
				u.hashes++
				continue
			case strings.HasPrefix(w, "("):
				u.sets = append(u.sets, aclSet{})
				in = len(u.sets) - 1
				w = w[1:]
			}
		}
		last := false
		if in > 0 {
			w, last = strings.CutSuffix(w, ")")
		}
		if w != "" && !u.sets[in].add(w) && in == 0 {
			u.flags = append(u.flags, w)
		}
		if last {
			in = 0
		}
	}
	for i := range u.sets {
		if c := u.sets[i].commands; !slices.ContainsFunc(c, func(w string) bool { return w[0] == '-' }) {
			slices.Sort(c) // Redis has them in no order, and each node in another
		}
	}
	return u, in == 0
}

// equal reports whether two nodes say the same of a user.
func (u *aclUser) equal(o *aclUser) bool {
	return u.name == o.name && u.enabled == o.enabled && u.nopass == o.nopass && u.hashes == o.hashes &&
		slices.EqualFunc(u.sets, o.sets, func(a, b aclSet) bool {
			return slices.Equal(a.keys, b.keys) && slices.Equal(sorted(a.channels), sorted(b.channels)) && slices.Equal(sorted(a.commands), sorted(b.commands))
		})
}

func sorted(words []string) []string { return slices.Sorted(slices.Values(words)) }

// add adds what one word allows or forbids, and says whether it is such a word.
func (s *aclSet) add(w string) bool {
	switch {
	case w == "allkeys":
		s.keys = append(s.keys, aclKey{true, true, "*"})
	case w == "resetkeys":
		s.keys = nil
	case w == "allcommands":
		s.commands = []string{"+@all"}
	case w == "nocommands", w == "-@all":
		s.commands = nil
	case w == "+@all":
		s.commands = []string{w}
	case w == "allchannels":
		s.channels = []string{"&*"}
	case w == "resetchannels":
		s.channels = nil
	case w[0] == '&':
		s.channels = append(s.channels, w)
	case w[0] == '+', w[0] == '-':
		s.commands = append(s.commands, w)
	case w[0] == '~', w[0] == '%':
		k, ok := parseKey(w)
		if ok {
			s.keys = append(s.keys, k)
		}
		return ok
	default:
		return false
	}
	return true
}

func parseKey(w string) (k aclKey, ok bool) {
	if w[0] == '~' {
		return aclKey{true, true, w[1:]}, true
	}
	how, pattern, ok := strings.Cut(w[1:], "~")
	for _, r := range how {
		switch r {
		case 'R', 'r':
			k.read = true
		case 'W', 'w':
			k.write = true
		default:
			return k, false
		}
	}
	k.pattern = pattern
	return k, ok && how != ""
}

// String is the pattern as ACL SETUSER takes it.
func (k aclKey) String() string {
	switch {
	case k.read && k.write:
		return "~" + k.pattern
	case k.read:
		return "%R~" + k.pattern
	}
	return "%W~" + k.pattern
}

// words are what makes such a set out of nothing.
func (s *aclSet) words() []string {
	var w []string
	for _, k := range s.keys {
		w = append(w, k.String())
	}
	return append(append(w, s.channels...), s.commands...)
}

// selector is the set as one word of ACL SETUSER.
func (s *aclSet) selector() string { return "(" + strings.Join(s.words(), " ") + ")" }

// same reports whether two sets allow the same with the same keys, as far as we
// can tell: Redis writes commands down in another way than they were given.
func (s *aclSet) same(o *aclSet) bool {
	if !slices.Equal(s.keys, o.keys) {
		return false
	}
	some := false
	for command := range categories {
		if s.allows(command) != o.allows(command) {
			return false
		}
		some = some || s.allows(command)
	}
	return some || slices.Equal(sorted(s.commands), sorted(o.commands))
}

// native is the user without its passwords.
func (u *aclUser) native() string {
	w := []string{"off"}
	if u.enabled {
		w[0] = "on"
	}
	if u.nopass {
		w = append(w, "nopass")
	}
	w = append(w, u.flags...)
	w = append(w, u.sets[0].words()...)
	for i := range u.sets[1:] {
		w = append(w, u.sets[i+1].selector())
	}
	return strings.Join(w, " ")
}

// categories are those of the commands by which we tell what somebody may do,
// which COMMAND INFO lists.
var categories = map[string]string{
	"xrange":        "@read @stream @slow",
	"xinfo|stream":  "@read @stream @slow",
	"xadd":          "@write @stream @fast",
	"xgroup|create": "@write @stream @slow",
	"xtrim":         "@write @stream @slow",
	"unlink":        "@keyspace @write @fast",
	"info":          "@slow @dangerous",
	"config|get":    "@admin @slow @dangerous",
	"config|set":    "@admin @slow @dangerous",
	"acl|setuser":   "@admin @slow @dangerous",
}

// allows reports whether a set allows one of the commands in categories.
func (s *aclSet) allows(command string) bool {
	all := strings.Fields(categories[command])
	parent, _, _ := strings.Cut(command, "|")
	yes := false
	for _, w := range s.commands {
		what := strings.ToLower(w[1:])
		if what == "@all" || what == command || what == parent || slices.Contains(all, what) {
			yes = w[0] == '+'
		}
	}
	return yes
}

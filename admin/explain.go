package admin

import "strings"

// Explain says whether rules let a user do an operation on a thing, and which of
// them say so: those that deny it, which go before all others, or else those
// that allow it. Super users, and what a server allows where it has no rules at
// all, are not in the rules. Rules for a host count as if the user were there.
func Explain(rules []AccessRule, user, operation, kind, name string) (may bool, why []AccessRule) {
	var allow, deny []AccessRule
	for _, r := range rules {
		switch {
		case r.User != user && r.User != "*":
		case r.Kind != kind && r.Kind != "":
		case !covers(r, name) || !implies(r, operation):
		case r.Deny:
			deny = append(deny, r)
		default:
			allow = append(allow, r)
		}
	}
	if len(deny) > 0 {
		return false, deny
	}
	return len(allow) > 0, allow
}

// covers reports whether a rule is about a thing of that name.
func covers(r AccessRule, name string) bool {
	return r.Name == "*" || r.Name == name || r.Kind == "cluster" || r.Prefix && strings.HasPrefix(name, r.Name)
}

// implies reports whether a rule is about an operation. On Kafka, who may read,
// write, delete or alter may also describe (KIP-11, and the table of operations
// in Kafka's documentation of authorization).
func implies(r AccessRule, operation string) bool {
	if r.Operation == "all" || r.Operation == operation {
		return true
	}
	if operation != "describe" || r.Deny {
		return false
	}
	switch r.Operation {
	case "read", "write", "delete", "alter":
		return true
	}
	return false
}

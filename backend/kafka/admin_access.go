package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// Rules and Kafka's ACLs say the same with other words. A principal is
// "User:NAME" and becomes NAME; one of another type, which only an authorizer of
// your own has, keeps its type.

// Rules needs the right to describe the cluster.
func (c *client) Rules(ctx context.Context) ([]driver.AccessRule, error) {
	const op = "access rules"
	if err := c.reach(ctx); err != nil {
		return nil, c.fail(op, "", err)
	}
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	resp, err := request[*kmsg.DescribeACLsResponse](ctx, c, c.cl, req)
	if err == nil {
		err = answer(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, c.failAccess(op, err)
	}
	var rules []driver.AccessRule
	for _, r := range resp.Resources {
		for _, a := range r.ACLs {
			rules = append(rules, rule(r.ResourceType, r.ResourceName, r.ResourcePatternType, a.Principal, a.Host, a.Operation, a.PermissionType))
		}
	}
	return rules, nil
}

// failAccess is fail, where a broker without an authorizer has no rules.
func (c *client) failAccess(op string, err error) error {
	if errors.Is(err, kerr.SecurityDisabled) {
		return &driver.Error{Op: op, Kind: errors.ErrUnsupported, Err: &answered{fmt.Sprintf("%s has no access rules: authorizer.class.name is not set in its configuration", c.nodes()), err}}
	}
	return c.fail(op, "", err)
}

// Grant adds rules; one that is there already stays as it is.
func (c *client) Grant(ctx context.Context, r []driver.AccessRule) error {
	const op = "grant"
	req := kmsg.NewPtrCreateACLsRequest()
	for i := range r {
		w, err := wire(r[i])
		if err != nil {
			return driver.RefusedAt(len(r), i, c.fail(op, "", err))
		}
		k := kmsg.NewCreateACLsRequestCreation()
		k.ResourceType, k.ResourceName, k.ResourcePatternType = w.kind, w.name, w.pattern
		k.Principal, k.Host, k.Operation, k.PermissionType = w.principal, w.host, w.operation, w.permission
		req.Creations = append(req.Creations, k)
	}
	if err := c.reach(ctx); err != nil || len(r) == 0 {
		return c.fail(op, "", err)
	}
	resp, err := request[*kmsg.CreateACLsResponse](ctx, c, c.cl, req)
	if err != nil {
		return c.failAccess(op, err)
	}
	errs := make([]error, len(r))
	var added []driver.AccessRule
	for i := range r {
		if errs[i] = kerr.UnknownServerError; i < len(resp.Results) {
			errs[i] = answer(resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage)
		}
		if errs[i] = c.failAccess(op, errs[i]); errs[i] == nil {
			added = append(added, r[i])
		}
	}
	settled(ctx, func() bool {
		now, err := c.Rules(ctx)
		return err == nil && !slices.ContainsFunc(added, func(r driver.AccessRule) bool { return !slices.ContainsFunc(now, same(r)) })
	})
	return driver.Partial(errs)
}

// same compares rules by what they say to Kafka.
func same(a driver.AccessRule) func(driver.AccessRule) bool {
	wa, ea := wire(a)
	return func(b driver.AccessRule) bool {
		wb, eb := wire(b)
		return ea == nil && eb == nil && wa == wb
	}
}

// Revoke removes exactly the rules given: a rule for all streams does not match
// one for a single one.
func (c *client) Revoke(ctx context.Context, r []driver.AccessRule) ([]driver.AccessRule, error) {
	const op = "revoke"
	req := kmsg.NewPtrDeleteACLsRequest()
	for i := range r {
		w, err := wire(r[i])
		if err != nil {
			return nil, driver.RefusedAt(len(r), i, c.fail(op, "", err))
		}
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType = w.kind, &w.name, w.pattern
		f.Principal, f.Host, f.Operation, f.PermissionType = &w.principal, &w.host, w.operation, w.permission
		req.Filters = append(req.Filters, f)
	}
	if err := c.reach(ctx); err != nil || len(r) == 0 {
		return nil, c.fail(op, "", err)
	}
	resp, err := request[*kmsg.DeleteACLsResponse](ctx, c, c.cl, req)
	if err != nil {
		return nil, c.failAccess(op, err)
	}
	var gone []driver.AccessRule
	errs := make([]error, len(r)) // of each filter, in their order
	for i := range r {
		if i >= len(resp.Results) {
			errs[i] = c.failAccess(op, kerr.UnknownServerError)
			continue
		}
		failed := answer(resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage)
		for _, m := range resp.Results[i].MatchingACLs {
			if err := answer(m.ErrorCode, m.ErrorMessage); err != nil {
				failed = cmpErr(failed, err)
				continue
			}
			gone = append(gone, rule(m.ResourceType, m.ResourceName, m.ResourcePatternType, m.Principal, m.Host, m.Operation, m.PermissionType))
		}
		errs[i] = c.failAccess(op, failed)
	}
	settled(ctx, func() bool {
		now, err := c.Rules(ctx)
		return err == nil && !slices.ContainsFunc(gone, func(r driver.AccessRule) bool { return slices.ContainsFunc(now, same(r)) })
	})
	return gone, driver.Partial(errs)
}

// theCluster is the one resource of its kind.
const theCluster = "kafka-cluster"

const userPrefix = "User:"

// accessKinds are the kinds of rules by Kafka's.
var accessKinds = map[kmsg.ACLResourceType]string{
	kmsg.ACLResourceTypeTopic:           "stream",
	kmsg.ACLResourceTypeGroup:           "group",
	kmsg.ACLResourceTypeCluster:         "cluster",
	kmsg.ACLResourceTypeTransactionalId: "transaction",
	kmsg.ACLResourceTypeDelegationToken: "delegation-token",
	kmsg.ACLResourceTypeUser:            "user",
}

// operations are Kafka's own words for what the contract has none for.
var operations = map[kmsg.ACLOperation]string{
	kmsg.ACLOperationAll: "all", kmsg.ACLOperationRead: "read", kmsg.ACLOperationWrite: "write",
	kmsg.ACLOperationCreate: "create", kmsg.ACLOperationDelete: "delete", kmsg.ACLOperationAlter: "alter",
	kmsg.ACLOperationDescribe:        "describe",
	kmsg.ACLOperationClusterAction:   "ClusterAction",
	kmsg.ACLOperationDescribeConfigs: "DescribeConfigs",
	kmsg.ACLOperationAlterConfigs:    "AlterConfigs",
	kmsg.ACLOperationIdempotentWrite: "IdempotentWrite",
	kmsg.ACLOperationCreateTokens:    "CreateTokens",
	kmsg.ACLOperationDescribeTokens:  "DescribeTokens",
	15:                               "TwoPhaseCommit", // KIP-939
}

func rule(kind kmsg.ACLResourceType, name string, pattern kmsg.ACLResourcePatternType, principal, host string, op kmsg.ACLOperation, may kmsg.ACLPermissionType) driver.AccessRule {
	r := driver.AccessRule{
		User: strings.TrimPrefix(principal, userPrefix), Host: host, Kind: accessKinds[kind], Name: name,
		Prefix: pattern == kmsg.ACLResourcePatternTypePrefixed, Operation: operations[op], Deny: may == kmsg.ACLPermissionTypeDeny,
	}
	if r.Kind == "" {
		r.Kind = fmt.Sprintf("kind %d", kind)
	}
	if r.Operation == "" {
		r.Operation = fmt.Sprintf("operation %d", op)
	}
	if r.Kind == "cluster" && name == theCluster {
		r.Name = "*"
	}
	return r
}

// An acl is a rule as Kafka writes it.
type acl struct {
	kind            kmsg.ACLResourceType
	name            string
	pattern         kmsg.ACLResourcePatternType
	principal, host string
	operation       kmsg.ACLOperation
	permission      kmsg.ACLPermissionType
}

func wire(r driver.AccessRule) (acl, error) {
	a := acl{name: r.Name, pattern: kmsg.ACLResourcePatternTypeLiteral, principal: r.User, host: r.Host, permission: kmsg.ACLPermissionTypeAllow}
	if r.Native != "" {
		return a, unlisted("", "a rule in Kafka's own words (%q): say it with the fields of a rule", r.Native)
	}
	for k, name := range accessKinds {
		if name == r.Kind {
			a.kind = k
		}
	}
	if a.kind == 0 {
		return a, driver.Errorf(driver.ErrInvalid, "", "kind %q of a rule: use stream, group, cluster or transaction", r.Kind)
	}
	for o, name := range operations {
		if strings.EqualFold(name, r.Operation) {
			a.operation = o
		}
	}
	if a.operation == 0 {
		return a, driver.Errorf(driver.ErrInvalid, "", "operation %q of a rule: use read, write, create, delete, alter, describe, all or Kafka's own, such as DescribeConfigs", r.Operation)
	}
	switch {
	case r.User == "":
		return a, driver.Errorf(driver.ErrInvalid, "", "a rule without a user: use * for everybody")
	case r.Name == "" && a.kind != kmsg.ACLResourceTypeCluster:
		return a, driver.Errorf(driver.ErrInvalid, "", "a rule without the name of a %s: use * for all", r.Kind)
	case r.Prefix && a.kind == kmsg.ACLResourceTypeCluster:
		return a, driver.Errorf(driver.ErrInvalid, "", "a rule about the cluster has no prefix")
	}
	if a.kind == kmsg.ACLResourceTypeCluster && (r.Name == "" || r.Name == "*") {
		a.name = theCluster
	}
	if !typedPrincipal(r.User) {
		a.principal = userPrefix + r.User
	}
	if a.host == "" {
		a.host = "*"
	}
	if r.Prefix && r.Name != "*" { // a prefix of * would be a name that begins with a star
		a.pattern = kmsg.ACLResourcePatternTypePrefixed
	}
	if r.Deny {
		a.permission = kmsg.ACLPermissionTypeDeny
	}
	return a, nil
}

// typedPrincipal reports whether a user is written as Kafka does, TYPE:NAME with
// a type that begins with a capital letter.
func typedPrincipal(user string) bool {
	kind, _, ok := strings.Cut(user, ":")
	return ok && kind != "" && 'A' <= kind[0] && kind[0] <= 'Z' && !strings.ContainsAny(kind, "=,. /")
}

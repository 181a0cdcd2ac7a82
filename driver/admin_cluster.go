package driver

import "context"

// A NodeAdmin is a Driver whose servers can be seen.
type NodeAdmin interface {
	// Nodes are the servers of the cluster, or the one there is, by ID.
	Nodes(ctx context.Context) ([]NodeInfo, error)

	// NodeConfig are the settings of one node, by name; with id "" those that the
	// cluster keeps for all nodes. Where each node has its own that is
	// ErrUnsupported.
	NodeConfig(ctx context.Context, id string) ([]ConfigEntry, error)

	// SetNodeConfig changes settings of one node, while it runs; with id "" those
	// of NodeConfig with id "". A nil value takes a setting back to the default.
	// All of set are changed, or an error says that some may not be.
	SetNodeConfig(ctx context.Context, id string, set map[string]*string) error

	// LogDirs are the folders in which a node keeps data; with id "" those of
	// all nodes.
	LogDirs(ctx context.Context, id string) ([]LogDir, error)
}

// A NodeInfo describes a server.
type NodeInfo struct {
	ID, Addr, Rack string
	// Roles are what it does: "broker" and "controller" on Kafka; "master",
	// "replica" and "sentinel", which has no data, on Redis.
	Roles   []string
	Of      string // ID of the master of which it is a replica
	Version string
	Up      bool
	Leads   int64 // shards (on a Redis cluster: slots) that it leads; below zero is not known
	Holds   int64 // shards that it holds a replica of; below zero is not known
	Bytes   int64 // data that it holds, on disk or in memory; below zero is not known
	Err     error // why it could not be asked
}

// A LogDir is a folder with data, or the memory of a server that keeps it there
// (Path is "memory").
type LogDir struct {
	Node, Path string
	Shards     int   // replicas in it; below zero is not known
	Bytes      int64 // that they take
	Total      int64 // size of the volume; below zero is not known
	Free       int64 // free on it; below zero is not known
	Err        error
}

// A ClusterAdmin is a Driver whose servers form a cluster.
type ClusterAdmin interface {
	// Cluster describes the cluster and what is not well with it.
	Cluster(ctx context.Context) (ClusterInfo, error)

	// ElectLeaders makes the preferred replica the leader of each shard; with
	// none named, of all that have another leader. With unclean it takes a
	// replica that is not in sync where there is no other: messages may be lost.
	// It returns those whose leader has changed. A [PartialError] is about the
	// shards named, or where none is about those that failed.
	ElectLeaders(ctx context.Context, shards []Shard, unclean bool) ([]Shard, error)

	// Reassignments are those that are under way.
	Reassignments(ctx context.Context) ([]Reassignment, error)

	// Reassign has shards held by other nodes. It returns when that has begun.
	// Empty Replicas cancel a reassignment that is under way. Of some of many it is
	// a [PartialError].
	Reassign(ctx context.Context, to []Reassignment) error
}

// A ClusterInfo describes a cluster.
type ClusterInfo struct {
	ID         string
	Kind       string // what it is, in the backend's words: "kraft", "cluster", "sentinel", "single"
	Version    string // the version that all nodes agree on
	Controller string // ID of the node that decides
	Nodes      int    // that are up
	Features   map[string]string
	Problems   []Problem // empty: all is well
}

// A Problem is one thing that is not well.
type Problem struct {
	// What is "leaderless", "under-replicated", "under-min-in-sync",
	// "offline-replica", "not-preferred", "node-down", "no-quorum",
	// "slots-uncovered", "failing" (the server says itself that something is),
	// "disk-full", "memory-full", "persistence" or
	// "transaction-hanging".
	What   string
	Item   string // the shard, node or folder
	Detail string // one line for people
}

// A Reassignment is the nodes that a shard is to be held by.
type Reassignment struct {
	Shard
	Replicas []string // the preferred leader first
	Adding   []string // of one under way: those that do not have all of it yet
	Removing []string
}

// An AccessAdmin is a Driver whose users and their rights can be administered.
type AccessAdmin interface {
	// Rules are what users may do, and may not. Where each node has its own, and
	// some could not be asked, it is those of the others, and an error.
	Rules(ctx context.Context) ([]AccessRule, error)
	// Grant adds rules; those that are there are left. Of some of many it is a
	// [PartialError].
	Grant(ctx context.Context, r []AccessRule) error
	// Revoke removes rules and returns those that were there. Of some of many it
	// is a [PartialError].
	Revoke(ctx context.Context, r []AccessRule) ([]AccessRule, error)
	// Users are the users that the server itself knows; as Rules, with an error
	// those of the nodes that could be asked.
	Users(ctx context.Context) ([]UserInfo, error)
	// SetUser makes a user or changes one.
	SetUser(ctx context.Context, u UserSpec) error
	// DeleteUser removes a user.
	DeleteUser(ctx context.Context, name string) error
}

// An AccessRule says what a user may do to what.
type AccessRule struct {
	User string // "*" is everybody, where the backend has that
	Host string // from where; "" or "*" is anywhere
	// Kind of the thing: "stream", "group", "cluster" or "transaction" (the
	// name of an owner).
	Kind   string
	Name   string // of the thing; "*" is all
	Prefix bool   // Name is how names begin
	// Operation is "read", "write", "create", "delete", "alter", "describe",
	// "all", or the backend's own word.
	Operation string
	Deny      bool
	Native    string // the rule in the backend's own words, where they say more
}

// A UserInfo describes a user.
type UserInfo struct {
	Name    string
	Enabled bool
	// Logins are how the user may prove itself, such as "scram-sha-512
	// (4096 iterations)", "password" or "nopass".
	Logins []string
	Native string // in the backend's own words
}

// A UserSpec is a user as it should be.
type UserSpec struct {
	Name     string
	Password string // "" leaves it as it is, and is refused for a new user
	// NoPassword: whoever names the user is let in, where the backend has that.
	// With a Password it is ErrInvalid.
	NoPassword bool
	// Mechanism is how the password is kept: "" is the backend's best.
	Mechanism string
	Disable   bool
	Native    []string // rules in the backend's own words, where it has some
}

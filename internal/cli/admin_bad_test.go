//go:build unix

package cli

import (
	"strings"
	"testing"
)

// adminBads are calls of stream, group and pending that must fail. There is a
// stream called there, with a shard and a message.
var adminBads = []bad{
	// stream
	{"streamer stream lss", "", 2, `unknown command "lss"`, "did you mean"},
	{"streamer stream ls a b", "", 2, `"b" is too much`, "quote it"},
	{"streamer stream ls [", "", 2, `"[" is no glob`, "use * and ?"},
	{"streamer stream ls -o xml", "", 2, "--output", "auto, table, wide, tsv, json"},
	{"streamer stream ls --broker kafka://{closed}", "", 3, "{closed}", "check that the broker runs"},
	{"streamer stream ls --broker redis://{closed}", "", 3, "{closed}", "check that the broker runs"},
	{"streamer stream ls --broker nats://h", "", 2, "nats://", "use kafka://"},
	{"streamer stream info", "", 2, "a stream is wanted", "stream info news"},
	{"streamer stream info missing", "", 5, "missing", "check the name"},
	{"streamer stream info a/b", "", 5, "a/b", "check the name"},
	{"streamer stream find", "", 2, "--idle DURATION or --empty", "stream find --idle 7d"},
	{"streamer stream find news --empty", "", 2, `"news" is no operand`, "find --match news"},
	{"streamer stream find --idle soon", "", 2, "soon", ""},
	{"streamer stream find --empty --match [", "", 2, `"[" is no glob`, "use * and ?"},
	{"streamer stream create", "", 2, "one stream is wanted", "stream create news"},
	{"streamer stream create a b", "", 2, `"b" is too much`, "stream create news"},
	{"streamer stream create there", "", 6, "already exists", ""},
	{"streamer stream create new --shards 0", "", 2, "--shards 0", "at least one"},
	{"streamer stream create new --shards many", "", 2, `"many"`, "--help lists the flags"},
	{"streamer stream create new --replicas 0", "", 2, "--replicas 0", "at least one"},
	{"streamer stream create new --replicas 3", "", 2, "Replicas", "drivers"},
	{"streamer stream create new --set max-ages=7d", "", 2, `no setting "max-ages"`, "retention"},
	{"streamer stream create new --set max-age=soon", "", 2, "soon", ""},
	{"streamer stream create new --set max-age", "", 2, "max-age has no value", "max-age=VALUE"},
	{"streamer stream create new --set max-age=1d --set max-age=2d", "", 2, `"max-age" is named twice`, "once"},
	{"streamer stream set there x.y=1 max-age=1d x.y=2", "", 2, `"x.y" is named twice`, "once"},
	{"streamer stream create new --set compact=true", "", 2, "compact", ""},
	{"streamer stream create new --set no.such=1", "", 2, "no.such", ""},
	{"streamer stream set there", "", 2, "a stream and a setting", "stream set news max-age=7d"},
	{"streamer stream set there max-age=-7d", "", 2, "-7d", ""},
	{"streamer stream set missing max-age=7d", "", 5, "missing", ""},
	{"streamer stream undo", "", 2, "one stream is wanted", "stream undo news"},
	{"streamer stream undo there", "", 5, "nothing to undo", "by this URL"},
	{"streamer stream rm", "", 2, "name the streams", "stream rm news"},
	{"streamer stream rm there --match *", "", 2, "or a --match", "stream rm news"},
	{"streamer stream rm *", "", 5, "*: describe stream *: not found", "a glob is --match '*'"},
	{"streamer stream rm missing --yes", "", 5, "missing", "check the name"},
	{"streamer stream rm there there --yes", "", 2, `"there" is named twice`, "once"},
	{"streamer stream rm --match [ --yes", "", 2, `"[" is no glob`, "use * and ?"},
	{"streamer stream rm --match x* --yes", "", 5, "no stream matches x*", ""},
	{"streamer stream rm there --yes --count 2", "", 7, "--count is 2 and there are 1", "--count 1"},
	{"streamer stream shards there", "", 2, "how many shards", "--to"},
	{"streamer stream shards there --to 2 --add 1", "", 2, "how many shards", "--to"},
	{"streamer stream shards there --to -1", "", 2, "how many shards", "--to"},
	{"streamer stream shards missing --add 1", "", 5, "missing", "check the name"},
	{"streamer stream clone there", "", 2, "a stream and a new name", "stream clone news news-2"},
	{"streamer stream clone missing new", "", 5, "missing", "check the name"},
	{"streamer stream clone there there", "", 2, `"there" is named twice`, "once"},
	{"streamer stream trim there", "", 2, "--before is wanted", "--before -7d"},
	{"streamer stream trim there --before elsewhere", "", 2, `"elsewhere"`, "@TIME"},
	{"streamer stream trim there --before end --shard x", "", 2, `"x"`, "0,2,4-6"},
	{"streamer stream trim there --before 0=1 --shard 0", "", 2, "names shards already", "leave out --shard"},
	{"streamer stream trim there --before end --shard 9", "", 5, "there[9]", ""},
	{"streamer stream trim there --before 9=1", "", 2, "no shard 9", ""},
	{"streamer stream trim missing --before end", "", 5, "missing", "check the name"},

	// group
	{"streamer group lss", "", 2, `unknown command "lss"`, "did you mean"},
	{"streamer group ls [", "", 2, `"[" is no glob`, "use * and ?"},
	{"streamer group ls a b", "", 2, `"b" is too much`, "quote it"},
	{"streamer group ls --broker kafka://{closed}", "", 3, "{closed}", "check that the broker runs"},
	{"streamer group info", "", 2, "a group is wanted", "group info workers"},
	{"streamer group info file:///tmp/x", "", 2, "is a URL and not the name of a group", "--broker"},
	{"streamer group info nobody", "", 5, "nobody", "check the name"},
	{"streamer group info nobody nobody", "", 2, `"nobody" is named twice`, "once"},
	{"streamer group members", "", 2, "one group is wanted", "group members workers"},
	{"streamer group members a b", "", 2, `"b" is too much`, "group members workers"},
	{"streamer group members nobody", "", 5, "nobody", "check the name"},
	{"streamer group lag --max -1", "", 2, "--max -1", "--max 1000"},
	{"streamer group lag --max-age soon", "", 2, "--max-age soon", "--max-age 30s"},
	{"streamer group seek", "", 2, "one group is wanted", "group seek workers"},
	{"streamer group seek g", "", 2, "say where to", "--to -1h"},
	{"streamer group seek g --to end --shift 1", "", 2, "in one way", "--to -1h"},
	{"streamer group seek g --to elsewhere", "", 2, `"elsewhere"`, "@TIME"},
	{"streamer group seek g --to end", "", 5, `g`, "check the name"},
	{"streamer group seek g --to end --stream missing", "", 5, "missing", "check the name"},
	{"streamer group seek g --to 5 --stream missing", "", 5, "missing", "check the name"},
	{"streamer group seek g --to end --stream there --shard 9", "", 5, "there[9]", ""},
	{"streamer group seek g --to 1 --stream there --shard 9", "", 5, "there[9]", ""},
	{"streamer group seek g --to 9=1 --stream there", "", 2, "no shard 9", ""},
	{"streamer group seek g --to 0=1 --shard 0 --stream there", "", 2, "names shards already", "leave out --shard"},
	{"streamer group seek g --to end --shard x", "", 2, `"x"`, "0,2,4-6"},
	{"streamer group seek g --shift 0", "", 2, "--shift 0 moves nothing", "--shift -10"},
	{"streamer group seek g --shift 5 --stream there", "", 5, "g", ""},
	{"streamer group seek g --from g", "", 2, "stands there already", "another group"},
	{"streamer group seek g --from nobody", "", 5, "nobody", "check the name"},
	{"streamer group undo", "", 2, "one group is wanted", "group undo workers"},
	{"streamer group undo g", "", 5, "nothing to undo: no change of g on file:", "by this URL"},
	{"streamer group clone g", "", 2, "a group and a new name", "group clone workers"},
	{"streamer group clone nobody h", "", 5, "nobody", "check the name"},
	{"streamer group clone g g", "", 2, `"g" is named twice`, "once"},
	{"streamer group rm", "", 2, "name the groups", "group rm workers"},
	{"streamer group rm g --match x*", "", 2, "or a --match", "group rm workers"},
	{"streamer group rm nobody --yes", "", 5, "nobody", "check the name"},
	{"streamer group rm --match [ --yes", "", 2, `"[" is no glob`, "use * and ?"},
	{"streamer group rm --match x* --yes", "", 5, "no group matches x*", ""},
	{"streamer group rm-offsets g", "", 2, "say which streams", "--stream news"},
	{"streamer group rm-offsets nobody --stream there", "", 5, "nobody", "check the name"},

	// pending
	{"streamer pending lss", "", 2, `unknown command "lss"`, "did you mean"},
	{"streamer pending ls there", "", 2, "a stream and a group are wanted", "pending ls news workers"},
	{"streamer pending ls there g x", "", 2, `"x" is too much`, "pending ls news workers"},
	{"streamer pending ls there g --min-idle soon", "", 2, "--min-idle soon", "--min-idle 10m"},
	{"streamer pending ls there g -n 0", "", 2, "--count 0", "-n 20"},
	{"streamer pending ls kafka://{closed}/x g", "", 2, "backend kafka has no pending messages", "drivers"},
	{"streamer pending claim there g --all", "", 2, "--to MEMBER", "pending claim news workers"},
	{"streamer pending claim there g --to m", "", 2, "name the messages, or --all", "pending claim news workers"},
	{"streamer pending ack there g", "", 2, "name the messages, or --all", "pending ack news workers"},
	{"streamer pending ack there g 1 --all", "", 2, "name the messages, or --all", "pending ack news workers"},
	{"streamer pending ack there g 1 --member m", "", 2, "--member is for --all", "leave it out"},
	{"streamer pending nack there g 1 --min-idle 1m", "", 2, "--min-idle is for --all", "leave it out"},
	{"streamer pending ack there g x", "", 2, `"x" is not a message`, "SHARD=SEQ"},
	{"streamer pending ack there g 9=1", "", 5, "there[9]", "pending ls"},

	// node, acl and user
	{"streamer node set 1 a=1 a=2 --yes", "", 2, `"a" is named twice`, "once"},
	{"streamer node set all a=1 b=1 a=default --yes", "", 2, `"a" is named twice`, "once"},
	{"streamer acl grant alice read, --stream x", "", 2, `"read,": an operation is empty`, "acl grant alice read,describe"},
	{"streamer acl grant alice ,read --stream x", "", 2, `",read": an operation is empty`, "acl grant alice read,describe"},
	{"streamer acl revoke alice ,, --stream x", "", 2, `",,": an operation is empty`, "acl revoke alice read,describe"},
	{"streamer cluster reassign a/0=1 a/0=2 --yes", "", 2, `"a/0" is named twice`, "once"},
	{"streamer cluster elect a/0 a/0", "", 2, `"a/0" is named twice`, "once"},
	{"streamer user create alice", "", 2, "a new user needs a password", "--no-password"},
	{"streamer user create alice --no-password --password-file x", "", 2, "[password-file no-password]", ""},
	{"streamer user set alice", "", 2, "say what to change", "--password-file"},
	{"streamer acl grant alice read,read --stream x", "", 2, `"read" is named twice`, "once"},
}

// TestBadAdministration is TestBadInput for the rows above.
func TestBadAdministration(t *testing.T) {
	dir := badFolder(t)
	closed := closedPort(t)
	for _, b := range adminBads {
		t.Run(strings.ReplaceAll(b.args, "/", "|"), func(t *testing.T) {
			t.Parallel()
			own := t.TempDir()
			b.check(t, dir, own, strings.NewReplacer("{dir}", dir, "{closed}", closed))
		})
	}
}

//go:build unix

package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// redisBads are calls on Redis that must fail. {redis} is the address of a
// server that is well, and so on, see redisBadServers.
var redisBads = []bad{
	// URLs
	{"streamer consume news --broker redis://", "", 2, "no server is named", "redis://host"},
	{"streamer consume news --broker redis+unix://", "", 2, "no socket is named", "redis+unix:///run/redis/redis.sock"},
	{"streamer consume news --broker redis://h:99999", "", 2, "99999", ""},
	{"streamer consume news --broker redis://h:door/", "", 2, `"door" is not a port`, ""},
	{"streamer consume news --broker redis://h/x", "", 2, `"/x"`, "leave out"},
	{"streamer consume news --broker redis://h/1", "", 2, `"/1"`, "?db=1"},
	{"streamer produce redis://h:6379", "", 2, "names no stream", "redis://HOST:PORT/STREAM"},
	{"streamer consume redis+unix://", "", 2, "names no stream", "redis+unix:///SOCKET/STREAM"},
	{"streamer produce redis://h/a,b", "x\n", 2, "2 are named", "one command for each"},
	{"streamer consume redis://h1/a redis://h2/b", "", 2, "two brokers", "one command for each"},
	{"streamer consume news --broker redis://h1 --broker kafka://h2", "", 2, "two brokers", "nodes of one cluster"},
	{"streamer consume news --broker redis+unix:///a --broker redis+unix:///b", "", 2, "two brokers", "nodes of one cluster"},
	{"streamer consume news --broker redis://h?acks=all", "", 2, "acks", "known are"},
	{"streamer consume news --broker redis://h?db=one", "", 2, "db", ""},
	{"streamer consume news --broker redis://h?db=-1", "", 2, "db", "is wanted"},
	{"streamer consume news --broker redis://h1,h2?db=1", "", 2, "no databases", "leave out db"},
	{"streamer consume news --broker redis://h?field=key", "", 2, `field "key"`, "another name"},
	{"streamer consume news --broker redis://h?hash_tag=shared", "", 2, "hash_tag", "one of"},
	{"streamer consume news --broker redis://h?password=" + canary, "", 2, "password", ""},
	{"streamer consume news --broker redis://me@h", "", 2, `"me"`, "password_file"},
	{"streamer consume news --broker redis://me@h?password_file={dir}/none", "", 2, "none", ""},
	{"streamer consume news --broker redis://me:" + canary + "@h/x/y", "", 2, "", ""},
	{"streamer consume news --broker rediss://h?ca_file={dir}/none.pem", "", 2, "none.pem", ""},
	{"streamer consume news --broker rediss://h?ca_file={dir}/file", "", 2, "{dir}/file", "PEM"},
	{"streamer consume news --broker redis+sentinel://h", "", 2, "masters by name", "master=mymaster"},
	{"streamer consume news --broker redis://h?master=mymaster", "", 2, "master", "redis+sentinel://"},
	{"streamer produce news --broker redis://{redis} -z zstd", "x\n", 2, "--compress", "leave it out"},
	{"streamer produce news --broker redis://h?max_len=5&max_age=1h", "", 2, "max_len and max_age", "leave out"},

	// servers
	{"streamer produce redis://{closed}/news", "x\n", 3, "{closed}", "check that the broker runs"},
	{"streamer consume redis://{closed}/news", "", 3, "{closed}", "check that the broker runs"},
	{"streamer consume redis+unix://{dir}/none.sock/news", "", 3, "none.sock", "does the server run?"},
	{"streamer flux {dir}/p news --broker redis://{closed} --require-broker", "", 3, "{closed}", "check that the broker runs"},
	{"streamer flux -d {dir}/p news --broker redis://{closed}", "", 3, "{closed}", "check that the broker runs"},
	{"streamer tap {dir}/p news --broker redis://{closed} --require-broker", "", 3, "{closed}", "check that the broker runs"},
	{"streamer consume news --broker redis://{http}", "", 3, "{http}", "not a Redis server"},
	{"streamer consume news --broker redis://{silent}", "", 3, "{silent}", ""},
	{"streamer consume news --broker rediss://{redis}", "", 3, "{redis}", "TLS"},
	{"streamer consume news --broker redis://{tls}", "", 3, "{tls}", "rediss://"},
	{"streamer consume news --broker rediss://{tls}", "", 4, "{tls}", "certificate"},
	{"streamer consume news --broker redis+sentinel://{redis}?master=mymaster", "", 2, "{redis}", "no Sentinel"},
	{"streamer produce news --broker redis://{redis}?replicas=1&request_timeout=5s", "x\n", 9, "0 of 1 replicas", ""},

	// credentials
	{"streamer consume news --broker redis://{auth}", "", 4, "{auth} wants a password", "password_file"},
	{"streamer consume news --broker redis://:" + canary + "@{auth}", "", 4, "{auth}", "password right"},
	{"streamer produce news --broker redis://me:" + canary + "@{auth}", "x\n", 4, `"me"`, "password right"},
	{"streamer consume secret --broker redis://limited:pass@{auth}", "", 4, `"limited"`, "secret"},
	{"streamer produce readonly --broker redis://limited:pass@{auth}", "x\n", 4, `"limited"`, "xadd"},
	{"streamer flux {dir}/p news --broker redis://{auth} --require-broker", "", 4, "{auth} wants a password", "password_file"},
	{"streamer tap {dir}/p news --broker redis://{auth}", "", 4, "{auth} wants a password", "password_file"},

	// what is there
	{"streamer consume missing --broker redis://{redis}", "", 5, `no stream "missing"`, "produce"},
	{"streamer tap {dir}/p missing --broker redis://{redis}", "", 5, `no stream "missing"`, "produce"},
	{"streamer consume news --broker redis://{redis} -s 7", "", 5, "7", "from 0"},
	{"streamer consume news --broker redis://{redis}?db=99", "", 2, "99", "databases"},
	{"streamer consume text --broker redis://{redis}", "", 2, `key "text"`, "no stream"},
	{"streamer produce text --broker redis://{redis}", "x\n", 2, `key "text"`, "no stream"},
	{"streamer flux {dir}/p text --broker redis://{redis}", "", 2, `key "text"`, "no stream"},
	{"streamer tap {dir}/p text --broker redis://{redis}", "", 2, `key "text"`, "no stream"},
	{"streamer produce news --broker redis://{redis}?no_autocreate new", "x\n", 5, "new", ""},
	{"streamer produce new --broker redis://{redis}?no_autocreate", "x\n", 5, `"new"`, ""},
	{"streamer produce news --broker redis://{redis} --to-shard 3", "x\n", 5, "no shard 3", ""},
	{"streamer produce news --broker redis://{redis}?max_record=10 --max-message 100", "far too long for ten bytes\n", 8, "too large", ""},
	{"streamer consume news --broker redis://{redis} --isolation uncommitted", "", 2, "uncommitted", "drivers"},
	{"streamer consume news --broker redis://{redis} --from 7=1-0", "", 2, "no shard 7", ""},

	// servers that take no records
	{"streamer produce news --broker redis://{full}?delivery_timeout=3s", "x\n", 9, "{full} is full (maxmemory)", "max_len"},
	{"streamer produce news --broker redis://{broken}?delivery_timeout=3s", "x\n", 9, "{broken} cannot write to its disk", "see its log"},
	{"streamer produce news --broker redis://{replica}?delivery_timeout=3s", "x\n", 9, "{replica} is a replica", "name the master"},
	{"streamer produce news --broker redis://{lonely}?delivery_timeout=3s", "x\n", 9, "{lonely} has too few replicas", "min-replicas-to-write"},
	{"streamer produce news --broker redis://{redis}?synced", "x\n", 2, "synced", "appendfsync always"},
}

// TestBadInputOnRedis is TestBadInput for the rows above.
func TestBadInputOnRedis(t *testing.T) {
	dir := badFolder(t)
	at := redisBadServers(t)
	for _, b := range redisBads {
		t.Run(strings.ReplaceAll(b.args, "/", "|"), func(t *testing.T) {
			t.Parallel()
			own := t.TempDir()
			r := strings.NewReplacer(append([]string{"{dir}/p", own + "/p", "{dir}", dir, "{closed}", closedPort(t)}, at...)...)
			b.check(t, dir, own, r)
		})
	}
}

// redisBadServers starts them, and returns what the table calls them and where
// they are.
func redisBadServers(t *testing.T) (at []string) {
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	at = []string{"{http}", strings.TrimPrefix(web.URL, "http://"), "{silent}", listen(t)}
	do := func(r *redistest.Servers, args ...string) {
		t.Helper()
		if _, err := r.Do(1, args...); err != nil {
			t.Fatal(err)
		}
	}
	server := func(name string, o redistest.Options) *redistest.Servers {
		r := redistest.ForTest(t, o)
		at = append(at, "{"+name+"}", r.Addr(1))
		return r
	}
	well := server("redis", redistest.Options{AppendOnly: true})
	do(well, "XADD", "news", "*", "msg", "x")
	do(well, "SET", "text", "precious")
	server("tls", redistest.Options{TLS: true})
	auth := server("auth", redistest.Options{Password: "right", Users: map[string]string{
		"limited": "on >pass ~readonly ~readonly:* +@all -xadd"}})
	do(auth, "XADD", "secret", "*", "msg", "x")
	do(auth, "XADD", "readonly", "*", "msg", "x")
	full := server("full", redistest.Options{})
	do(full, "XADD", "news", "*", "msg", "x")
	do(full, "CONFIG", "SET", "maxmemory", "1")
	server("lonely", redistest.Options{Directives: []string{"min-replicas-to-write 1"}})
	replica := server("replica", redistest.Options{Directives: []string{"replica-serve-stale-data yes"}})
	do(replica, "XADD", "news", "*", "msg", "x")
	do(replica, "REPLICAOF", "127.0.0.1", "1") // nobody is there, and it serves what it has

	// A snapshot cannot take the place of a folder: the save fails, and with
	// it, by default, all writes from then on.
	broken := server("broken", redistest.Options{Directives: []string{"save 3600 1", "dbfilename folder.rdb"}})
	if err := os.Mkdir(filepath.Join(broken.Dir(), "node-1", "folder.rdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	do(broken, "BGSAVE")
	until(t, func() bool {
		_, err := broken.Do(1, "XADD", "other", "*", "msg", "x")
		return err != nil && strings.HasPrefix(err.Error(), "MISCONF")
	})
	return at
}

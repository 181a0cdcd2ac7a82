package redis

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Options are the settings of one connection, which are also the query of a
// URL under the names in brackets. The zero value works.
type Options struct {
	// Options are the observer and logger of what Open returns. Warnings go to
	// slog.Default where there is no logger: nobody should do without
	// verification or address the wrong database unnoticed.
	seastreamer.Options

	TLS        bool   // [tls] encrypt; implied by rediss:// and the other TLS options
	CAFile     string // [ca_file] PEM of whom to trust; empty is the system's
	CertFile   string // [cert_file] PEM of the client's certificate, with KeyFile
	KeyFile    string // [key_file]
	ServerName string // [server_name] to expect in the server's certificate; empty is the host's
	Insecure   bool   // [insecure] encrypt without verifying who is there; warns
	// TLSConfig is used in place of the files where it is set.
	TLSConfig *tls.Config

	User         string // [user] or the URL's user; empty with a password is the user "default"
	Password     string // or the URL's password; never in the query
	PasswordFile string // [password_file] read at each connection, so that it can be replaced
	DB           int    // [db] the database; a cluster has only 0

	Master               string // [master] the name that Sentinel knows the master by, with redis+sentinel://
	SentinelUser         string // [sentinel_user] the sentinels' own user; the data's user is not told to them
	SentinelPassword     string // never in the query
	SentinelPasswordFile string // [sentinel_password_file] read at each connection

	ConnectTimeout time.Duration // [connect_timeout] to reach a server; zero is 5s
	RequestTimeout time.Duration // [request_timeout] to answer a request; zero is 10s
	// DeliveryTimeout [delivery_timeout] is how long a record is held that no
	// server takes for the time being, as it is away, moves, is full (OOM) or
	// cannot write to its disk (MISCONF); a warning says so. Then it has
	// failed, as not written. Zero is 2m.
	DeliveryTimeout time.Duration

	// Field [field] is the name of the entry field that holds the value; empty
	// is msg.
	Field string
	// HashTag [hash_tag] says how keys spread over the slots of a cluster:
	// none leaves them as they are, stream puts all shards of a stream into
	// one slot (keys {name} and {name}:N), shard puts shard N of all streams
	// into one slot (keys name:{N}).
	HashTag string
	// UnitTag [unit_tag] is the hash tag of the keys that keep the progress of a
	// Transactor; empty is its name. In a cluster all that it writes has to be
	// in the slot of that tag. Another tag is another progress.
	UnitTag string
	// Discover [discover] says how shards are found: exists asks for name:0,
	// name:1 and so on until one is missing, scan looks at all keys of the
	// server and finds those that have gaps between them, too.
	Discover      string
	DiscoverEvery time.Duration // [discover_every] after which new shards are looked for; zero is 5s

	Shards int // [shards] to write to; zero is those that exist, the bare key where there are none
	// Partitioner [partitioner] chooses the shard of a record that names none:
	// hash goes by the key where there is one and in turn where there is none,
	// round_robin always in turn.
	Partitioner string
	// MaxRecord [max_record] bounds key, value and headers of a record; zero
	// is 64 MiB.
	MaxRecord int
	// MaxLen [max_len] trims a shard on write to about so many entries; zero
	// does not.
	MaxLen int64
	// MaxAge [max_age] trims a shard on write to about what is younger; zero
	// does not.
	MaxAge time.Duration
	// Replicas [replicas] has to acknowledge a record before it counts as
	// written (WAIT); zero waits for none. Fewer than the master has do not
	// keep a record through every fail-over: another one may be promoted.
	Replicas int
	// Synced [synced] acknowledges a record when it is on stable storage:
	// appendfsync always, or WAITAOF from Redis 7.2. A server that has neither
	// is refused.
	Synced bool
	// NoAutocreate [no_autocreate] keeps a producer from creating missing
	// streams.
	NoAutocreate bool

	// AckTimeout [ack_timeout] is how long a message of a group may stay
	// without a verdict before another member gets it; zero is 30s.
	AckTimeout time.Duration
	// Consumer [consumer] is the member's name in its groups; empty is one that
	// nobody else has. With a name only one consumer may be open at a time.
	Consumer string

	ClientName string // [client_name] by which CLIENT LIST knows the program; empty is sea-streamer
}

// The values that options may have; the first of each is the default.
var (
	hashTags     = []string{"none", "stream", "shard"}
	discoveries  = []string{"exists", "scan"}
	partitioners = []string{"hash", "round_robin"}
)

// maxRecordLimit is proto-max-bulk-len as Redis ships.
const maxRecordLimit = 512 << 20

// merged is o with what u says, checked and completed.
func (o Options) merged(u driver.URL) (Options, error) {
	q := u.Options()
	o.TLS = q.Bool("tls", o.TLS)
	o.CAFile = q.String("ca_file", o.CAFile)
	o.CertFile = q.String("cert_file", o.CertFile)
	o.KeyFile = q.String("key_file", o.KeyFile)
	o.ServerName = q.String("server_name", o.ServerName)
	o.Insecure = q.Bool("insecure", o.Insecure)
	o.User = q.String("user", o.User)
	o.PasswordFile = q.String("password_file", o.PasswordFile)
	o.DB = q.Int("db", o.DB)
	o.Master = q.String("master", o.Master)
	o.SentinelUser = q.String("sentinel_user", o.SentinelUser)
	o.SentinelPasswordFile = q.String("sentinel_password_file", o.SentinelPasswordFile)
	o.ConnectTimeout = q.Duration("connect_timeout", o.ConnectTimeout)
	o.RequestTimeout = q.Duration("request_timeout", o.RequestTimeout)
	o.DeliveryTimeout = q.Duration("delivery_timeout", o.DeliveryTimeout)
	o.Field = q.String("field", o.Field)
	o.HashTag = q.OneOf("hash_tag", o.HashTag, hashTags...)
	o.UnitTag = q.String("unit_tag", o.UnitTag)
	o.Discover = q.OneOf("discover", o.Discover, discoveries...)
	o.DiscoverEvery = q.Duration("discover_every", o.DiscoverEvery)
	o.Shards = q.Int("shards", o.Shards)
	o.Partitioner = q.OneOf("partitioner", o.Partitioner, partitioners...)
	o.MaxRecord = int(q.Size("max_record", int64(o.MaxRecord)))
	o.MaxLen = int64(q.Int("max_len", int(o.MaxLen)))
	o.MaxAge = q.Duration("max_age", o.MaxAge)
	o.Replicas = q.Int("replicas", o.Replicas)
	o.Synced = q.Bool("synced", o.Synced)
	o.NoAutocreate = q.Bool("no_autocreate", o.NoAutocreate)
	o.AckTimeout = q.Duration("ack_timeout", o.AckTimeout)
	o.Consumer = q.String("consumer", o.Consumer)
	o.ClientName = q.String("client_name", o.ClientName)
	if err := q.Err(); err != nil {
		return o, err
	}
	if u.User != nil {
		if name := u.User.Username(); name != "" {
			o.User = name
		}
		if p, ok := u.User.Password(); ok {
			o.Password = p
		}
	}
	o.fill()
	return o, o.check()
}

func (o *Options) fill() {
	for _, d := range []struct {
		at   *time.Duration
		zero time.Duration
	}{
		{&o.ConnectTimeout, 5 * time.Second},
		{&o.RequestTimeout, 10 * time.Second},
		{&o.DeliveryTimeout, 2 * time.Minute},
		{&o.DiscoverEvery, 5 * time.Second},
		{&o.AckTimeout, 30 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.zero
		}
	}
	for _, s := range []struct {
		at   *string
		zero string
	}{
		{&o.Field, "msg"},
		{&o.HashTag, hashTags[0]},
		{&o.Discover, discoveries[0]},
		{&o.Partitioner, partitioners[0]},
		{&o.ClientName, "sea-streamer"},
	} {
		if *s.at == "" {
			*s.at = s.zero
		}
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = 64 << 20
	}
	o.TLS = o.TLS || o.CAFile != "" || o.CertFile != "" || o.ServerName != "" || o.Insecure || o.TLSConfig != nil
}

func (o *Options) check() error {
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return fmt.Errorf("cert_file and key_file go together: give both")
	case o.Password != "" && o.PasswordFile != "":
		return fmt.Errorf("there are two passwords: leave out the one in the URL or password_file")
	case o.User != "" && o.Password == "" && o.PasswordFile == "":
		return fmt.Errorf("user %q has no password: give password_file", o.User)
	case o.SentinelPassword != "" && o.SentinelPasswordFile != "":
		return fmt.Errorf("there are two passwords for the sentinels: leave out SentinelPassword or sentinel_password_file")
	case o.SentinelUser != "" && o.SentinelPassword == "" && o.SentinelPasswordFile == "":
		return fmt.Errorf("sentinel_user %q has no password: give sentinel_password_file", o.SentinelUser)
	case o.Field == "key" || o.Field == "ts" || strings.HasPrefix(o.Field, headerPrefix):
		return fmt.Errorf("field %q means something else in an entry: choose another name", o.Field)
	case !slices.Contains(hashTags, o.HashTag):
		return fmt.Errorf("hash tag %q: one of %s is wanted", o.HashTag, strings.Join(hashTags, ", "))
	case strings.ContainsAny(o.UnitTag, "{}") || strings.ContainsFunc(o.UnitTag, unicode.IsControl):
		return fmt.Errorf("unit tag %q: write the hash tag without its braces", o.UnitTag)
	case !slices.Contains(discoveries, o.Discover):
		return fmt.Errorf("discover %q: one of %s is wanted", o.Discover, strings.Join(discoveries, ", "))
	case !slices.Contains(partitioners, o.Partitioner):
		return fmt.Errorf("partitioner %q: one of %s is wanted", o.Partitioner, strings.Join(partitioners, ", "))
	case o.MaxLen > 0 && o.MaxAge > 0:
		return fmt.Errorf("max_len and max_age: Redis trims by one of them: leave out the other")
	case strings.ContainsAny(o.ClientName, " \r\n\t"):
		return fmt.Errorf("client_name %q: Redis takes no spaces in it", o.ClientName)
	}
	for _, n := range []struct {
		name     string
		n        int64
		from, to int64
	}{
		{"db", int64(o.DB), 0, 1 << 30},
		{"shards", int64(o.Shards), 0, 1 << 16},
		{"replicas", int64(o.Replicas), 0, 1 << 10},
		{"max_len", o.MaxLen, 0, 1 << 53},
		{"max_record", int64(o.MaxRecord), 1, maxRecordLimit},
	} {
		if n.n < n.from || n.n > n.to {
			return fmt.Errorf("%s: %d to %d is wanted", n.name, n.from, n.to)
		}
	}
	for _, d := range []struct {
		name     string
		d        time.Duration
		from, to time.Duration
	}{
		{"connect_timeout", o.ConnectTimeout, time.Millisecond, 10 * time.Minute},
		{"request_timeout", o.RequestTimeout, 100 * time.Millisecond, 15 * time.Minute},
		{"delivery_timeout", o.DeliveryTimeout, 100 * time.Millisecond, 24 * time.Hour},
		{"discover_every", o.DiscoverEvery, 100 * time.Millisecond, time.Hour},
		{"ack_timeout", o.AckTimeout, 100 * time.Millisecond, 24 * time.Hour},
		{"max_age", o.MaxAge, 0, 100 * 365 * 24 * time.Hour},
	} {
		if d.d < d.from || d.d > d.to {
			return fmt.Errorf("%s: %v to %v is wanted", d.name, d.from, d.to)
		}
	}
	return nil
}

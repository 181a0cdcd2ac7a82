package kafka

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Options are the settings of one connection, which are also the query of a
// URL under the names in brackets. The zero value works.
type Options struct {
	// Options are the observer and logger of what Open returns. What Insecure
	// and PlainWithoutTLS warn of goes to slog.Default where there is no
	// logger: nobody should do without the one or the other unnoticed.
	seastreamer.Options

	TLS        bool   // [tls] encrypt; implied by the other TLS options
	CAFile     string // [ca_file] PEM of whom to trust; empty is the system's
	CertFile   string // [cert_file] PEM of the client's certificate, with KeyFile
	KeyFile    string // [key_file]
	ServerName string // [server_name] to expect in the server's certificate; empty is the host's
	Insecure   bool   // [insecure] encrypt without verifying who is there; warns
	// TLSConfig is used in place of the files where it is set.
	TLSConfig *tls.Config

	SASL         string // [sasl] plain, scram-sha-256 or scram-sha-512; empty is scram-sha-512 where there is a user
	User         string // [user] or the URL's user
	Password     string // or the URL's password; never in the query
	PasswordFile string // [password_file] read at each connection, so that it can be replaced
	// PlainWithoutTLS [plain_without_tls] allows the password to be sent in
	// the clear, which SASL PLAIN does without TLS.
	PlainWithoutTLS bool

	Compression string // [compression] none, gzip, snappy, lz4 or zstd; empty is lz4

	ConnectTimeout  time.Duration // [connect_timeout] to reach a broker; zero is 5s
	RequestTimeout  time.Duration // [request_timeout] to answer a request; zero is 10s
	DeliveryTimeout time.Duration // [delivery_timeout] for a record to be acknowledged; zero is 2m
	SessionTimeout  time.Duration // [session_timeout] after which a silent member of a group is given up; zero is 45s
	MetadataAge     time.Duration // [metadata_age] after which new shards are looked for; zero is 15s
	// TransactionTimeout [transaction_timeout] bounds a unit of a Transactor,
	// from its first record to its commit; zero is 10s. Readers of what a job
	// wrote wait as long after it died, and so does a job that shares its
	// partition of __sea_position.
	TransactionTimeout time.Duration

	// MaxRecord [max_record] bounds key, value and headers of a record; zero
	// is 1,000,000 bytes. Batches are up to 48,576 bytes larger, which the
	// topic's max.message.bytes has to allow.
	MaxRecord int
	// MaxBatch [max_batch] bounds what a batch may decompress to; zero is 64
	// MiB. A larger one is a gap.
	MaxBatch int
	// NoAutocreate [no_autocreate] keeps a producer from asking the broker to
	// create missing topics. Whether the broker does is its own setting. Without
	// it a producer that still knows a topic which was deleted asks for it again,
	// within five minutes, as it keeps what it knows up to date.
	NoAutocreate bool

	ClientID string // [client_id] by which the broker's logs and quotas know the program; empty is sea-streamer
}

// The limits that no option sets, as franz-go would otherwise set them too
// large (its answer may have 100 MiB, its batch 1 GiB).
const (
	maxAnswer      = 32 << 20 // bytes of one answer of a broker, unless MaxRecord needs more
	maxFetch       = 8 << 20  // bytes that a broker is asked for at once
	defaultAhead   = 4 << 20  // held in memory of what was fetched ahead, where the consumer does not say
	defaultBudget  = 32 << 20 // bytes in flight of one producer
	batchOverhead  = 48_576   // bytes of a batch above its largest record: 1 MiB in all by default, which every broker takes
	maxRecordLimit = 512 << 20
)

// compressions are the values of Options.Compression; the first is the
// default.
var compressions = []string{"lz4", "none", "gzip", "snappy", "zstd"}

// mechanisms are the values of Options.SASL; the first is the default.
var mechanisms = []string{"scram-sha-512", "scram-sha-256", "plain"}

// merged is o with what u says, checked and completed.
func (o Options) merged(u driver.URL) (Options, error) {
	q := u.Options()
	o.TLS = q.Bool("tls", o.TLS)
	o.CAFile = q.String("ca_file", o.CAFile)
	o.CertFile = q.String("cert_file", o.CertFile)
	o.KeyFile = q.String("key_file", o.KeyFile)
	o.ServerName = q.String("server_name", o.ServerName)
	o.Insecure = q.Bool("insecure", o.Insecure)
	o.SASL = q.OneOf("sasl", o.SASL, mechanisms...)
	o.User = q.String("user", o.User)
	o.PasswordFile = q.String("password_file", o.PasswordFile)
	o.PlainWithoutTLS = q.Bool("plain_without_tls", o.PlainWithoutTLS)
	o.Compression = q.OneOf("compression", o.Compression, compressions...)
	o.ConnectTimeout = q.Duration("connect_timeout", o.ConnectTimeout)
	o.RequestTimeout = q.Duration("request_timeout", o.RequestTimeout)
	o.DeliveryTimeout = q.Duration("delivery_timeout", o.DeliveryTimeout)
	o.SessionTimeout = q.Duration("session_timeout", o.SessionTimeout)
	o.MetadataAge = q.Duration("metadata_age", o.MetadataAge)
	o.TransactionTimeout = q.Duration("transaction_timeout", o.TransactionTimeout)
	o.MaxRecord = int(q.Size("max_record", int64(o.MaxRecord)))
	o.MaxBatch = int(q.Size("max_batch", int64(o.MaxBatch)))
	o.NoAutocreate = q.Bool("no_autocreate", o.NoAutocreate)
	o.ClientID = q.String("client_id", o.ClientID)
	if err := q.Err(); err != nil {
		return o, err
	}
	if u.User != nil {
		o.User = u.User.Username()
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
		{&o.SessionTimeout, 45 * time.Second},
		{&o.MetadataAge, 15 * time.Second},
		{&o.TransactionTimeout, 10 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.zero
		}
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = 1_000_000
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 64 << 20
	}
	if o.Compression == "" {
		o.Compression = compressions[0]
	}
	if o.SASL == "" && o.User != "" {
		o.SASL = mechanisms[0]
	}
	if o.ClientID == "" {
		o.ClientID = "sea-streamer"
	}
	o.TLS = o.TLS || o.CAFile != "" || o.CertFile != "" || o.ServerName != "" || o.Insecure || o.TLSConfig != nil
}

func (o *Options) check() error {
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return fmt.Errorf("cert_file and key_file go together: give both")
	case o.SASL != "" && o.User == "":
		return fmt.Errorf("sasl=%s needs a user: write kafka://user@host or give user", o.SASL)
	case o.SASL != "" && o.Password == "" && o.PasswordFile == "":
		return fmt.Errorf("user %q has no password: give password_file", o.User)
	case o.Password != "" && o.PasswordFile != "":
		return fmt.Errorf("there are two passwords: leave out the one in the URL or password_file")
	case o.PasswordFile != "" && o.User == "":
		return fmt.Errorf("password_file needs a user: write kafka://user@host or give user")
	case o.SASL == "plain" && !o.TLS && !o.PlainWithoutTLS:
		return fmt.Errorf("sasl=plain without TLS sends the password in the clear: add tls, or plain_without_tls where that is meant")
	case o.SASL != "" && !slices.Contains(mechanisms, o.SASL):
		return fmt.Errorf("SASL %q: one of %s is wanted", o.SASL, strings.Join(mechanisms, ", "))
	case !slices.Contains(compressions, o.Compression):
		return fmt.Errorf("compression %q: one of %s is wanted", o.Compression, strings.Join(compressions, ", "))
	case o.MaxRecord < 1 || o.MaxRecord > maxRecordLimit:
		return fmt.Errorf("max_record: 1 byte to 512 MiB is wanted")
	case o.MaxBatch < 1 || o.MaxBatch > 1<<30:
		return fmt.Errorf("max_batch: 1 byte to 1 GiB is wanted")
	}
	for _, d := range []struct {
		name     string
		d        time.Duration
		from, to time.Duration
	}{
		{"connect_timeout", o.ConnectTimeout, time.Millisecond, 10 * time.Minute},
		{"request_timeout", o.RequestTimeout, 100 * time.Millisecond, 15 * time.Minute},
		{"delivery_timeout", o.DeliveryTimeout, 100 * time.Millisecond, 24 * time.Hour},
		{"session_timeout", o.SessionTimeout, time.Second, 30 * time.Minute},
		{"metadata_age", o.MetadataAge, 100 * time.Millisecond, time.Hour},
		{"transaction_timeout", o.TransactionTimeout, time.Second, 15 * time.Minute},
	} {
		if d.d < d.from || d.d > d.to {
			return fmt.Errorf("%s: %v to %v is wanted", d.name, d.from, d.to)
		}
	}
	return nil
}

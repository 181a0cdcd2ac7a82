// Package arch holds the rules of who may import whom, and its test fails the
// build when a file breaks one. The rules are data: to change the architecture
// is to change the table, and its sentences, with a reason.
package arch

// rule is one sentence about imports and what it means in paths.
//
// Paths of this module begin with "./" and the root package is "."; "std" is
// the whole standard library; any other is an import path. A trailing "/..."
// means that package and all below it. A rule speaks of the packages in From
// (what they may import) or of those in To (who may import them).
type rule struct {
	Why string

	From  []string
	Only  []string // the packages in From import nothing else
	Never []string // the packages in From import none of these

	To []string
	By []string // nobody else imports the packages in To

	Tests bool // the rule holds for test files too
}

var rules = []rule{
	{
		Why:  "driver is what a backend implements: whoever implements it gets no other dependency",
		From: []string{"./driver"},
		Only: []string{"std"},
	},
	{
		Why:  "the core is the standard library and driver: what it imports, every user imports",
		From: []string{"."},
		Only: []string{"std", "./driver"},
	},
	{
		Why:  "codec, admin and flow import the standard library, the core and each other; a heavier dependency goes into a nested package",
		From: []string{"./codec", "./admin", "./flow"},
		Only: []string{"std", ".", "./driver", "./codec", "./admin", "./flow"},
	},
	{
		Why:  "drivertest runs in everybody's tests: it needs the core, the reference backend and a leak detector, no more",
		From: []string{"./driver/drivertest"},
		Only: []string{"std", ".", "./driver", "./backend/memory", "go.uber.org/goleak"},
	},
	{
		Why: "drivertest is imported by tests only: it links the testing package",
		To:  []string{"./driver/drivertest"},
	},
	{
		Why: "backend/all links every backend: only commands choose it, and the nested modules with examples, benchmarks and end-to-end tests",
		To:  []string{"./backend/all"},
		By:  []string{"./cmd/...", "./internal/cli/..."},
	},
	{
		Why:   "a backend stands under the core's users: it knows neither the command line nor administration nor processing",
		From:  []string{"./backend/..."},
		Never: []string{"./internal/cli/...", "./internal/pipe/...", "./internal/iostreams/...", "./cmd/...", "./admin/...", "./flow/..."},
		Tests: true,
	},
	{
		Why: "internal/cli is the commands' own: nothing else builds on it",
		To:  []string{"./internal/cli/..."},
		By:  []string{"./cmd/...", "./internal/cli/..."},
	},
	{
		Why:   "pipes and terminals are mechanics: they can be tested without a command line and without a backend",
		From:  []string{"./internal/pipe/...", "./internal/iostreams/..."},
		Never: []string{"./internal/cli/...", "./backend/...", "./cmd/..."},
	},
	{
		Why: "a Kafka client is for the Kafka backend: everyone else speaks through the core",
		To:  []string{"github.com/twmb/franz-go/..."},
		By:  []string{"./backend/kafka/..."},
	},
	{
		Why: "a Redis client is for the Redis backend: everyone else speaks through the core",
		To:  []string{"github.com/redis/rueidis/..."},
		By:  []string{"./backend/redis/..."},
	},
	{
		Why: "Prometheus is for who wants metrics: nobody else pays for its client",
		To:  []string{"github.com/prometheus/..."},
		By:  []string{"./metrics", "./internal/cli/metrics"},
	},
	{
		Why: "command-line libraries are for the command line",
		To:  []string{"github.com/spf13/..."},
		By:  []string{"./cmd/...", "./internal/cli/..."},
	},
	{
		Why: "tools for tests stay in tests",
		To:  []string{"go.uber.org/goleak", "github.com/google/go-cmp/...", "pgregory.net/rapid", "testing", "testing/..."},
		By:  []string{"./driver/drivertest", "./internal/redistest"},
	},
	{
		Why: "real servers are for tests",
		To:  []string{"./internal/redistest"},
	},
	{
		Why:   "no cgo: one static binary for every system",
		To:    []string{"C"},
		Tests: true,
	},
	{
		Why:   "no assertion library: got, want, and go-cmp where structures are compared",
		To:    []string{"github.com/stretchr/..."},
		Tests: true,
	},
}

package arch

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestThisModuleKeepsTheRules(t *testing.T) {
	root := os.DirFS("../..")
	files, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	// Without this a wrong root would pass.
	seen := map[string]bool{}
	for _, f := range files {
		seen[f.pkg] = true
	}
	for _, pkg := range []string{".", "./driver", "./internal/arch"} {
		if !seen[pkg] {
			t.Errorf("no file of package %s was read", pkg)
		}
	}
	broken, err := check(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range broken {
		t.Error(b)
	}
}

// go install refuses a module with replace directives, and whoever requires it
// does not get them.
func TestGoModReplacesNothing(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word == "replace" || word == "exclude" {
			t.Errorf("go.mod: %s", strings.TrimSpace(line))
		}
	}
}

func TestARuleIsOfOneKind(t *testing.T) {
	for _, r := range rules {
		from := len(r.From) > 0 && (len(r.Only) > 0) != (len(r.Never) > 0) && len(r.To)+len(r.By) == 0
		to := len(r.To) > 0 && len(r.From)+len(r.Only)+len(r.Never) == 0
		if from == to || r.Why == "" {
			t.Errorf("rule %q: want From with Only or Never, or To with By, and a reason", r.Why)
		}
	}
}

// Each rule, broken by a file and kept by another.
func TestCheck(t *testing.T) {
	for _, test := range []struct {
		file   string
		source string
		want   string // in the complaint; "" means none
	}{
		{"driver/a.go", `import "io"`, ""},
		{"driver/a.go", `import "golang.org/x/sys/unix"`, "driver is what a backend implements"},
		{"driver/a.go", `import "github.com/seastreamer/seastreamer"`, "driver is what a backend implements"},
		{"a.go", `import "github.com/seastreamer/seastreamer/driver"`, ""},
		{"a.go", `import "github.com/seastreamer/seastreamer/codec"`, "the core is"},
		{"a_test.go", `import "github.com/seastreamer/seastreamer/backend/memory"`, ""},
		{"codec/a.go", `import "github.com/seastreamer/seastreamer"`, ""},
		{"codec/a.go", `import "github.com/tidwall/gjson"`, "codec, admin and flow"},
		{"codec/avro/a.go", `import "github.com/twmb/avro"`, ""},
		{"driver/drivertest/a.go", `import ("testing"; "go.uber.org/goleak"; "github.com/seastreamer/seastreamer/backend/memory")`, ""},
		{"driver/drivertest/a.go", `import "github.com/seastreamer/seastreamer/backend/file"`, "drivertest runs in"},
		{"backend/file/a.go", `import "github.com/seastreamer/seastreamer/driver/drivertest"`, "tests only"},
		{"backend/file/a_test.go", `import "github.com/seastreamer/seastreamer/driver/drivertest"`, ""},
		{"internal/cli/a.go", `import "github.com/seastreamer/seastreamer/backend/all"`, ""},
		{"flow/x/a.go", `import "github.com/seastreamer/seastreamer/backend/all"`, "links every backend"},
		{"backend/file/a.go", `import "github.com/seastreamer/seastreamer/internal/pipe"`, "stands under"},
		{"backend/file/a.go", `import "github.com/seastreamer/seastreamer/backend/memory"`, "never imports another"},
		{"backend/file/a.go", `import "github.com/seastreamer/seastreamer/backend/file/ss"`, ""},
		{"backend/all/a.go", `import "github.com/seastreamer/seastreamer/backend/file"`, ""},
		{"internal/pipe/a.go", `import "github.com/seastreamer/seastreamer/internal/cli"`, "the commands' own"},
		{"internal/cli/flux/a.go", `import "github.com/seastreamer/seastreamer/internal/cli"`, ""},
		{"internal/pipe/a.go", `import "github.com/seastreamer/seastreamer/backend/file"`, "mechanics"},
		{"internal/cli/a.go", `import "github.com/twmb/franz-go/pkg/kgo"`, "for the Kafka backend"},
		{"backend/kafka/a.go", `import "github.com/twmb/franz-go/pkg/kgo"`, ""},
		{"admin/a.go", `import "github.com/prometheus/client_golang/prometheus"`, "Prometheus is for"},
		{"metrics/a.go", `import "github.com/prometheus/client_golang/prometheus"`, ""},
		{"internal/pipe/a.go", `import "github.com/spf13/cobra"`, "for the command line"},
		{"internal/pipe/a.go", `import "testing"`, "stay in tests"},
		{"internal/pipe/a.go", `import "C"`, "no cgo"},
		{"internal/pipe/a_test.go", `import "github.com/stretchr/testify/assert"`, "no assertion library"},
		{"internal/pipe/a.go", `import _ "net/http/pprof"`, "side effects"},
		{"internal/pipe/a.go", `import _ "embed"`, ""},
		{"internal/pipe/a.go", `func init() {}`, "init function"},
		{"internal/pipe/a_windows.go", `import "C"`, "no cgo"},
		{"nested/b/a.go", `import "C"`, ""}, // a module of its own, see below
		{"testdata/a.go", `import "C"`, ""},
	} {
		fsys := fstest.MapFS{
			"go.mod":        {Data: []byte("module " + module)},
			"nested/go.mod": {Data: []byte("module " + module + "/nested")},
			test.file:       {Data: []byte("package p\n" + test.source + "\n")},
		}
		broken, err := check(fsys)
		if err != nil {
			t.Errorf("%s with %s: %v", test.file, test.source, err)
			continue
		}
		got := strings.Join(broken, "\n")
		if ok := test.want == "" && got == "" || test.want != "" && strings.Contains(got, test.want); !ok {
			t.Errorf("%s with %s: complaints %q, want one with %q", test.file, test.source, got, test.want)
		}
	}
}

package redis

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// FuzzACL reads lines as ACL LIST writes them: what was read is written such
// that it is read as the same, and no password shows.
func FuzzACL(f *testing.F) {
	for _, line := range []string{
		"user default on nopass ~* &* +@all",
		"user eve on #2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 ~a:* %R~b +@read -keys +config|get (%RW~c resetchannels -@all +xadd) (+info)",
		"user x off sanitize-payload resetchannels -@all",
		"user ( on ~a) (~b +@all", "user y on %~ ~ & + - (", "user z (%W~a\\*b %R~c) )",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		u, ok := parseACL(line)
		if !ok {
			return
		}
		native := u.native()
		for _, w := range strings.Fields(native) {
			if w[0] == '#' && !strings.Contains(line, "(") {
				t.Errorf("%q shows a password", native)
			}
		}
		o := &Options{HashTag: "none", Field: "msg"}
		for i := range u.sets {
			for _, r := range o.rulesOf(u.name, &u.sets[i], i > 0) {
				if r.User != u.name || r.Operation == "" || r.Kind == "" {
					t.Errorf("%q: rule %+v", line, r)
				}
			}
		}
		again, ok := parseACL("user " + u.name + " " + native)
		if !ok {
			t.Fatalf("%q is written %q, which cannot be read", line, native)
		}
		again.hashes = u.hashes
		if d := cmp.Diff(native, again.native()); d != "" {
			t.Errorf("%q (-written +read and written):\n%s", line, d)
		}
	})
}

func TestPatternsAreNames(t *testing.T) {
	for _, tag := range hashTags {
		o := &Options{HashTag: tag}
		for pattern, want := range map[string]string{
			"*": "*", "news": "news", "news*": "news prefix", `a\*b`: "a*b", `a\*b*`: "a*b prefix", "a?b": "a?b", "a*b": "a*b", `x\`: `x\`, "[ab]": "[ab]",
		} {
			if tag == "stream" {
				continue // its keys have braces
			}
			got, prefix := o.nameOf(pattern)
			if prefix {
				got += " prefix"
			}
			if got != want {
				t.Errorf("%s: %q is %q, want %q", tag, pattern, got, want)
			}
		}
	}
	o := &Options{HashTag: "stream"}
	if got, prefix := o.nameOf("{news}"); got != "news" || prefix {
		t.Errorf("got %q, %v", got, prefix)
	}
	if got, prefix := o.nameOf("{news*"); got != "news" || !prefix {
		t.Errorf("got %q, %v", got, prefix)
	}
}

// A user who may not log in still may not after something else of it changed.
func TestSetUserLeavesADisabledOneDisabled(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	a := open(t, r.URL(), Options{})
	for _, u := range []driver.UserSpec{
		{Name: "alice", Password: "x"}, {Name: "alice", Disable: true}, {Name: "alice", Password: "y"}, {Name: "alice", Native: []string{"~news"}},
	} {
		if err := a.SetUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Call(t, 1, "ACL", "LIST"); !strings.Contains(got, "user alice off ") {
		t.Errorf("ACL LIST is %s", got)
	}
}

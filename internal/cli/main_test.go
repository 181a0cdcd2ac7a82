package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The tests run the commands as processes of their own: the test binary under
// the program's two names.
func TestMain(m *testing.M) {
	sea := func() { os.Exit(Main(os.Args)) }
	testscript.Main(m, map[string]func(){"sea": sea, "sea-streamer": sea})
}

func TestScripts(t *testing.T) {
	p := scripts()
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

// raceExit is the environment of commands: with the race detector each would
// sleep for a second at its end, and tests run many.
const raceExit = "GORACE=atexit_sleep_ms=20"

// scripts is how scripts run, but for which.
func scripts() testscript.Params {
	return testscript.Params{
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			// The embedded default of each script is its own.
			e.Setenv("XDG_DATA_HOME", e.WorkDir+"/data")
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
			e.Setenv("HOME", e.WorkDir)
			name, value, _ := strings.Cut(raceExit, "=")
			e.Setenv(name, value)
			return nil
		},
	}
}

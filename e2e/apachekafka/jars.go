//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Version is the release of Apache Kafka that this package runs, and the name
// of the cached folder. pom.xml says the same; a test compares them.
const Version = "4.3.1"

//go:embed pom.xml
var pom []byte

// Jars returns the folder with Kafka's jars and fetches them with Maven the
// first time. The folder appears complete or not at all, and callers in other
// processes wait for the one that fetches.
func Jars(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("apachekafka: where to keep the jars: %w (set HOME or XDG_CACHE_HOME)", err)
	}
	parent := filepath.Join(cache, "sea-streamer")
	dir := filepath.Join(parent, "kafka-"+Version)
	if isDir(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("apachekafka: %w", err)
	}

	// One process fetches, the others wait here. The kernel lets go of the lock
	// when its holder dies.
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return "", fmt.Errorf("apachekafka: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("apachekafka: lock %s: %w", lock.Name(), err)
	}
	if isDir(dir) { // fetched while we waited
		return dir, nil
	}
	if err := fetchJars(ctx, parent, dir); err != nil {
		return "", err
	}
	return dir, nil
}

func fetchJars(ctx context.Context, parent, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("apachekafka: Kafka's jars are not in " + dir + " and mvn, which fetches them, is not installed: run scripts/setup")
	}
	temp, err := os.MkdirTemp(parent, "fetching-")
	if err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	file := filepath.Join(temp, "pom.xml")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}
	out := filepath.Join(temp, "jars")
	var said []byte
	for range 3 { // a download that breaks off goes on where it was
		said, err = exec.CommandContext(ctx, mvn, "--quiet", "--batch-mode", "--file", file,
			"dependency:copy-dependencies", "-DoutputDirectory="+out).CombinedOutput()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("apachekafka: mvn could not fetch Kafka's jars: %w\n%s", err, tail(said))
	}
	if err := os.Rename(out, dir); err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}
	return nil
}

func isDir(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.IsDir()
}

// tail returns the end of what a process said: enough to see why it failed.
func tail(b []byte) []byte {
	const most = 4 << 10
	b = bytes.TrimSpace(b)
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return b
}

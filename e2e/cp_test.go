//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A mirror between every two of Kafka, Redis and files is killed while it
// copies, again and again, and started again, each time taking over from one
// that may still be there. What comes out is what went in, read back with
// clients of others, and the last of two ends the first with 6.
func TestCopiesAreExact(t *testing.T) {
	sea := buildSea(t)
	k, err := apachekafka.Start(t.Context(), apachekafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	r := redistest.ForTest(t, redistest.Options{AppendOnly: true})
	dir := t.TempDir()
	t.Setenv("PATH", filepath.Dir(sea)+":"+os.Getenv("PATH"))
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	t.Setenv("REDISCLI", "redis-cli -u "+r.URL())
	// COPY_LINES=1000000 COPY_KILLS=20 is a longer run.
	n, kills := 100_000, 3
	for name, to := range map[string]*int{"COPY_LINES": &n, "COPY_KILLS": &kills} {
		if s := os.Getenv(name); s != "" {
			if *to, err = strconv.Atoi(s); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	t.Setenv("KILLS", strconv.Itoa(kills))
	run(t, dir, fmt.Sprintf("seq -f '%%012.0f' %d > want", n))
	brokers := map[string]string{"kafka": "kafka://" + k.Brokers()[0], "redis": r.URL(), "file": "file://" + dir}
	for name, at := range brokers {
		run(t, dir, fmt.Sprintf("sea streamer produce %s/from-%s want", at, name))
	}
	for from, src := range brokers {
		for to, dst := range brokers {
			t.Run(from+" to "+to, func(t *testing.T) {
				stream := from + "-" + to
				for v, s := range map[string]string{"SRC": src + "/from-" + from, "DST": dst + "/" + stream, "STREAM": stream, "TO": to, "KAFKA": k.Brokers()[0]} {
					t.Setenv(v, s)
				}
				run(t, dir, copies)
			})
		}
	}
}

// copies kills copies at random instants, and compares. kcat reads committed
// messages of a finished topic, which is what it does by default.
const copies = `set -eu
behind=0
for i in $(seq $KILLS); do
	: > log
	sea streamer mirror $SRC $DST --report 100ms 2>> log &
	pid=$!
	until grep -q copied log; do kill -0 $pid; sleep 0.005; done
	sleep 0.0$((RANDOM % 10))
	kill -9 $pid; wait $pid 2> /dev/null || true
	if tail -n 1 log | grep -q behind; then behind=$((behind + 1)); fi
done
echo "$KILLS killed, $behind of them before the end"
: > first
sea streamer mirror $SRC $DST --report 100ms 2>> first &
first=$!
# When it has copied something it has claimed the progress.
echo another | sea streamer produce $SRC
until grep -q '^[1-9].* copied' first; do kill -0 $first; sleep 0.005; done
sea streamer cp $SRC $DST 2> cp.log
tail -n 1 cp.log
# The first learns of it when it has something to copy.
echo one more | sea streamer produce $SRC
code=0; wait $first || code=$?
if [ $code != 6 ]; then echo "the one that was taken over ended with $code"; cat first; exit 1; fi
sea streamer cp $SRC $DST 2> cp.log
tail -n 1 cp.log
sea streamer consume $SRC --from start --until end > $STREAM.want
case $TO in
kafka)
	# What was committed last can be read a moment later.
	for i in $(seq 300); do
		kcat -C -e -q -X isolation.level=read_committed -b $KAFKA -t $STREAM > $STREAM.got
		if [ $(wc -l < $STREAM.got) -ge $(wc -l < $STREAM.want) ]; then break; fi
		sleep 0.1
	done ;;
redis) $REDISCLI --raw XRANGE $STREAM - + | awk '/^(msg|ts)$/ { f = $0; next } f == "msg" { print } { f = "" }' > $STREAM.got ;;
file) sea streamer consume $DST --from start --until end > $STREAM.got ;;
esac
cmp $STREAM.want $STREAM.got
wc -l < $STREAM.got
`

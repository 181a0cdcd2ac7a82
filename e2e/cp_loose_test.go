//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// Copies whose progress is a file are killed, again and again, at random
// instants and while they are in full flight. With at-least nothing is missing
// and what is repeated is repeated in order; with at-most nothing is repeated
// and what is left is in order. LOOSE_COPIES=all kills both of every pair.
func TestLooseCopies(t *testing.T) {
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
	t.Setenv("KAFKA", k.Brokers()[0])
	t.Setenv("REDISCLI", "redis-cli -u "+r.URL())
	run(t, dir, "seq -f '%012.0f' 1000000 > want")
	brokers := map[string]string{"kafka": "kafka://" + k.Brokers()[0], "redis": r.URL(), "file": "file://" + dir}
	for name, at := range brokers {
		run(t, dir, "sea streamer produce "+at+"/from-"+name+" want")
	}
	for i, pair := range [][2]string{{"kafka", "kafka"}, {"redis", "kafka"}, {"kafka", "redis"}, {"file", "redis"}} {
		for j, delivery := range []string{"at-least", "at-most"} {
			if i%2 != j && os.Getenv("LOOSE_COPIES") != "all" {
				continue // one of each pair, unless there is time
			}
			t.Run(pair[0]+" to "+pair[1]+", "+delivery, func(t *testing.T) {
				stream := pair[0] + "-" + delivery
				for v, s := range map[string]string{"SRC": brokers[pair[0]] + "/from-" + pair[0], "DST": brokers[pair[1]] + "/" + stream, "STREAM": stream, "TO": pair[1], "DELIVERY": delivery} {
					t.Setenv(v, s)
				}
				run(t, dir, looseCopies)
			})
		}
	}
}

// A copy of a million lines takes most of a second or more, and stores its
// progress every second. The first is killed when something has arrived, the
// others at random. What a killed copy has sent already, a busy broker could take
// behind what the next one sends, so the next one waits until the broker has closed
// the connections of the dead: those that are half closed are in /proc (of Linux).
const looseCopies = `set -eu
size() {
	case $TO in
	kafka) n=$(kcat -Q -b $KAFKA -t $STREAM:0:-1 2> /dev/null | sed 's/.* offset //') ;;
	redis) n=$($REDISCLI XLEN $STREAM) ;;
	esac
	echo ${n:-0}
}
taken() {
	case $TO in
	kafka) [ ! -r /proc/net/tcp ] || awk -v port=$(printf ':%04X' ${KAFKA##*:}) \
		'substr($3, 9) == port && ($4 == "04" || $4 == "05") { n++ } END { exit n > 0 }' /proc/net/tcp ;;
	redis) [ $($REDISCLI CLIENT LIST | grep -c addr=) = 1 ] ;;
	esac
}
killed=0
for i in $(seq 6); do
	sea streamer cp $SRC $DST --delivery $DELIVERY 2> log &
	pid=$!
	if [ $i = 1 ]; then
		until [ $(size) -gt 0 ]; do kill -0 $pid 2> /dev/null || break; done
	else
		sleep 0.$((RANDOM % 5))
		if [ $i -gt 3 ]; then sleep 1; fi
	fi
	if kill -9 $pid 2> /dev/null; then killed=$((killed + 1)); fi
	wait $pid 2> /dev/null || true
	until taken; do sleep 0.01; done
	if [ $i = 1 ]; then echo "killed at $(size)"; fi
done
sea streamer cp $SRC $DST --delivery $DELIVERY 2> log
tail -n 1 log
sea streamer consume $DST --from start --until end > got
# What goes back is a repeat; what comes first comes in order.
awk '
	$1 <= last { back++ }
	!($1 in seen) { if ($1 + 0 <= most) wrong++; most = $1 + 0; seen[$1]; n++ }
	{ last = $1 }
	END { printf "%d different of %d, back %d times, %d out of order\n", n, NR, back, wrong; if (wrong) exit 1 }' got
echo "$killed killed"
case $DELIVERY in
at-least) sort -u got | cmp - want ;;
at-most) sort -u got | cmp - <(sort got) ;;
esac
[ $killed -gt 0 ]
`

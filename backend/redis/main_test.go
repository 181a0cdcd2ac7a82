package redis

import (
	stdflag "flag"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// sideBySide is how many tests run at the same time, of those that are parallel:
// the ones that wait for servers and time-outs most of the time. As many as
// there are processors, which is Go's own choice, would leave those idle. Tests
// that want something within a second or two are not parallel.
const sideBySide = 4

func TestMain(m *testing.M) {
	stdflag.Parse()
	given := false
	stdflag.Visit(func(f *stdflag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = stdflag.Set("test.parallel", strconv.Itoa(sideBySide))
	}
	goleak.VerifyTestMain(m, sleepers...)
}

// sleepers are goroutines of rueidis that close a cluster's connections five
// seconds after it had no more use for them, or look at the cluster again
// within a second after a connection was lost, and then end. Nothing ends them
// earlier, not even its Close.
var sleepers = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
}

package redis

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, sleepers...) }

// sleepers are goroutines of rueidis that close a cluster's connections five
// seconds after it had no more use for them, or look at the cluster again
// within a second after a connection was lost, and then end. Nothing ends them
// earlier, not even its Close.
var sleepers = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
}

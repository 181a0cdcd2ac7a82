// The tests that need real brokers. A module of its own, never tagged, so
// that what they need is never a requirement of those who use SeaStreamer.
module github.com/seastreamer/seastreamer/e2e

go 1.26.0

require (
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
	github.com/twmb/franz-go/pkg/kmsg v1.15.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/redis/rueidis v1.0.79 // indirect
	github.com/seastreamer/seastreamer v0.0.0
)

replace github.com/seastreamer/seastreamer => ../

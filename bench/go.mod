// The measures: SeaStreamer beside its peers. A module of its own, never
// tagged, so that what it needs is never a requirement of those who use
// SeaStreamer.
module github.com/seastreamer/seastreamer/bench

go 1.26.0

require (
	github.com/redis/rueidis v1.0.79
	github.com/seastreamer/seastreamer v0.0.0
	github.com/seastreamer/seastreamer/e2e v0.0.0
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	github.com/seastreamer/seastreamer => ../
	github.com/seastreamer/seastreamer/e2e => ../e2e
)

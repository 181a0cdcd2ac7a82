package kafka

import "github.com/twmb/franz-go/pkg/kgo"

// A record's Partition says, until franz-go sets it, which shard it is meant
// for: noShard leaves the choice to the partitioner, and explicit(i) names
// one. Both are negative, so that a record that fails before it was given a
// partition, and so before anything of it could leave, can be told from the
// others.
const noShard = -1

func explicit(i int32) int32 { return -2 - i }

// named is the shard that a record names, negative where it names none.
func named(r *kgo.Record) int { return -2 - int(r.Partition) }

// partitioner sends records that name a shard there, and the others where
// franz-go's default partitioner would: by the Java client's hash of the key,
// or a random shard for each 64 KiB.
type partitioner struct{ kgo.Partitioner }

func newPartitioner() kgo.Partitioner {
	return partitioner{kgo.UniformBytesPartitioner(64<<10, true, true, nil)}
}

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.Partitioner.ForTopic(topic).(kgo.TopicBackupPartitioner)}
}

type topicPartitioner struct{ kgo.TopicBackupPartitioner }

// RequiresConsistency makes franz-go offer all partitions, with their numbers
// as indexes, to a record that names one.
func (p *topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition < noShard || p.TopicBackupPartitioner.RequiresConsistency(r)
}

// PartitionByBackup returns n or more for a shard that does not exist, which
// fails the record.
func (p *topicPartitioner) PartitionByBackup(r *kgo.Record, n int, backup kgo.TopicBackupIter) int {
	if i := named(r); i >= 0 {
		return i
	}
	return p.TopicBackupPartitioner.PartitionByBackup(r, n, backup)
}

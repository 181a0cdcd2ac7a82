//go:build unix

package ledger

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// A Plan is what is sent: writers that each number their messages from 0, over
// shards and keys. All messages of a key are in one shard, in ascending order.
type Plan struct {
	Run      string // of everything that belongs together; no spaces
	Writers  int
	Messages int64 // of each writer, at most
	Shards   int
	Keys     int64 // a multiple of Shards
}

// A Message is what a body says. Index and Total are those of a job's output:
// which of an input's outputs it is, and the sum of the amounts of all inputs of
// its key so far. They are zero in an input.
type Message struct {
	Run    string
	Writer int
	Stream string
	ID     int64
	Index  int
	Total  int64
}

// Key is the key of message id.
func (p *Plan) Key(id int64) string { return "k" + strconv.FormatInt(id%p.Keys, 10) }

// Shard is where message id belongs.
func (p *Plan) Shard(id int64) int32 { return int32(id % p.Keys % int64(p.Shards)) }

// Amount is what message id adds to the total of its key.
func Amount(id int64) int64 { return id%7 + 1 }

// Outputs is how many outputs a job has for message id.
func Outputs(id int64) int { return int(1 + id%3) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const filler = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

// Append appends the body to b: the fields, filler whose length depends on the
// id, and a CRC-32C of all before it, as text, so that any client can show it.
func (m Message) Append(b []byte) []byte {
	from := len(b)
	b = append(append(b, m.Run...), ' ')
	b = append(strconv.AppendInt(b, int64(m.Writer), 10), ' ')
	b = append(append(b, m.Stream...), ' ')
	b = append(strconv.AppendInt(b, m.ID, 10), ' ')
	b = append(strconv.AppendInt(b, int64(m.Index), 10), ' ')
	b = append(strconv.AppendInt(b, m.Total, 10), ' ')
	b = append(append(b, filler[:m.ID*7%97]...), ' ')
	return fmt.Appendf(b, "%08x", crc32.Checksum(b[from:], castagnoli))
}

var errSpoiled = errors.New("the checksum does not fit")

// Parse reads a body.
func Parse(body []byte) (m Message, err error) {
	at := len(body) - 8
	if at < 0 {
		return m, errSpoiled
	}
	sum, err := strconv.ParseUint(string(body[at:]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(body[:at], castagnoli) {
		return m, errSpoiled
	}
	f := strings.Split(string(body[:at]), " ")
	if len(f) != 8 {
		return m, errSpoiled
	}
	m.Run, m.Stream = f[0], f[2]
	var errs [4]error
	m.Writer, errs[0] = strconv.Atoi(f[1])
	m.ID, errs[1] = strconv.ParseInt(f[3], 10, 64)
	m.Index, errs[2] = strconv.Atoi(f[4])
	m.Total, errs[3] = strconv.ParseInt(f[5], 10, 64)
	return m, errors.Join(errs[:]...)
}

package redis

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the name that Redis gives a script
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// Exactly once without IDMP: the records of a shard go in batches, one at a
// time, each added by one script, so as a whole or not at all, with ids that
// the producer has chosen. When the reply is lost the same script comes again
// with the same ids. That the batch was not there shows by its ids being
// accepted, as Redis takes only ids above the stream's last one, which never
// goes back; otherwise the script looks whether what stands at these ids is
// its batch. If it is not, somebody else's entries were added first, the batch
// was certainly not written and gets newer ids. If there is nothing because
// the stream was trimmed up to there, nobody knows any more, and the outcome
// is unknown.
//
// Ids are <server's milliseconds>-<n> with n up to 65535, which is what
// SeaStreamer for Rust can read. The first n of a millisecond is random, so
// that two producers that write the same bytes in the same millisecond do not
// take each other's batch for their own.
const (
	batchRecords = 500
	batchBytes   = 256 << 10
	maxCounter   = 65535
)

// A bundle is what one script adds to one shard.
type bundle struct {
	items []held
	first driver.Seq
	maybe bool // it may have been written: keep its ids
}

// addScript answers OK, or LATE and the stream's last id and the server's
// milliseconds where the ids are too low, or TRIMMED where it cannot know, or
// NOSTREAM. ARGV: 1 where it may be there already, milliseconds, counter,
// 1 for NOMKSTREAM, how the stream is trimmed and to what, the number of
// records; and for each record the number of its arguments and these.
const addScript = `
local key, ms, n, records = KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[7])
if ARGV[4] == '1' and redis.call('EXISTS', key) == 0 then return 'NOSTREAM' end
local function add(i, at)
  local args = {'XADD', key}
  if ARGV[5] ~= '' then
    args[3], args[4], args[5] = ARGV[5], '~', ARGV[6]
  end
  args[#args + 1] = ms .. '-' .. string.format('%d', n + i)
  for j = at + 1, at + tonumber(ARGV[at]) do args[#args + 1] = ARGV[j] end
  return redis.pcall(unpack(args))
end
local r = add(0, 8)
if type(r) ~= 'table' or not r.err then
  local at = 8
  for i = 1, records - 1 do
    at = at + tonumber(ARGV[at]) + 1
    r = add(i, at)
    if type(r) == 'table' and r.err then return 'PARTIAL ' .. r.err end
  end
  return 'OK'
end
if not string.find(r.err, 'equal or smaller', 1, true) then return r end
local info = redis.call('XINFO', 'STREAM', key)
local top = '0-0'
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then top = info[i + 1] end
end
if ARGV[1] == '1' then
  local own = redis.call('XRANGE', key, ms .. '-' .. string.format('%d', n), ms .. '-' .. string.format('%d', n + records - 1))
  local skip, at, same = records - #own, 8, #own > 0
  for i = 0, records - 1 do
    local count = tonumber(ARGV[at])
    if same and i >= skip then
      local e = own[i - skip + 1]
      if e[1] ~= ms .. '-' .. string.format('%d', n + i) or #e[2] ~= count then
        same = false
      else
        for j = 1, count do
          if e[2][j] ~= ARGV[at + j] then same = false end
        end
      end
    end
    at = at + count + 1
  end
  local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  local function before(id)
    local m, c = string.match(id, '^(%d+)-(%d+)$')
    if #m ~= #ms then return #m < #ms end
    if m ~= ms then return m < ms end
    return tonumber(c) < n
  end
  local whole = skip == 0 or first and not before(first[1])
  if same and whole then return 'OK' end
  if not first or not before(first[1]) then
    if #own == 0 then return 'TRIMMED' end
  end
end
local now = redis.call('TIME')
return 'LATE ' .. top .. ' ' .. now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
`

var addScriptSHA = func() string {
	h := sha1.Sum([]byte(addScript)) //nolint:gosec // see above
	return hex.EncodeToString(h[:])
}()

// launch sends the next batch of a shard of which nothing is in flight. Under
// mu.
func (p *producer) launch(s *shard) {
	s.sort()
	if p.idmp {
		p.launchIDMP(s)
		return
	}
	b := s.pendingBatch
	s.pendingBatch = nil
	l := s.link
	skew := time.Duration(0)
	script := false
	if l.wire != nil {
		skew, script = l.wire.skew, l.wire.script
	}
	if b == nil {
		b = &bundle{}
		bytes := 0
		for len(b.items) < min(batchRecords, len(s.held)) && (bytes == 0 || bytes+len(s.held[len(b.items)].cmd) <= batchBytes) {
			bytes += len(s.held[len(b.items)].cmd)
			b.items = s.held[:len(b.items)+1]
		}
		b.items = append([]held(nil), b.items...)
		s.held = s.held[:copy(s.held, s.held[len(b.items):])]
	}
	if !b.maybe {
		b.first = s.nextIDs(time.Now().Add(skew), len(b.items))
	}
	s.top = maxSeq(s.top, b.first.Add(uint64(len(b.items)-1)))
	n, nargs := 0, 0
	for i := range b.items {
		n += len(b.items[i].cmd) + 12
		nargs += 2*b.items[i].n + 1
	}
	c := l.room(n + len(s.key) + 400 + len(addScript))
	if s.asking {
		c.ask()
	}
	c.buf = appendHeader(c.buf, '*', 11+nargs)
	if script {
		c.buf = appendBulk(appendBulk(c.buf, "EVALSHA"), addScriptSHA)
	} else {
		c.buf = appendBulk(appendBulk(c.buf, "EVAL"), addScript)
	}
	c.buf = appendBulk(c.buf, "1")
	c.buf = appendBulk(c.buf, s.key)
	c.buf = appendBulk(c.buf, flag(b.maybe))
	c.buf = appendBulk(c.buf, strconv.FormatUint(b.first.Hi, 10))
	c.buf = appendBulk(c.buf, strconv.FormatUint(b.first.Lo, 10))
	c.buf = appendBulk(c.buf, flag(p.o.NoAutocreate))
	switch {
	case p.o.MaxLen > 0:
		c.buf = appendBulk(appendBulk(c.buf, "MAXLEN"), strconv.FormatInt(p.o.MaxLen, 10))
	case p.o.MaxAge > 0:
		c.buf = appendBulk(appendBulk(c.buf, "MINID"), c.minID)
	default:
		c.buf = appendBulk(appendBulk(c.buf, ""), "")
	}
	c.buf = appendBulk(c.buf, strconv.Itoa(len(b.items)))
	for i := range b.items {
		c.buf = appendBulk(c.buf, strconv.Itoa(2*b.items[i].n))
		c.buf = append(c.buf, b.items[i].cmd...)
	}
	c.entries = append(c.entries, entry{send: send{no: b.items[0].no}, s: s, batch: b, end: len(c.buf)})
	s.last = c.n
	l.watch(s)
	l.poke()
}

// nextIDs chooses the first of n ids.
func (s *shard) nextIDs(now time.Time, n int) driver.Seq {
	id := driver.Seq{Hi: uint64(max(now.UnixMilli(), 0))} //nolint:gosec // not negative
	if id.Hi <= s.top.Hi {
		id = s.top.Succ()
		if id.Lo+uint64(n)-1 <= maxCounter { //nolint:gosec // a small number
			return id
		}
		id = driver.Seq{Hi: s.top.Hi + 1}
	}
	id.Lo = random(1024)
	return id
}

func random(n int64) uint64 {
	r, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		return 0
	}
	return r.Uint64()
}

func maxSeq(a, b driver.Seq) driver.Seq {
	if a.Less(b) {
		return b
	}
	return a
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// again keeps the batch for its shard to be sent again. Under mu.
func (b *bundle) again(s *shard) { s.pendingBatch = b }

// applyBatch settles a batch. short says that it is written and not safe.
func (l *link) applyBatch(e *entry, r result, class driver.Class, short error) {
	p, s, b := l.p, e.s, e.batch
	var out outcomes
	word, rest, _ := cutWord(r.no)
	p.mu.Lock()
	switch word {
	case "OK":
		if l.wire != nil {
			l.wire.script = true
		}
		for i := range b.items {
			o := outcome{send: b.items[i].send, receipt: receipt(s, &b.items[i].send, b.first.Add(uint64(i)), class)} //nolint:gosec // not negative
			if short != nil {
				o.receipt, o.err = driver.Receipt{}, &driver.Error{Shard: s.Shard, Kind: driver.ErrUnknown, Err: short}
			}
			out.list = append(out.list, o)
		}
	case "LATE":
		top, now, _ := cutWord(rest)
		if id, ok := entryID([]byte(top)); ok {
			s.top = maxSeq(s.top, id)
		}
		if ms, err := strconv.ParseInt(now, 10, 64); err == nil && l.wire != nil {
			l.wire.skew = time.Until(time.UnixMilli(ms))
		}
		b.maybe = false
		s.redirect = true // try at once, if it is not for ever
		l.hold(e, nil, time.Time{}, errors.New("other producers add faster to the stream"))
	case "TRIMMED", "PARTIAL":
		for i := range b.items {
			out.fail(b.items[i].send, &driver.Error{Shard: s.Shard, Kind: driver.ErrUnknown,
				Err: fmt.Errorf("the answer was lost, and the stream was trimmed before it could be asked for again (%s)", r.no)})
		}
	default:
		again, err := l.judge(s, r.no)
		if again {
			l.hold(e, nil, time.Time{}, err)
		} else {
			out.entry(e, err)
		}
	}
	p.mu.Unlock()
	p.deliver(&out)
}

// producerID tells this producer from all others.
func producerID() string {
	var b [10]byte
	_, _ = rand.Read(b[:])
	return "sea-" + hex.EncodeToString(b[:])
}

package redis

// What an owner of units has to decide at one moment at the server. A server
// from 7.0 is told that these are scripts with flags, of which there are none:
// then it looks whether it may write at all (memory, disk, replicas, its own
// role) before it begins. One without a head looks with the first write, which
// is nothing else here, since nothing is written before.
//
// https://redis.io/docs/latest/develop/programmability/lua-api/

// A unitScript is a script with the keys that its command names.
type unitScript string

// text is the script for a server of that version.
func (s unitScript) text(v version) string {
	if v.less(version{7}) {
		return string(s)
	}
	return "#!lua\n" + string(s)
}

const (
	// claimScript makes ARGV[1] the owner of shards. KEYS: the progress and the
	// list of shards. ARGV: the owner's token; first or more of a sole owner,
	// shared or sharing of one that shares; the epoch that is expected; and for each shard its name and where to start.
	//
	// It answers OK, the new epoch and the positions; AGAIN, the epoch and the
	// sole owner where another epoch was expected; FENCED or BEHIND as unitCommit does; TYPE and
	// the number of the key that is something else; LOST and the number of the
	// shard that has no position though it is listed. Only with OK has it
	// changed anything.
	//
	// The epoch is expected so that a claim that was given up, and that comes
	// late all the same, does not take from others what they have claimed since.
	claimScript unitScript = `
local progress, list, token, mode, expected = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
local function is(key, want)
  local kind = redis.call('TYPE', key).ok
  return kind == 'none' or kind == want
end
if not is(progress, 'hash') then return {'TYPE', '1'} end
if not is(list, 'set') then return {'TYPE', '2'} end
local epoch = tonumber(redis.call('HGET', progress, 'epoch') or '0')
if mode == 'more' then
  if redis.call('HGET', progress, 'owner') ~= token then
    if epoch < expected then return {'BEHIND'} end
    return {'FENCED'}
  end
elseif mode == 'sharing' and redis.call('HEXISTS', progress, 'owner') == 1 then
  return {'FENCED'} -- its first claim has removed that: a sole owner has come since
elseif epoch ~= expected then
  return {'AGAIN', string.format('%.0f', epoch), redis.call('HGET', progress, 'owner') or ''}
end
local answer, fresh = {'OK', ''}, {}
for i = 4, #ARGV, 2 do
  local at = redis.call('HGET', progress, 'at:' .. ARGV[i])
  if not at then
    if redis.call('SISMEMBER', list, ARGV[i]) == 1 then
      return {'LOST', string.format('%d', (i - 4) / 2)}
    end
    at = ARGV[i + 1]
    fresh[#fresh + 1] = i
  end
  answer[#answer + 1] = at
end
if mode ~= 'more' then epoch = redis.call('HINCRBY', progress, 'epoch', 1) end
answer[2] = string.format('%.0f', epoch)
if mode == 'first' then
  redis.call('HSET', progress, 'owner', token)
  for _, field in ipairs(redis.call('HKEYS', progress)) do
    if string.sub(field, 1, 6) == 'owner:' then redis.call('HDEL', progress, field) end
  end
elseif mode ~= 'more' then
  redis.call('HDEL', progress, 'owner')
  for i = 4, #ARGV, 2 do redis.call('HSET', progress, 'owner:' .. ARGV[i], token) end
end
for _, i in ipairs(fresh) do redis.call('HSET', progress, 'at:' .. ARGV[i], ARGV[i + 1]) end
for i = 4, #ARGV, 2 do redis.call('SADD', list, ARGV[i]) end
return answer`

	// commitScript is one unit. KEYS: the progress, then the outputs. ARGV: the
	// owner's token and its epoch; sole, shared or none, the kind of owner; 1
	// where outputs must exist; how outputs are trimmed, or nothing, and to
	// what; the field of values; the numbers of moves and of runs. Then, for
	// each move, the shard, from and to; for each run of records the number of
	// its key, how many arguments a record has and how many records there are;
	// and then the records' arguments: their fields, or the value alone where
	// that is one argument.
	//
	// It answers OK; FENCED where somebody else is the owner, BEHIND where the
	// server knows of fewer claims than this owner has made, as after a fail-over;
	// POSITION, the number of the move and what is stored; TYPE or MISSING
	// and the number of the key. Only with OK has it changed anything.
	//
	// What is left to go wrong while it writes is a stream that has used up its
	// ids, and commands that the user may not run. Then it takes back what it has
	// done: nobody has seen it, as the server does nothing else meanwhile.
	commitScript unitScript = `
local ARGV, KEYS, call, unpack = ARGV, KEYS, redis.call, unpack
local progress, token, mode, field = KEYS[1], ARGV[1], ARGV[3], ARGV[7]
local moves, runs = tonumber(ARGV[8]), tonumber(ARGV[9])
local kind = call('TYPE', progress).ok
if kind ~= 'hash' and kind ~= 'none' then return 'TYPE 1' end
local function owns(f) return call('HGET', progress, f) == token end
local function stranger()
  if tonumber(call('HGET', progress, 'epoch') or '0') < tonumber(ARGV[2]) then return 'BEHIND' end
  return 'FENCED'
end
if mode == 'sole' and not owns('owner') then return stranger() end
local at = 10
for i = 1, moves do
  local shard = ARGV[at]
  if mode == 'shared' and not owns('owner:' .. shard) then return stranger() end
  local stored = call('HGET', progress, 'at:' .. shard)
  if stored ~= ARGV[at + 1] then return 'POSITION ' .. i .. ' ' .. (stored or 'none') end
  at = at + 3
end
for k = 2, #KEYS do
  kind = call('TYPE', KEYS[k]).ok
  if kind == 'none' then
    if ARGV[4] == '1' then return 'MISSING ' .. k end
  elseif kind ~= 'stream' then
    return 'TYPE ' .. k
  end
end
local first, added, set = {}, {}, 0
local function write()
  for i = 1, moves do
    local a = 7 + 3 * i
    call('HSET', progress, 'at:' .. ARGV[a], ARGV[a + 2])
    set = i
  end
  local a = at + 3 * runs
  for r = 1, runs do
    local k, n, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local key, stop = KEYS[k], a + n * count
    if not first[k] then
      if n == 1 then first[k] = call('XADD', key, '*', field, ARGV[a])
      else first[k] = call('XADD', key, '*', unpack(ARGV, a, a + n - 1)) end
      a = a + n
    end
    if n == 1 then
      for j = a, stop - 1 do call('XADD', key, '*', field, ARGV[j]) end
    else
      for j = a, stop - n, n do call('XADD', key, '*', unpack(ARGV, j, j + n - 1)) end
    end
    added[k] = (added[k] or 0) + count
    a, at = stop, at + 3
  end
  if ARGV[5] ~= '' then
    for k, n in pairs(added) do call('XTRIM', KEYS[k], ARGV[5], '~', ARGV[6], 'LIMIT', 10000 + n) end
  end
end
local function undo()
  for i = 1, set do
    local a = 7 + 3 * i
    call('HSET', progress, 'at:' .. ARGV[a], ARGV[a + 1])
  end
  for k, id in pairs(first) do
    for _, e in ipairs(call('XRANGE', KEYS[k], id, '+')) do call('XDEL', KEYS[k], e[1]) end
  end
end
local function said(e) return type(e) == 'table' and e.err or tostring(e) end
local ok, e = pcall(write)
if ok then return 'OK' end
local undone, why = pcall(undo)
if not undone then return 'PARTIAL ' .. said(e) .. ', and then ' .. said(why) end
return {err = said(e)}`
)

package redis

// What a member of a group has to decide at one moment at the server.
//
// https://redis.io/docs/latest/develop/data-types/streams/ is what they build
// on. Numbers of entries are exact up to 1<<53, as Lua has them; ids are
// compared as text.
const (
	// luaMap turns a flat list of names and values into a table.
	luaMap = `
local function map(t)
  local m = {}
  for i = 1, #t, 2 do m[t[i]] = t[i + 1] end
  return m
end
local function lower(x, y)
  if #x ~= #y then return #x < #y end
  return x < y
end
local function less(a, b)
  local ah, al = a:match('^(%d+)-(%d+)$')
  local bh, bl = b:match('^(%d+)-(%d+)$')
  return lower(ah, bh) or ah == bh and lower(al, bl)
end
`

	// createGroup makes the group ARGV[1] at ARGV[2] (0, $ or an id) where it
	// does not exist. It answers {1, first id or '', last id, deleted id} where
	// it has made it and {0, last delivered id, deleted id} where it was there,
	// deleted being the highest that XDEL has deleted, or ''; and the error "no
	// such key" where there is no stream: it never makes one.
	createGroup script = luaMap + `
local s = redis.pcall('XINFO', 'STREAM', KEYS[1])
if s.err then return s end
s = map(s)
local create = {'XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2]}
if s['entries-added'] and (ARGV[2] == '0' or ARGV[2] == '$') then
  local read = s['entries-added']
  if ARGV[2] == '0' then read = read - s['length'] end
  create[6], create[7] = 'ENTRIESREAD', string.format('%.0f', read)
end
local made = redis.pcall(unpack(create))
if not made.err then return {1, s['first-entry'] and s['first-entry'][1] or '', s['last-generated-id'], s['max-deleted-entry-id'] or ''} end
if not made.err:find('BUSYGROUP', 1, true) then return made end
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  g = map(g)
  if g['name'] == ARGV[1] then return {0, g['last-delivered-id'], s['max-deleted-entry-id'] or ''} end
end
return made`

	// passHoles is what goes to the server right before a read of the group
	// ARGV[1], for all keys of the read at once: it looks for entries ahead of
	// the group that do not exist any more. ARGV[3], … are for each key the id
	// that the caller knows to have been delivered by itself, or ''. It answers
	// a list of {number of the key from 1, last delivered id, end of the gap or
	// '', highest id that XDEL has deleted ahead of the group or '', how many
	// entries were ever added behind the last delivered one, how many of these
	// do not exist}; the counts are −1 where Redis does not know them.
	//
	// A gap ends with its end included. The group is moved behind it, with its
	// count of entries put right, which Redis lets slip when it reads across a
	// hole. It is not moved where XDEL has deleted entries further ahead, since
	// the count is lost then, and the read that follows passes on.
	//
	// The answer may be lost. So a gap is also noted at the server, as a consumer
	// that has nothing, whose name is ARGV[2] and the gap; the caller deletes it.
	//
	// Most of the time two commands are enough: where less is to come than there
	// is, an entry that was delivered is still there, and so is all behind it,
	// as trimming goes from the front; and then XDEL has deleted nothing ahead,
	// or Redis would not say how much is to come.
	passHoles script = luaMap + `
local function before(id)
  local function less1(n)
    local i = #n
    while n:sub(i, i) == '0' do i = i - 1 end
    n = n:sub(1, i - 1) .. string.char(n:byte(i) - 1) .. string.rep('9', #n - i)
    return (n:gsub('^0+(%d)', '%1'))
  end
  local h, l = id:match('^(%d+)-(%d+)$')
  if l ~= '0' then return h .. '-' .. less1(l) end
  return less1(h) .. '-18446744073709551615'
end
local function look(key, g, length, own)
  local s = map(redis.call('XINFO', 'STREAM', key))
  local added, del = s['entries-added'], s['max-deleted-entry-id']
  local last, top, read = g['last-delivered-id'], s['last-generated-id'], g['entries-read']
  if not added or not less(last, top) then return end
  local due, missing, to, count = -1, -1
  if read then due = added - read end
  local first = s['first-entry'] and s['first-entry'][1]
  if not first or not less(last, s['last-entry'][1]) then
    if due > 0 or not read and last ~= '0-0' then to, count = top, added end
  elseif less(last, first) and added > length then
    if read then missing = due - length end
    local mine = not read and (own == last or #redis.call('XPENDING', key, ARGV[1], last, last, 1) > 0)
    if missing > 0 and less(del, first) or mine then
      to = before(first)
      if less(del, first) then count = added - length end
    elseif missing > 1 then
      to = del
    end
  end
  if to and not less(last, to) then to = nil end
  if to then redis.pcall('XGROUP', 'CREATECONSUMER', key, ARGV[1], ARGV[2] .. last .. ':' .. to) end
  if to and count then redis.call('XGROUP', 'SETID', key, ARGV[1], to, 'ENTRIESREAD', string.format('%.0f', count)) end
  if not less(last, del) then del = '' end
  if to or del ~= '' then return {last, to or '', del, due, missing} end
end
local found = {}
for i, key in ipairs(KEYS) do
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then
    if not groups.err:find('no such key', 1, true) and not groups.err:find('WRONGTYPE', 1, true) then return groups end
    groups = {}
  end
  for _, g in ipairs(groups) do
    if g[2] == ARGV[1] then
      g = map(g)
      if g['entries-read'] == nil then return found end -- before 7.0 nobody counts
      local length = redis.call('XLEN', key)
      local lag = g['lag']
      if not lag or lag >= length and (lag > 0 or not g['entries-read']) then
        local hole = look(key, g, length, ARGV[i + 2])
        if hole then
          table.insert(hole, 1, i)
          found[#found + 1] = hole
        end
      end
      break
    end
  end
end
return found`

	// keepOwn gives the entries ARGV[5], … an idle time of ARGV[3] milliseconds
	// and, where ARGV[4] is not empty, that number of deliveries, as far as they
	// are pending for the consumer ARGV[2] of the group ARGV[1].
	//
	// From Redis 7.0 XCLAIM forgets that an entry is pending which does not
	// exist any more. Those that were trimmed are left alone, so that whoever
	// takes them when the time-out has passed can tell that they are missing.
	// Of those that XDEL has deleted the answer lists which were forgotten.
	keepOwn script = luaMap + `
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
if #first == 0 then return {} end
first = first[1][1]
local claim, n = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}, 5
for i = 5, #ARGV do
  if not less(ARGV[i], first) and #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) > 0 then
    n = n + 1
    claim[n] = ARGV[i]
  end
end
if n == 5 then return {} end
claim[n + 1], claim[n + 2] = 'IDLE', ARGV[3]
if ARGV[4] ~= '' then claim[n + 3], claim[n + 4] = 'RETRYCOUNT', ARGV[4] end
claim[#claim + 1] = 'JUSTID'
local kept = redis.call(unpack(claim))
if #kept == n - 5 then return {} end
local have, gone = {}, {}
for _, id in ipairs(kept) do have[id] = true end
for i = 6, n do
  if not have[claim[i]] then gone[#gone + 1] = claim[i] end
end
return gone`

	// dropConsumers deletes consumers of the group ARGV[1] that have nothing
	// pending: the one called ARGV[2], and those whose names begin with ARGV[3]
	// and that were not heard of for ARGV[4] milliseconds. One with pending
	// entries would take these with it.
	dropConsumers script = luaMap + `
local all = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if all.err then return 0 end
local n = 0
for _, c in ipairs(all) do
  c = map(c)
  local name = c['name']
  if c['pending'] == 0 and (name == ARGV[2] or name:sub(1, #ARGV[3]) == ARGV[3] and c['idle'] > tonumber(ARGV[4])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
    n = n + 1
  end
end
return n`
)

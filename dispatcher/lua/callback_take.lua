-- Take callbacks that are due, the longest due first; each is for one caller alone, and for a while.
-- Invariant: none leaves the outbox here. Whoever takes one and dies leaves it to the next, again_ms later: a callback is
-- made at least once. Of one host no more than per_host are under way for a caller: a host that hangs holds no other up.
-- KEYS  [1] namespace
-- ARGV  [1] count: as many at most  [2] again_ms: when it is due again if nobody says what became of it
--       [3] per_host  [4] aside_ms: when those of a host that has enough are looked at again
--       [5…] host, how many of its calls the caller has under way, aside_ms for this one
-- Returns {'ok', 1 if more may be due, {job, id, attempts before, ms since the first of them, host}…}
-- Safe to run twice: the second call takes others; what the first one took is due again in time.

local LOOKED_AT = 64

local outbox = ns .. ':callbacks'
local count, again, per_host = tonumber(ARGV[1]), now + tonumber(ARGV[2]), tonumber(ARGV[3])
local busy, aside_ms = {}, {}
for index = 5, #ARGV, 3 do
  busy[ARGV[index]] = tonumber(ARGV[index + 1])
  aside_ms[ARGV[index]] = ARGV[index + 2]
end

-- scheme://[user[:password]@]host[:port][/…]
local function host_of(url)
  local authority = string.match(url, '^%a+://([^/?#]*)') or ''
  return string.lower(string.match(authority, '[^@]*$'))
end

local taken = { 'ok', 0 }
local due = redis.call('ZRANGE', outbox, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, LOOKED_AT)
for _, job in ipairs(due) do
  if #taken - 2 == count then break end
  local id, attempts, first = fields(ns .. ':callback:' .. job, 'id', 'attempts', 'first_ms')
  local url = redis.call('HGET', job_key(job), 'reply_url')
  if id == '' or not url then -- forgotten with its job
    redis.call('ZREM', outbox, job)
    redis.call('DEL', ns .. ':callback:' .. job)
  else
    local host = host_of(url)
    local under_way = busy[host] or 0
    if under_way >= per_host then
      redis.call('ZADD', outbox, int(now + tonumber(aside_ms[host] or ARGV[4])), job)
    else
      busy[host] = under_way + 1
      redis.call('ZADD', outbox, int(again), job)
      local tried_ms = first ~= '' and math.max(0, now - tonumber(first)) or 0
      taken[#taken + 1] = { job, id, attempts, int(tried_ms), host }
    end
  end
end
if #due == LOOKED_AT or #taken - 2 == count then taken[2] = 1 end
return taken

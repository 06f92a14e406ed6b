-- Grant waiting jobs of one pool, and re-admit accounts whose cooling has ended. The safety net behind inline refill.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] pool, or '' to only re-admit the due
-- Returns {grants, more: 1 if there is more to do now, next_ms: the earliest due instant or 0}; while learning nothing
-- is granted, and next_ms is its end
-- Safe to run twice: a granted job is not pending any more.
-- needs: record handoff slots epoch refill

if closed_ms > 0 then return { 0, 0, int(now + closed_ms) } end

local more = false
local due = ns .. ':due'
local returned = redis.call('ZRANGEBYSCORE', due, '-inf', int(now), 'LIMIT', 0, 256)
for _, member in ipairs(returned) do
  if grants >= GRANTS_MAX then break end
  local channel = string.match(member, '([^:]+)$')
  local pool = string.sub(member, 1, #member - #channel - 1)
  redis.call('ZREM', due, member)
  local account = account_key(pool, channel)
  local cooling = tonumber(redis.call('HGET', account, 'cooling_until_ms') or '0')
  if cooling > now then -- the clock was set back since it was due for another reason
    redis.call('ZADD', due, int(cooling), member)
  else -- over for good: a clock that is set back must not cool an account that nobody will re-admit
    redis.call('HDEL', account, 'cooling_until_ms', 'cooling_cause', 'cooling_reason')
  end
  more = refill(pool, channel) or more
end
more = more or grants >= GRANTS_MAX or #returned == 256
if ARGV[3] ~= '' then more = dispatch(ARGV[3]) or more end
local earliest = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
return { grants, more and 1 or 0, earliest and int(tonumber(earliest)) or '0' }

-- Cooling: an account takes nothing new until an instant, which is only ever moved on, by the functions here alone.
-- What the upstream asked for (Retry-After) is kept in full. A guess of ours grows: first_ms, doubled with each cool-down
-- since the last success, up to max_ms. Refusals of what was granted or submitted before a cool-down began tell nothing
-- new: however many come, and however late, they are one repeat.
-- needs: guests

local JITTER_SHARE = 0.25
local DOUBLINGS_MAX = 30
local ACCOUNTS_LOOKED_AT = 256
local BREATH_MS = 1000

local function suspected_key(pool) return ns .. ':suspected:' .. pool end

-- Up to a quarter longer, never shorter: accounts that were refused together must not all return together.
local function jittered(ms, chance)
  return math.floor(ms * (1 + JITTER_SHARE * ((chance * 48271) % 2147483647) / 2147483647))
end

-- Cause: asked (by the upstream) | said (it is busy, without a time) | suspected (our guess) | breath | capped (its day is
-- full) | held (its calls may not leave).
local function rest_until(pool, channel, until_ms, cause, reason)
  local key = account_key(pool, channel)
  local state, resting = fields(key, 'state', 'cooling_until_ms')
  if state == '' or until_ms <= (tonumber(resting) or 0) then return end
  redis.call('HSET', key, 'cooling_until_ms', int(until_ms), 'cooling_cause', cause, 'cooling_reason', reason)
  if state ~= 'deleted' then redis.call('ZADD', ns .. ':due', int(until_ms), pool .. ':' .. channel) end
  if cause == 'suspected' and not is_visit(pool, channel) then
    redis.call('ZADD', suspected_key(pool), int(until_ms), channel)
  else
    redis.call('ZREM', suspected_key(pool), channel)
  end
end

-- May one more account rest by suspicion? A share of the active ones may, and one always. Of a pool larger than 256
-- accounts the active ones are estimated.
local function may_suspect(pool, share)
  redis.call('ZREMRANGEBYSCORE', suspected_key(pool), '-inf', int(now))
  local channels = redis.call('SMEMBERS', ns .. ':accounts:' .. pool)
  local looked_at, active = math.min(#channels, ACCOUNTS_LOOKED_AT), 0
  for index = 1, looked_at do
    if redis.call('HGET', account_key(pool, channels[index]), 'state') == 'active' then active = active + 1 end
  end
  local all = looked_at > 0 and active * #channels / looked_at or 0
  return redis.call('ZCARD', suspected_key(pool)) < math.max(1, math.floor(all * share + 0.000001))
end

-- The account refused. refusal = { asked_ms (0: no time was named), cause: said | suspected, since_ms: when the refused
-- job was submitted, or granted, reason }; rule = { first_ms, max_ms, share }; chance: a seed.
-- Beyond the share of suspects the account only takes a breath, so that nothing spins; that is no repeat.
local function cool(pool, channel, refusal, rule, chance)
  local key = account_key(pool, channel)
  local state, resting, began, repeats =
    fields(key, 'state', 'cooling_until_ms', 'cooling_began_ms', 'cooling_repeats')
  if state == '' then return end
  local asked_ms = jittered(refusal.asked_ms, chance)
  local cause = refusal.asked_ms > 0 and 'asked' or refusal.cause
  if now < (tonumber(resting) or 0) or refusal.since_ms <= (tonumber(began) or 0) then
    if cause == 'asked' then rest_until(pool, channel, now + asked_ms, cause, refusal.reason) end
    return
  end
  if cause == 'suspected' and not is_visit(pool, channel) and not may_suspect(pool, rule.share) then
    rest_until(pool, channel, now + BREATH_MS, 'breath', refusal.reason)
    return
  end
  -- A time that the upstream named is believed once; refused again after it, the account rests as long as after a guess.
  local before = tonumber(repeats) or 0
  local doublings = math.min(cause == 'asked' and before - 1 or before, DOUBLINGS_MAX)
  local grown_ms = doublings >= 0 and math.min(rule.max_ms, jittered(rule.first_ms * 2 ^ doublings, chance)) or 0
  redis.call('HSET', key, 'cooling_began_ms', int(now), 'cooling_repeats', before + 1)
  rest_until(pool, channel, now + math.max(asked_ms, grown_ms), cause, refusal.reason)
end

-- What refused a token of the job's own says nothing about an account that has another: the job rests alone, for as long
-- as was asked for, or ever longer. It keeps its place in the line.
local function rest_alone(job, asked_ms, rule, chance)
  local doublings = math.min(redis.call('HINCRBY', job_key(job), 'rests', 1) - 1, DOUBLINGS_MAX)
  local rest_ms = asked_ms > 0 and asked_ms or math.min(rule.max_ms, rule.first_ms * 2 ^ doublings)
  redis.call('HSET', job_key(job), 'rest_until_ms', int(now + jittered(rest_ms, chance)))
end

-- A submission got its answer, whatever it said.
local function answered(job, pool, channel)
  if speaks_for_account(job, pool, channel) then redis.call('HDEL', account_key(pool, channel), 'unknowns') end
end

-- A job completed that was submitted after the last cool-down, or disabling, began: what was held against it is over.
local function succeeded(job, pool, channel, submitted_ms)
  if not speaks_for_account(job, pool, channel) then return end
  local key = account_key(pool, channel)
  local began, disabled = fields(key, 'cooling_began_ms', 'disabled_ms')
  if submitted_ms > math.max(tonumber(began) or 0, tonumber(disabled) or 0) then
    redis.call('HDEL', key, 'cooling_repeats', 'unknowns', 'probes')
  end
end

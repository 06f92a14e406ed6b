-- Slots: used = ZCARD(slots), always. No number beside it could drift.
-- needs: guests

local PINNED_STREAK = 8
local PINNED_TRIED = 32

-- The first waiting job pinned to the channel that fits beside `used` others and does not rest, or nil; up to 32 are
-- tried. Some channels take guests alone.
local function pinned_fit(pool, channel, used)
  local key = pending_key(pool, channel)
  if redis.call('ZCARD', key) == 0 then return nil end
  local is_guests_alone = is_for_guests(pool, channel)
  for _, job in ipairs(redis.call('ZRANGE', key, 0, PINNED_TRIED - 1)) do
    local limit, rest, own = fields(job_key(job), 'limit', 'rest_until_ms', 'own_sealed')
    local is_awake = (tonumber(rest) or 0) <= now and (own ~= '' or not is_guests_alone)
    if is_awake and (limit == '' or used < tonumber(limit)) then return job end
  end
  return nil
end

-- A job that rests by itself is looked at again when the first such rest is over.
local function mind_rests(pool, channel)
  if redis.call('ZCARD', pending_key(pool, channel)) == 0 then return end
  for _, job in ipairs(redis.call('ZRANGE', pending_key(pool, channel), 0, PINNED_TRIED - 1)) do
    local rest = tonumber(redis.call('HGET', job_key(job), 'rest_until_ms') or '0')
    if rest > now then look_again(pool, channel, rest) end
  end
end

-- Can the channel take a job now? Returns room (boolean), used, streak of pinned jobs just served.
local function capacity(pool, channel)
  local state, max_jobs, cooling, streak =
    fields(account_key(pool, channel), 'state', 'max_jobs', 'cooling_until_ms', 'pinned_streak')
  local used = redis.call('ZCARD', slots_key(pool, channel))
  local is_open = state == 'active' or is_for_guests(pool, channel)
  local room = is_open and (tonumber(cooling) or 0) <= now and used < (tonumber(max_jobs) or 0)
  return room, used, tonumber(streak) or 0
end

-- The channel's score in free:<pool>, or nil where it has no place there: without room, or kept for a pinned job that
-- fits, until eight in a row were served while others wait. One that takes guests alone has none.
local function openness(pool, channel)
  local room, used, streak = capacity(pool, channel)
  if room and not is_for_guests(pool, channel) and (streak >= PINNED_STREAK or not pinned_fit(pool, channel, used)) then return used end
  return nil
end

-- Rebuild the channel's membership of free:<pool>; every script that touches a channel ends here.
local function refresh(pool, channel)
  local used = openness(pool, channel)
  if used then
    redis.call('ZADD', free_key(pool), used, channel)
  else
    redis.call('ZREM', free_key(pool), channel)
  end
  mind_rests(pool, channel)
  end_visit(pool, channel)
end

-- When its last slot has come back, a deleted account is forgotten and a draining one is paused.
local function end_drain(pool, channel)
  local key = account_key(pool, channel)
  local state = redis.call('HGET', key, 'state')
  if (state ~= 'deleted' and state ~= 'draining') or redis.call('ZCARD', slots_key(pool, channel)) > 0 then return end
  if state == 'draining' then
    redis.call('HSET', key, 'state', 'paused')
    return
  end
  redis.call('DEL', key)
  redis.call('HDEL', ns .. ':channels', channel)
end

-- The owner spoke: its lease lives ttl_ms longer, and what was held against it is forgotten. Never re-creates a lease.
local function extend(job, ttl_ms)
  redis.call('ZADD', ns .. ':expiry', 'XX', int(now + ttl_ms), job)
  redis.call('HDEL', lease_key(job), 'suspect')
end

-- Give the slot back, exactly once: the lease goes with it, so a second call finds nothing to free.
local function release(pool, channel, job)
  retire(job, redis.call('HGET', lease_key(job), 'token') or '')
  redis.call('ZREM', slots_key(pool, channel), job)
  redis.call('ZREM', submitting_key(pool, channel), job)
  redis.call('ZREM', ns .. ':expiry', job)
  redis.call('DEL', lease_key(job))
  forget_token_if_over(job)
  end_drain(pool, channel)
end

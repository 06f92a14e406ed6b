-- Take back what dead owners left: the only redelivery there is. A slot is never freed here while the upstream may run.
-- Two strikes: a lease found expired is suspect; it is redelivered only strike_ms later, if no renewal cleared it.
-- Poison: owners in a row that died within moments of taking the job up. What nobody took up counts against nobody; nor
-- does the death of one who lived with a submitted job for survived_ms: the job did not kill him, and its hard deadline
-- bounds how often that can be said. A job not yet submitted has no such bound, so there every death counts.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] strike_ms  [5] redeliveries_max  [6] hold_ms  [7] grace_ms
--       [8] survived_ms
-- Returns {redelivered, ended, forced, more: 1 if there is more to do now}
-- While learning nobody is taken for dead: an owner may not have found the server yet.
-- Safe to run twice.
-- needs: record handoff slots epoch refill

if closed_ms > 0 then return { 0, 0, 0, 0 } end

local keep_s, strike_ms, hold_ms, grace_ms = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6]), tonumber(ARGV[7])
local survived_ms = tonumber(ARGV[8])
local BATCH = 128
local redelivered, ended, forced = 0, 0, 0

local function drain(job, deadline)
  redis.call('HSET', lease_key(job), 'state', 'D')
  redis.call('ZADD', ns .. ':deadlines', int(deadline + hold_ms), job)
end

-- End a job whose time is up: its slot is freed only where nothing was ever sent.
local function give_up(job, event, message)
  local state, pool, channel, deadline = fields(lease_key(job), 'state', 'pool', 'channel', 'deadline_ms')
  local own_pool, pin = fields(job_key(job), 'pool', 'pin')
  redis.call('ZREM', pending_key(own_pool, pin), job)
  finish(job, event, 'failed', keep_s, { 'error', message })
  if state == 'S' or state == 'U' or state == 'A' then
    drain(job, math.max(tonumber(deadline) or now, now))
  elseif state == 'R' or state == 'C' then
    release(pool, channel, job)
    refill(pool, channel)
  elseif state == '' then
    serve(own_pool, pin)
  end
  ended = ended + 1
end

-- An owner died: is the job to be delivered no more?
local function is_poison(job, state)
  local claimed, heard = fields(lease_key(job), 'claimed_ms', 'heard_ms')
  if state ~= 'C' and (tonumber(heard) or 0) - (tonumber(claimed) or now) >= survived_ms then
    if fields(job_key(job), 'redeliveries') ~= '' then redis.call('HSET', job_key(job), 'redeliveries', 0) end
    return false
  end
  return redis.call('HINCRBY', job_key(job), 'redeliveries', 1) > tonumber(ARGV[5])
end

local function second_strike(job, token, state)
  local is_claimed = fields(lease_key(job), 'execution') ~= ''
  if not is_claimed and is_queued(job .. '-' .. token) then
    redis.call('HDEL', lease_key(job), 'suspect')
    redis.call('ZADD', ns .. ':expiry', int(now + ttl_ms), job)
    return
  end
  redis.call('LREM', queue .. ':intermediate', 1, job .. '-' .. token)
  if is_claimed and is_poison(job, state) then
    local deaths = tonumber(ARGV[5]) + 1
    if state ~= 'D' then give_up(job, 'poison', 'Its worker died ' .. deaths .. ' times in a row') end
    redis.call('ZREM', ns .. ':expiry', job)
    return
  end
  local following = state == 'C' and 'R' or state == 'S' and 'U' or state
  redeliver(job, token, following, ttl_ms, 'redelivered')
  redelivered = redelivered + 1
end

local expired = redis.call('ZRANGEBYSCORE', ns .. ':expiry', '-inf', int(now), 'LIMIT', 0, BATCH)
for _, job in ipairs(expired) do
  local token, state, suspect = fields(lease_key(job), 'token', 'state', 'suspect')
  if token == '' then
    redis.call('ZREM', ns .. ':expiry', job)
  elseif suspect == '' then
    local heard_ms = tonumber(redis.call('ZSCORE', ns .. ':expiry', job)) - ttl_ms
    redis.call('HSET', lease_key(job), 'suspect', int(now), 'heard_ms', int(heard_ms))
    redis.call('ZADD', ns .. ':expiry', int(now + strike_ms), job)
  else
    second_strike(job, token, state)
  end
end

local overdue = redis.call('ZRANGEBYSCORE', ns .. ':deadlines', '-inf', int(now), 'LIMIT', 0, BATCH)
for _, job in ipairs(overdue) do
  local state, pool, channel, graced = fields(lease_key(job), 'state', 'pool', 'channel', 'graced')
  if state == 'D' then
    release(pool, channel, job)
    redis.call('ZREM', ns .. ':deadlines', job)
    refill(pool, channel)
    forced = forced + 1
  elseif graced == '' and (state == 'S' or state == 'U' or state == 'A') then
    redis.call('HSET', lease_key(job), 'graced', '1')
    redis.call('ZADD', ns .. ':deadlines', int(now + grace_ms), job)
  else
    redis.call('ZREM', ns .. ':deadlines', job)
    give_up(job, 'deadline', state == '' and 'No account took the job before its deadline' or 'Not finished before its deadline')
  end
end

local orphaned, failed, is_more = redis.call('SRANDMEMBER', orphaned_key()), 0, false
if orphaned then
  local channel = string.match(orphaned, '([^:]+)$')
  failed, is_more = fail_pinned(string.sub(orphaned, 1, #orphaned - #channel - 1), channel, BATCH, keep_s)
  ended = ended + failed
end
return { redelivered, ended, forced, (#expired == BATCH or #overdue == BATCH or is_more) and 1 or 0 }

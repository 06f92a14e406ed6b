-- Refill: whoever raises capacity, or adds a job, grants at once; no dispatcher process is needed for it.
-- ARGV[1] seed: an integer in 1..2147483646, from the caller's entropy; ARGV[2] ttl_ms: life of an unclaimed lease.

local HEADS_TRIED = 32
local GRANTS_MAX = 256
local seed = tonumber(ARGV[1])
local ttl_ms = tonumber(ARGV[2])
local grants = 0
local closed_ms = learning_ms() -- while it is not 0, nothing is granted

-- A rank below n. The first draw is the caller's entropy itself; later ones follow by Park and Miller's generator.
local function draw(n)
  local rank = math.floor((seed - 1) / 2147483646 * n)
  seed = (seed * 16807) % 2147483647
  return rank
end

-- Lease a slot of the channel to the job and hand it to RQ.
-- Invariant: called only with room, so ZCARD(slots) <= max_jobs holds after it.
local function grant(pool, channel, job)
  local pin = fields(job_key(job), 'pin')
  local token = mint()
  redis.call('ZREM', pending_key(pool, pin), job)
  redis.call('ZADD', slots_key(pool, channel), int(now), job)
  redis.call('HSET', lease_key(job), 'pool', pool, 'channel', channel, 'token', token, 'state', 'R',
    'granted_ms', int(now), 'execution', '', 'owner', '')
  redis.call('ZADD', ns .. ':expiry', int(now + ttl_ms), job)
  hand_off(job, token)
  local server, masked, max_jobs = shown_for(job, pool, channel)
  record(job, 'leased ' .. channel .. ' ' .. token, nil,
    { 'channel', channel, 'server', server, 'masked', masked, 'max_jobs', max_jobs })
  grants = grants + 1
end

-- Pinned jobs first. Unless forced, at most eight in a row while others wait for any account.
local function serve_pinned(pool, channel, forced)
  local job = nil
  repeat
    if job then
      grant(pool, channel, job)
      redis.call('HINCRBY', account_key(pool, channel), 'pinned_streak', 1)
    end
    local room, used, streak = capacity(pool, channel)
    job = room and pinned_fit(pool, channel, used)
    local others_turn = streak >= PINNED_STREAK and not forced and redis.call('ZCARD', pending_key(pool)) > 0
  until not job or others_turn or grants >= GRANTS_MAX or closed_ms > 0
  -- What this call may not do, the next dispatch does: the channel is kept for its pinned job meanwhile.
  if job and (grants >= GRANTS_MAX or closed_ms > 0) then
    redis.call('ZADD', ns .. ':due', int(now + closed_ms), pool .. ':' .. channel)
  end
  refresh(pool, channel)
end

-- A uniformly random channel among those with free capacity and fewer than `limit` jobs; nil if there is none.
-- SRANDMEMBER is not uniform (with 50 members 0.66 to 1.32 times the expected share); a rank is.
local function pick(pool, limit)
  local below = limit and ('(' .. limit) or '+inf'
  local n = redis.call('ZCOUNT', free_key(pool), '-inf', below)
  if n == 0 then return nil end
  local rank = draw(n)
  return redis.call('ZRANGE', free_key(pool), rank, rank)[1]
end

-- Grant waiting jobs, best first; where one fits nowhere, up to 32 that follow are tried. True: there is more to do.
local function dispatch(pool)
  local passed = 0
  if closed_ms > 0 then return false end
  while passed < HEADS_TRIED and redis.call('ZCARD', free_key(pool)) > 0 do
    local job = redis.call('ZRANGE', pending_key(pool), passed, passed)[1]
    if not job then return false end
    if grants >= GRANTS_MAX then return true end
    local channel = pick(pool, tonumber(redis.call('HGET', job_key(job), 'limit') or ''))
    if channel then
      grant(pool, channel, job)
      redis.call('HSET', account_key(pool, channel), 'pinned_streak', 0)
      serve_pinned(pool, channel)
    else
      passed = passed + 1
    end
  end
  return false
end

-- The channel may have gained capacity: serve its pinned jobs, then the pool, then whatever pinned job still fits.
local function refill(pool, channel)
  serve_pinned(pool, channel)
  local more = dispatch(pool)
  serve_pinned(pool, channel, true)
  return more
end

-- A job joined a line, or left it (one behind the 32 tried may be seen now): serve that line.
local function serve(pool, pin)
  if pin ~= '' then return refill(pool, pin) end
  return dispatch(pool)
end

-- A run that is over keeps its id, so that the job's next run cannot be taken for it.
local function disown(pool, remote)
  redis.call('SET', ns .. ':claimed:' .. pool .. ':' .. remote, 'refused', 'XX', 'KEEPTTL')
end

-- Put the job back where it came from: its original score is the front of the line. What it showed of a run goes.
-- A job pinned to an account that is gone, and without a token of its own, can never run: it fails. True: it waits;
-- false: it failed.
local function to_pending(job, event, keep_s, status, changes)
  local pool, pin, score, check = fields(job_key(job), 'pool', 'pin', 'score', 'pending_deadline_ms')
  if not may_wait(job, pool, pin) then
    finish(job, 'failed account deleted', 'failed', keep_s, { 'error', 'Its account ' .. pin .. ' was deleted' })
    return false
  end
  redis.call('ZADD', pending_key(pool, pin), score, job)
  if check ~= '' and check ~= '0' then
    redis.call('ZADD', ns .. ':deadlines', check, job)
  else
    redis.call('ZREM', ns .. ':deadlines', job)
  end
  redis.call('HDEL', job_key(job), 'message', 'started_ms')
  record(job, event, status, changes)
  return true
end

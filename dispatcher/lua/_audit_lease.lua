-- Judge a lease: its slot, its clock, its token, and the delivery that carries it.
-- ARGV[4] strike_ms: how long an expired lease may lie unseen  [5] redeliveries_max

local LOST = 'RQ lost it'
local LEASED = { R = true, C = true, S = true, A = true, U = true, D = true }
local strike_ms = tonumber(ARGV[4])
local redeliveries_max = tonumber(ARGV[5])

-- Its slot is put back even above max_jobs: the upstream may run the job, and that is what a slot counts.
local function judge_own_slot(job, lease)
  if score_of(slots_key(lease.pool, lease.channel), job) then return end
  if not may_repair('all') then return found('lease_without_slot', job, lease.pool, lease.channel) end
  redis.call('ZADD', slots_key(lease.pool, lease.channel), int(tonumber(lease.granted) or now), job)
  refresh(lease.pool, lease.channel)
  found('lease_without_slot', job, lease.pool, lease.channel, 'restored', 'repaired')
end

-- Why a delivery cannot reach its end, or nil. A popped and not yet claimed one has its lease's time, and then as long
-- again as a strike; so has a claimed one whose owner fell silent: a living reaper acts before that.
local function why_undelivered(job, lease, expires)
  local has_hash = redis.call('EXISTS', delivery_key(job, lease.token)) == 1
  local is_lapsed = expires and expires + strike_ms <= now or (not expires and not lease.is_bound)
  if not has_hash and (is_lapsed or lease.is_bound or is_queued(job .. '-' .. lease.token)) then return LOST end
  if not is_lapsed then return nil end
  if lease.is_bound then return 'its owner is silent' end
  return not is_queued(job .. '-' .. lease.token) and 'nobody took it up' or nil
end

-- As `reap` does at its second strike. Poison is left to `reap`, which ends it.
local function deliver_again(job, lease)
  redis.call('LREM', queue, 1, job .. '-' .. lease.token)
  redis.call('LREM', queue .. ':intermediate', 1, job .. '-' .. lease.token)
  redis.call('HINCRBY', job_key(job), 'redeliveries', 1)
  local following = lease.state == 'C' and 'R' or lease.state == 'S' and 'U' or lease.state
  redeliver(job, lease.token, following, tonumber(ARGV[2]), 'redelivered')
end

-- Only a lease that nobody renews is delivered again, after two strikes, as in `reap`: a renewal or a claim between them
-- clears the first. Without a hash in RQ no worker can take an unbound one up: there is nobody to wait for.
local function judge_delivery(job, lease, record)
  local redeliveries = record and tonumber(record.redeliveries) or 0
  local expires = score_of(ns .. ':expiry', job)
  if is_learning or (lease.state == 'D' and not expires and redeliveries > redeliveries_max) then return end
  local why = why_undelivered(job, lease, expires)
  if not why then return end
  local outcome = 'reported'
  local is_owned = lease.is_bound and not (expires and expires + strike_ms <= now)
  local is_struck = lease.suspect ~= '' or (why == LOST and not lease.is_bound)
  if not is_owned and record and redeliveries < redeliveries_max then
    if not is_struck then
      outcome = 'suspected'
    elseif may_repair('all') then
      outcome = 'repaired'
    end
  end
  found('lease_without_delivery', job, lease.pool, lease.channel,
    'token ' .. lease.token .. ': ' .. why .. (expires and ', expired ' .. int(expires) or ''), outcome)
  if outcome == 'repaired' then
    deliver_again(job, lease)
  elseif outcome == 'suspected' and may_repair('all') then
    redis.call('HSET', lease_key(job), 'suspect', int(now))
    redis.call('ZADD', ns .. ':expiry', int(now + strike_ms), job)
  end
end

-- Returns the lease's state, or '' where it cannot be read. `record` may be nil.
local function judge_lease(job, record)
  local lease, execution = {}, nil
  lease.token, lease.state, lease.pool, lease.channel, execution, lease.suspect, lease.granted =
    fields(lease_key(job), 'token', 'state', 'pool', 'channel', 'execution', 'suspect', 'granted_ms')
  lease.is_bound = execution ~= ''
  if not LEASED[lease.state] or not tonumber(lease.token) or lease.pool == '' or lease.channel == '' then
    found('lease_unreadable', job, lease.pool, lease.channel, 'state ' .. lease.state)
    return ''
  end
  judge_own_slot(job, lease)
  if tonumber(lease.token) > tonumber(redis.call('GET', ns .. ':fence') or '0') then
    found('token_beyond_fence', job, lease.pool, lease.channel, 'token ' .. lease.token)
  end
  local is_poison = lease.state == 'D' and record and (tonumber(record.redeliveries) or 0) > redeliveries_max
  if not score_of(ns .. ':expiry', job) and not is_poison then
    found('expiry_missing', job, lease.pool, lease.channel, 'state ' .. lease.state)
  end
  judge_delivery(job, lease, record)
  return lease.state
end

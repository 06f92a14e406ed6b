-- Judge a channel: its account, who holds its slots, who submits, and whether free:<pool> tells the truth.

local MEMBERS_READ = 256

-- A slot must be held by the lease of its job, on this very channel.
local function judge_slot(pool, channel, job)
  local leased_pool, leased_channel = fields(lease_key(job), 'pool', 'channel')
  if leased_pool == pool and leased_channel == channel then return end
  local is_unleased = redis.call('EXISTS', lease_key(job)) == 0
  -- Nobody can tell where such a lease is: it is told as unreadable.
  if not is_unleased and (leased_pool == '' or leased_channel == '') then return end
  local token, own_pool, pin = fields(job_key(job), 'token', 'pool', 'pin')
  local until_ms = score_of(ns .. ':deadlines', job) or 0
  -- Leased once, not waiting again, not over its time: the upstream may run it, and a freed slot would be one too many.
  local may_run = is_unleased and (tonumber(token) or 0) > 0 and until_ms > now
    and not score_of(pending_key(own_pool, pin), job)
  if may_run or not may_repair('all') then
    local held = may_run and ('held until ' .. int(until_ms) .. ': the upstream may run the job') or ''
    return found('slot_without_lease', job, pool, channel, held)
  end
  redis.call('ZREM', slots_key(pool, channel), job)
  redis.call('ZREM', submitting_key(pool, channel), job)
  end_drain(pool, channel)
  refill(pool, channel)
  found('slot_without_lease', job, pool, channel, 'freed', 'repaired')
end

-- Above max_jobs are only those granted before the limit was last set: it was lowered under them.
local function judge_limit(pool, channel, used, max_jobs, updated)
  if used <= max_jobs then return end
  local first_above = redis.call('ZRANGE', slots_key(pool, channel), max_jobs, max_jobs, 'WITHSCORES')
  if tonumber(first_above[2]) > updated then
    found('over_limit', first_above[1], pool, channel, used .. ' of ' .. max_jobs)
  end
end

local function judge_submissions(pool, channel)
  for _, job in ipairs(redis.call('ZRANGE', submitting_key(pool, channel), 0, MEMBERS_READ - 1)) do
    local state, its_pool, its_channel = fields(lease_key(job), 'state', 'pool', 'channel')
    local is_sent = state == 'S' or state == 'U' or state == 'D'
    if not is_sent or its_pool ~= pool or its_channel ~= channel then
      found('submission_without_lease', job, pool, channel)
    end
  end
end

-- A channel whose instant in `due` has come is about to be looked at by the next dispatch: it is in motion.
local function judge_free(pool, channel)
  if (score_of(ns .. ':due', pool .. ':' .. channel) or now + 1) <= now then return end
  local is, ought = score_of(free_key(pool), channel), openness(pool, channel)
  if is == ought then return end
  local detail = 'used ' .. (is and int(is) or 'none') .. ', not ' .. (ought and int(ought) or 'none')
  if not may_repair('free') then return found('free_wrong', '', pool, channel, detail) end
  refill(pool, channel) -- which rebuilds it first
  found('free_wrong', '', pool, channel, detail, 'repaired')
end

-- The account and the lists that name it. False: there is nothing here, and no trace that there should be.
local function judge_account(pool, channel, used)
  local account = account_key(pool, channel)
  local state, max_jobs, cooling, updated, revive, visit =
    fields(account, 'state', 'max_jobs', 'cooling_until_ms', 'updated_ms', 'revive', 'visit')
  local is_owned = redis.call('HGET', ns .. ':channels', channel) == pool
  local is_listed = redis.call('SISMEMBER', ns .. ':accounts:' .. pool, channel) == 1
  local is_visited = redis.call('SISMEMBER', guests_key(pool), channel) == 1
  if state == '' then
    if is_owned or is_listed or is_visited or used > 0 then found('account_missing', '', pool, channel) end
    return
  end
  local ought_listed = state ~= 'deleted' and visit == ''
  if not is_owned or is_listed ~= ought_listed or is_visited ~= (visit ~= '') then
    found('account_unlisted', '', pool, channel, state)
  end
  if used == 0 and (state == 'deleted' or state == 'draining') then found('drain_unended', '', pool, channel, state) end
  if not tonumber(max_jobs) then return found('account_unreadable', '', pool, channel, 'max_jobs ' .. max_jobs) end
  judge_limit(pool, channel, used, tonumber(max_jobs), tonumber(updated) or 0)
  local member = pool .. ':' .. channel
  local is_idle = used == 0 and redis.call('ZCARD', pending_key(pool, channel)) == 0
  if visit ~= '' and is_idle and not score_of(ns .. ':due', member) then found('visit_unended', '', pool, channel) end
  if (tonumber(cooling) or 0) > now and state ~= 'deleted' and not score_of(ns .. ':due', member) then
    found('due_missing', '', pool, channel, 'cools until ' .. cooling)
  end
  if (state == 'disabled' and revive == 'check') ~= (score_of(ns .. ':checks', member) ~= nil) then
    found('check_mismatch', '', pool, channel, state)
  end
end

local function judge_channel(pool, channel)
  judge_account(pool, channel, redis.call('ZCARD', slots_key(pool, channel)))
  judge_submissions(pool, channel)
  for _, job in ipairs(redis.call('ZRANGE', slots_key(pool, channel), 0, MEMBERS_READ - 1)) do
    judge_slot(pool, channel, job)
  end
  judge_free(pool, channel)
end

-- A submission whose HTTP answer is held: its caller hears `full` or `throttled`, not that it waits.
-- Invariant: while `held_until_ms` is ahead the caller has been told nothing, and the job never waits in a line between
-- two scripts: whichever returns it there ends it, unless its own refill leased it again. `mark A` and `answer` take the
-- field away, before anything good is told. A store that learns may have lost that: there nobody is ended, and once the
-- window of learning is over so is the time for which an answer is held.

local function is_held(job)
  return closed_ms == 0 and (tonumber((fields(job_key(job), 'held_until_ms'))) or 0) > now
end

-- The job's idempotency key, if it is still its own: the caller may try again with it.
local function release_idempotency(job)
  local user, key = fields(job_key(job), 'user', 'idempotency_key')
  local known = key ~= '' and (ns .. ':idempotency:' .. user .. ':' .. key)
  local first = known and string.match(redis.call('GET', known) or '', '^(%S+) ')
  if first == job then redis.call('DEL', known) end
end

-- End a held job that was returned and not leased again. `refused` on its record is what its caller is told. True: ended.
local function end_unserved(job, keep_s)
  if not is_held(job) or redis.call('EXISTS', lease_key(job)) == 1 then return false end
  local status, pool, pin, limit = fields(job_key(job), 'status', 'pool', 'pin', 'limit')
  if FINAL[status] then return false end
  local why = refusal(pool, pin, tonumber(limit), has_token(job))
  local told = why[1] == 'full' and 'throttled' or why[1] .. (why[2] and ' ' .. why[2] or '')
  redis.call('ZREM', pending_key(pool, pin), job)
  release_idempotency(job)
  redis.call('HDEL', job_key(job), 'reply_url') -- the answer tells, and nothing else
  finish(job, 'refused ' .. told, 'failed', keep_s,
    { 'error', 'No other account could take it, and its caller was told so', 'refused', told })
  if pin ~= '' then refresh(pool, pin) end
  return true
end

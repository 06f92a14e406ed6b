-- `mark S`: the only permission to submit. Written before the call, so that a crash in it leaves a trace.
-- Invariant: at most one job of a channel is unanswered (in S, or in U undecided for less than window_ms), so the first
-- unclaimed answer in the channel is that job's, without reading its text.
-- Invariant: after `ok` the channel holds at most max_jobs slots, as the limit stands now: lowered since the grant, it
-- sends the job back; so does a guest's own limit, whoever was granted meanwhile.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] job  [5] token
--       [6] hard_deadline_ms from now  [7] min_interval_ms between submissions  [8] window_ms
--       [9] patience_ms: a longer cooling sends the job back to pending
--       [10] upstream_user: as whom it will be submitted, or ''; a look-up needs it when the secret has changed since
--       [11] daily_cap: permissions a UTC day of an account that has no cap of its own; 0 is none
--       [12] upstream_ms: now by the upstream's own clock, or ''; a look-up compares it with the upstream's instants
-- Returns {'ok', submitted_ms, account as a flat list} | {'wait', ms} | {'pending', reason}
--       | {'stale'} | {'rolled_back'}
-- `pending`: this delivery is over; the job waits again, or failed if it was pinned to an account now deleted, or ended
-- because its answer was held and no other account could take it.
-- Safe to run twice: a job in S answers `ok` with its first instant, for half the window; what a look-up needs is the
-- last caller's.
-- A draining account finishes what it holds; at its daily cap an account rests until the next UTC day.
-- needs: record handoff slots epoch owner refill cooling refusal held

local DAY_MS = 86400000
local job, token = ARGV[4], ARGV[5]
local verdict = standing(job, token, 'C', '', '')
if verdict ~= 'ours' then return { verdict } end
-- Even one in S may have been superseded in what the store lost.
if closed_ms > 0 then return { 'wait', int(closed_ms) } end
local state, pool, channel, submitted = fields(lease_key(job), 'state', 'pool', 'channel', 'submitted_ms')

local account = account_key(pool, channel)
-- Only an answer permits to send. One who asks again got none: nothing was sent. Soon after, he is told the same; after a
-- long silence the window that keeps others waiting is nearly over, and he goes through the gate again.
local is_late = state == 'S' and now - tonumber(submitted) >= tonumber(ARGV[8]) / 2
-- A look-up judges by what the last answer permitted, for that may have been sent.
local function note_permission()
  redis.call('HSET', lease_key(job), 'upstream_user', ARGV[10], 'secret_version', secret_version_for(job, pool, channel))
  if ARGV[12] ~= '' then
    redis.call('HSET', lease_key(job), 'upstream_ms', ARGV[12])
  else
    redis.call('HDEL', lease_key(job), 'upstream_ms')
  end
end

if state == 'S' and not is_late then
  note_permission()
  return { 'ok', submitted, account_for(job, pool, channel) }
end
if state ~= 'C' and not is_late then return { 'stale' } end
if is_late then redis.call('ZREM', submitting_key(pool, channel), job) end

local function back(reason)
  release(pool, channel, job)
  to_pending(job, 'returned ' .. reason, ARGV[3])
  refill(pool, channel)
  end_unserved(job, ARGV[3])
  return { 'pending', reason }
end

local standing, max_jobs, cooling, last, own_cap, day, day_count =
  fields(account, 'state', 'max_jobs', 'cooling_until_ms', 'last_submit_ms', 'daily_cap', 'day', 'day_count')
local is_guest = has_token(job)
local may_submit = standing == 'active' or standing == 'draining' or (is_guest and is_for_guests(pool, channel))
if not may_submit then return back('account ' .. (standing == '' and 'deleted' or standing)) end
if not is_guest and is_visit(pool, channel) then return back('account deleted') end
local most, own_most = tonumber(max_jobs), tonumber(redis.call('HGET', job_key(job), 'limit') or '')
if is_guest and own_most then most = math.min(most, own_most) end
if redis.call('ZCARD', slots_key(pool, channel)) > most then return back('account over its limit') end
local today = math.floor(now / DAY_MS)
local permitted = tonumber(day) == today and tonumber(day_count) or 0
local cap = tonumber(own_cap) or tonumber(ARGV[11])
if cap > 0 and permitted >= cap and not is_late then
  rest_until(pool, channel, (today + 1) * DAY_MS, 'capped', 'its daily cap of ' .. cap .. ' is reached')
  return back('account at its daily cap')
end
local cooling_ms = (tonumber(cooling) or 0) - now
if cooling_ms > tonumber(ARGV[9]) then return back('account cooling') end
if cooling_ms > 0 then return { 'wait', int(cooling_ms) } end
local paced_ms = (tonumber(last) or 0) + tonumber(ARGV[7]) - now
if paced_ms > 0 then return { 'wait', int(paced_ms) } end

local submitting = submitting_key(pool, channel)
redis.call('ZREMRANGEBYSCORE', submitting, '-inf', int(now - tonumber(ARGV[8])))
local unanswered = redis.call('ZRANGE', submitting, 0, 0)[1]
if unanswered then -- one in S is answered within moments; one in U may take the rest of its window
  return { 'wait', redis.call('HGET', lease_key(unanswered), 'state') == 'U' and '1000' or '100' }
end

redis.call('ZADD', submitting, int(now), job)
-- A late one was permitted, and counted, before: nothing was sent.
redis.call('HSET', account, 'last_submit_ms', int(now), 'day', today, 'day_count', permitted + (is_late and 0 or 1))
remember_visit(pool, channel, cap > 0 and (today + 1) * DAY_MS or now + tonumber(ARGV[7]))
local deadline = tonumber(redis.call('HGET', job_key(job), 'deadline_ms') or '0')
local hard = now + tonumber(ARGV[6])
redis.call('HSET', lease_key(job), 'state', 'S', 'submitted_ms', int(now), 'deadline_ms', int(hard))
note_permission()
extend(job, ttl_ms)
redis.call('ZADD', ns .. ':deadlines', int(deadline > 0 and math.min(deadline, hard) or hard), job)
record(job, 'submitting')
return { 'ok', int(now), account_for(job, pool, channel) }

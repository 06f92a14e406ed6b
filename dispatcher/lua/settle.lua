-- Record the outcome and free the slot, in one step, once.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] job  [5] token
--       [6] status: completed | failed | moderated  [7] running: 1 if the upstream may still run it (the slot stays
--       held, state D)  [8] hold_ms after the lease's deadline
--       [9] state as its owner knows it
--       [10] attempts_max: a job that was accepted, failed and has attempts left returns to the place it had; '' ends it
--       [11] reason: why it failed, for its history  [12…] fields and values of the record
-- Returns {'ok', status on record: `created` where it is tried again} | {'stale'} | {'rolled_back'}
-- Safe to run twice: the token that settled the job is kept on its record.
-- Invariant: only what its upstream says has ended (A, not running) is tried again, so a job never runs twice at once.
-- needs: record handoff slots epoch owner refill cooling

local keep_s, job, token, status = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local verdict = standing(job, token, ARGV[9], '', '')
local state, pool, channel, deadline, submitted, remote =
  fields(lease_key(job), 'state', 'pool', 'channel', 'deadline_ms', 'submitted_ms', 'remote')
local on_record, settled_by = fields(job_key(job), 'status', 'settled_by')
if verdict ~= 'ours' then return settled_by == token and { 'ok', on_record } or { verdict } end

-- A job cancelled or overdue meanwhile (D), out of time, or pinned to an account that is gone is not tried again.
local function has_attempt_left()
  if ARGV[10] == '' or status ~= 'failed' or state ~= 'A' or ARGV[7] == '1' then return false end
  local attempts, wait_until, pin = fields(job_key(job), 'attempts', 'pending_deadline_ms', 'pin')
  if tonumber(attempts) >= tonumber(ARGV[10]) then return false end
  if wait_until ~= '0' and tonumber(wait_until) <= now then return false end
  return may_wait(job, pool, pin)
end

if has_attempt_left() then
  disown(pool, remote)
  redis.call('HSET', job_key(job), 'settled_by', token)
  release(pool, channel, job)
  to_pending(job, 'returned, to be tried again: ' .. ARGV[11], keep_s, 'created')
  refill(pool, channel)
  return { 'ok', redis.call('HGET', job_key(job), 'status') }
end

local changes = {}
for index = 12, #ARGV do changes[#changes + 1] = ARGV[index] end
finish(job, 'settled ' .. status, status, keep_s, changes)
if state == 'S' then answered(job, pool, channel) end
if status == 'completed' then succeeded(job, pool, channel, tonumber(submitted) or 0) end
if ARGV[7] == '1' and state ~= 'C' then
  if state ~= 'D' then
    redis.call('HSET', lease_key(job), 'state', 'D')
    redis.call('ZADD', ns .. ':deadlines', int((tonumber(deadline) or now) + tonumber(ARGV[8])), job)
  end
else
  redis.call('HSET', job_key(job), 'settled_by', token)
  release(pool, channel, job)
  redis.call('ZREM', ns .. ':deadlines', job)
  refill(pool, channel)
end
return { 'ok', redis.call('HGET', job_key(job), 'status') or status }

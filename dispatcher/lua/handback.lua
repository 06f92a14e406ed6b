-- A definite refusal: nothing runs upstream. The job returns to the place it had; the account cools or stops.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] job  [5] token  [6] reason
--       [7] requeues_max: beyond it the job fails; '' does not count this one
--       [8] cool_ms: the account cools for at least that long, 0 not at all
--       [9] disable: 1 stops the account with the reason
--       [10] never_sent: 1 if the connection was never made (the only way back from U)
-- Returns {'pending'} | {'failed'} (refused too often, or pinned to an account now deleted)
--       | {'ok', status} (the job was final; its slot is free now) | {'stale'}
-- Safe to run twice: the second call finds another token, or none.
-- needs: record handoff slots refill

local keep_s, job, reason = ARGV[3], ARGV[4], ARGV[6]
local held, state, pool, channel, remote = fields(lease_key(job), 'token', 'state', 'pool', 'channel', 'remote')
if held ~= ARGV[5] or state == 'R' then return { 'stale' } end
if state == 'U' and ARGV[10] ~= '1' then return { 'stale' } end

local account = account_key(pool, channel)
if redis.call('HGET', account, 'state') == 'active' and ARGV[9] == '1' then
  redis.call('HSET', account, 'state', 'disabled', 'reason', reason)
end
local until_ms = now + tonumber(ARGV[8])
if tonumber(ARGV[8]) > 0 and until_ms > tonumber(redis.call('HGET', account, 'cooling_until_ms') or '0') then
  if redis.call('EXISTS', account) == 1 then
    redis.call('HSET', account, 'cooling_until_ms', int(until_ms))
    redis.call('ZADD', ns .. ':due', int(until_ms), pool .. ':' .. channel)
  end
end

-- The refused run keeps its id, so that the job's next run cannot be taken for it.
if remote ~= '' then redis.call('SET', ns .. ':claimed:' .. pool .. ':' .. remote, 'refused', 'XX', 'KEEPTTL') end
release(pool, channel, job)
local verdict = { 'pending' }
if state == 'D' then
  redis.call('ZREM', ns .. ':deadlines', job)
  verdict = { 'ok', redis.call('HGET', job_key(job), 'status') }
else
  local changes, requeues = {}, 0
  if ARGV[7] ~= '' then -- only these are bounded, and so is the list
    local refused_by = fields(job_key(job), 'refused_by')
    requeues = redis.call('HINCRBY', job_key(job), 'requeues', 1)
    changes = { 'refused_by', (refused_by == '' and '' or refused_by .. ' ') .. channel }
  end
  if ARGV[7] ~= '' and requeues > tonumber(ARGV[7]) then
    changes[#changes + 1] = 'error'
    changes[#changes + 1] = 'Refused ' .. requeues .. ' times, last by ' .. channel .. ': ' .. reason
    finish(job, 'failed ' .. reason, 'failed', keep_s, changes)
    verdict = { 'failed' }
  elseif not to_pending(job, 'returned ' .. reason, keep_s, 'created', changes) then
    verdict = { 'failed' }
  end
end
refill(pool, channel)
return verdict

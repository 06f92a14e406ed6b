-- A definite refusal: nothing runs upstream. The job returns to the place it had; the account cools or stops.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] job  [5] token  [6] reason
--       [7] requeues_max: beyond it the job fails; '' does not count this one
--       [8] asked_ms: the upstream asked for so long a rest (Retry-After), kept in full; 0 if it named no time
--       [9] disable: '' | check | operator: stop the account with the reason, until a check or its operator revives it
--       [10] never_sent: 1 if the connection was never made (the only way back from U)
--       [11] cools: '' | said (the upstream is busy) | suspected (our guess): the account cools, see _cooling; or
--       held: it rests for asked_ms, and nothing is held against it, for its calls may not leave, whosever fault that is
--       [12] cooling_first_ms  [13] cooling_max_ms  [14] suspicion_share_max
--       [15] state as its owner knows it  [16] the upstream's id as its owner knows it, or ''
-- Returns {'pending'} | {'failed'} (refused too often, pinned to an account now deleted, or its own token is refused)
--       | {'ok', status} (the job was final; its slot is free now) | {'refused'}: its answer was held, and it ended
--       | {'stale'} | {'rolled_back'}
-- Safe to run twice: the second call finds another token, or none.
-- Invariant: one job makes at most three accounts cool without being asked to; what refused it before may cool again.
-- Invariant: a token of the job's own stops no account. Refused for good it ends the job; else it cools the channel where
-- that has no other token, and where it has one the job rests alone.
-- needs: record handoff slots epoch owner refill cooling checks refusal held

local keep_s, job, reason = ARGV[3], ARGV[4], ARGV[6]
local told = standing(job, ARGV[5], ARGV[15], ARGV[16], '')
if told ~= 'ours' then return { told } end
local state, pool, channel, remote, granted, submitted, version = fields(lease_key(job), 'state', 'pool', 'channel',
  'remote', 'granted_ms', 'submitted_ms', 'secret_version')
if state == 'U' and ARGV[10] ~= '1' then return { 'stale' } end

local is_counted = ARGV[7] ~= ''
local refused_by = fields(job_key(job), 'refused_by')

-- A prompt that every account refuses must not cool the pool: only the first three that refused it cool for it.
local function may_cool()
  local first_three = string.match(refused_by, '^%S+ %S+ %S+')
  return not is_counted or not first_three or string.find(first_three .. ' ', channel .. ' ', 1, true)
end

-- What was refused with a secret that has been replaced since, or with the job's own, says nothing about the account's.
local is_in_force = is_registered(pool, channel)
  and redis.call('HGET', account_key(pool, channel), 'secret_version') == version
local is_guest = has_token(job)
if ARGV[9] ~= '' and is_in_force then disable(pool, channel, reason, ARGV[9]) end
if state == 'S' and ARGV[10] ~= '1' then answered(job, pool, channel) end
local asked_ms = tonumber(ARGV[8])
local rule = { first_ms = tonumber(ARGV[12]), max_ms = tonumber(ARGV[13]), share = tonumber(ARGV[14]) }
if not speaks_for_account(job, pool, channel) then
  if asked_ms > 0 or ARGV[11] ~= '' then rest_alone(job, asked_ms, rule, tonumber(ARGV[1])) end
elseif ARGV[11] == 'held' then
  rest_until(pool, channel, now + jittered(asked_ms, tonumber(ARGV[1])), 'held', reason)
elseif asked_ms > 0 or (ARGV[11] ~= '' and may_cool()) then
  local since_ms = tonumber(submitted) or tonumber(granted)
  cool(pool, channel, { asked_ms = asked_ms, cause = ARGV[11], since_ms = since_ms, reason = reason }, rule,
    tonumber(ARGV[1]))
end

-- Accepted, and then refused after all: that was no attempt.
if remote ~= '' then
  disown(pool, remote)
  if state ~= 'D' then redis.call('HINCRBY', job_key(job), 'attempts', -1) end
end
release(pool, channel, job)
local verdict = { 'pending' }
if state == 'D' then
  redis.call('ZREM', ns .. ':deadlines', job)
  verdict = { 'ok', redis.call('HGET', job_key(job), 'status') }
else
  local changes, requeues = {}, 0
  if is_counted then -- only these are bounded, and so is the list
    requeues = redis.call('HINCRBY', job_key(job), 'requeues', 1)
    changes = { 'refused_by', (refused_by == '' and '' or refused_by .. ' ') .. channel }
  end
  if is_guest and ARGV[9] ~= '' then
    changes[#changes + 1] = 'error'
    changes[#changes + 1] = 'Its own token was refused: ' .. reason
    finish(job, 'failed ' .. reason, 'failed', keep_s, changes)
    verdict = { 'failed' }
  elseif is_counted and requeues > tonumber(ARGV[7]) then
    changes[#changes + 1] = 'error'
    changes[#changes + 1] = 'Refused ' .. requeues .. ' times, last by ' .. channel .. ': ' .. reason
    finish(job, 'failed ' .. reason, 'failed', keep_s, changes)
    verdict = { 'failed' }
  elseif not to_pending(job, 'returned ' .. reason, keep_s, 'created', changes) then
    verdict = { 'failed' }
  end
end
refill(pool, channel)
if verdict[1] == 'pending' and end_unserved(job, keep_s) then return { 'refused' } end
return verdict

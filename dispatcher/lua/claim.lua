-- A worker takes a delivery up: the first execution of the current token binds the lease, any other is told `stale`.
-- KEYS  [1] namespace
-- ARGV  [1] ttl_ms  [2] job  [3] token  [4] execution: RQ's execution id  [5] owner: the worker's name
-- Returns {'stale'} | {'done'} (the job is final and holds no slot, or is unknown)
--       | {'start' | 'lookup' | 'adopt' | 'watch' | 'same', lease, record, account, now_ms}; the three are flat lists;
--       of the account a field may come twice: the later value is the job's own token's, or its server
--       | {'wait', ms}: learning; another may hold this very delivery, and has not told yet
-- Safe to run twice: the same execution is told `same` with the state as it stands.
-- needs: record slots epoch

local ttl_ms, job, token, execution = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local NEXT = { R = { 'C', 'start' }, C = { 'C', 'start' }, S = { 'U', 'lookup' }, U = { 'U', 'lookup' },
  A = { 'A', 'adopt' }, D = { 'D', 'watch' } }

local held, state, bound, pool, channel = fields(lease_key(job), 'token', 'state', 'execution', 'pool', 'channel')
if held == '' then
  local status = redis.call('HGET', job_key(job), 'status')
  return { (not status or FINAL[status]) and 'done' or 'stale' }
end
if held ~= token or (bound ~= '' and bound ~= execution) then return { 'stale' } end

local verdict = 'same'
if bound == '' then
  if learning_ms() > 0 then return { 'wait', int(learning_ms()) } end
  local following = NEXT[state]
  verdict = following[2]
  redis.call('HSET', lease_key(job), 'state', following[1], 'execution', execution, 'owner', ARGV[5],
    'claimed_ms', int(now))
  if following[1] == 'C' then -- with this secret the submission is prepared
    redis.call('HSET', lease_key(job), 'secret_version', secret_version_for(job, pool, channel))
  end
  record(job, 'claimed ' .. following[1])
end
extend(job, ttl_ms)
return { verdict, redis.call('HGETALL', lease_key(job)), redis.call('HGETALL', job_key(job)),
  account_for(job, pool, channel), int(now) }

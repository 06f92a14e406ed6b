-- Record the outcome and free the slot, in one step, once.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] job  [5] token
--       [6] status: completed | failed | moderated  [7] running: 1 if the upstream may still run it (the slot stays
--       held, state D)  [8] hold_ms after the lease's deadline
--       [9] state as its owner knows it  [10…] fields and values of the record
-- Returns {'ok', status on record} | {'stale'} | {'rolled_back'}
-- Safe to run twice: the token that settled the job is kept on its record.
-- needs: record handoff slots epoch owner refill cooling

local keep_s, job, token, status = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local verdict = standing(job, token, ARGV[9], '')
local state, pool, channel, deadline, submitted =
  fields(lease_key(job), 'state', 'pool', 'channel', 'deadline_ms', 'submitted_ms')
local on_record, settled_by = fields(job_key(job), 'status', 'settled_by')
if verdict ~= 'ours' then return settled_by == token and { 'ok', on_record } or { verdict } end

local changes = {}
for index = 10, #ARGV do changes[#changes + 1] = ARGV[index] end
finish(job, 'settled ' .. status, status, keep_s, changes)
if state == 'S' then answered(pool, channel) end
if status == 'completed' then succeeded(pool, channel, tonumber(submitted) or 0) end
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

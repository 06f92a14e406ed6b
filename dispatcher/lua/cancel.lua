-- Cancel for the caller, at once. A job that may already run upstream keeps its slot (state D) until that ends.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] job  [5] user, or '' for any  [6] hold_ms after the lease's deadline
--       [7] at_once: 1 frees the slot although the upstream still runs the job (the operator chose so)
-- Returns {'ok', record as a flat list} | {'missing'}
-- Safe to run twice: a final job answers with its status unchanged.
-- needs: record handoff slots epoch refill

local keep_s, job = ARGV[3], ARGV[4]
local status, user, pool, pin = fields(job_key(job), 'status', 'user', 'pool', 'pin')
if status == '' or (ARGV[5] ~= '' and ARGV[5] ~= user) then return { 'missing' } end

if not FINAL[status] then
  finish(job, 'cancelled', 'cancelled', keep_s)
  redis.call('ZREM', pending_key(pool, pin), job)
  local state, channel, deadline = fields(lease_key(job), 'state', 'channel', 'deadline_ms')
  if state == 'S' or state == 'U' or state == 'A' then
    redis.call('HSET', lease_key(job), 'state', 'D')
    redis.call('ZADD', ns .. ':deadlines', int((tonumber(deadline) or now) + tonumber(ARGV[6])), job)
    if ARGV[7] == '1' then
      release(pool, channel, job)
      redis.call('ZREM', ns .. ':deadlines', job)
      refill(pool, channel)
    end
  elseif state ~= '' then
    release(pool, channel, job)
    refill(pool, channel)
  else
    serve(pool, pin)
  end
end
return { 'ok', redis.call('HGETALL', job_key(job)) }

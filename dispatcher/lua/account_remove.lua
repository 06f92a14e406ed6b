-- Remove an account: unseen at once, its running jobs drain; jobs pinned to it can never run and fail, but for guests:
-- with tokens of their own they go on, and the channel is theirs to visit.
-- KEYS  [1] namespace
-- ARGV  [1] keep_s  [2] pool  [3] channel
-- Returns {'ok', more: 1 if pinned jobs are left, call again, or the reaper ends them} | {'missing'}
-- Safe to run twice: the second answer is `missing`, or goes on with the pinned jobs left.
-- needs: record slots cooling checks

local pool, channel = ARGV[2], ARGV[3]
local key = account_key(pool, channel)
local digest = fields(key, 'digest')
local is_here, member = is_registered(pool, channel), pool .. ':' .. channel
if not is_here and redis.call('SISMEMBER', orphaned_key(), member) == 0 then return { 'missing' } end

if is_here then
  redis.call('SREM', ns .. ':accounts:' .. pool, channel)
  if digest ~= '' then redis.call('HDEL', ns .. ':secrets', digest) end
  redis.call('ZREM', free_key(pool), channel)
  redis.call('ZREM', ns .. ':due', member)
  redis.call('ZREM', suspected_key(pool), channel)
  forget_checks(pool, channel)
  redis.call('HSET', key, 'state', 'deleted', 'digest', '')
end
local _, is_more = fail_pinned(pool, channel, 256, ARGV[1])
for _, job in ipairs(redis.call('ZRANGE', slots_key(pool, channel), 0, -1)) do
  if has_token(job) then begin_visit(job, pool, channel) end
end
end_drain(pool, channel)
return { 'ok', is_more and '1' or '0' }

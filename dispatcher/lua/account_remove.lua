-- Remove an account: unseen at once, its running jobs drain; jobs pinned to it can never run and fail.
-- KEYS  [1] namespace
-- ARGV  [1] keep_s  [2] pool  [3] channel
-- Returns {'ok', more: 1 if pinned jobs are left, call again, or the reaper ends them} | {'missing'}
-- Safe to run twice: the second answer is `missing`, or goes on with the pinned jobs left.
-- needs: record slots cooling checks

local pool, channel = ARGV[2], ARGV[3]
local key = account_key(pool, channel)
local state, digest = fields(key, 'state', 'digest')
local pinned = pending_key(pool, channel)
if (state == '' or state == 'deleted') and redis.call('ZCARD', pinned) == 0 then return { 'missing' } end

redis.call('SREM', ns .. ':accounts:' .. pool, channel)
if digest ~= '' then redis.call('HDEL', ns .. ':secrets', digest) end
redis.call('ZREM', free_key(pool), channel)
redis.call('ZREM', ns .. ':due', pool .. ':' .. channel)
redis.call('ZREM', suspected_key(pool), channel)
forget_checks(pool, channel)
if state ~= '' then redis.call('HSET', key, 'state', 'deleted', 'digest', '') end
fail_pinned(pool, channel, 256, ARGV[1])
end_drain(pool, channel)
return { 'ok', redis.call('ZCARD', pinned) > 0 and '1' or '0' }

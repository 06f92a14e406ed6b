-- A callback was heard, or is not worth another call.
-- Invariant: a later callback of the same job, which took its place while it was under way, stays.
-- KEYS  [1] namespace
-- ARGV  [1] job  [2] id of the callback
-- Returns {'ok'} | {'stale'}: it is not the one that waits
-- Safe to run twice: the second call is stale.

local key = ns .. ':callback:' .. ARGV[1]
if redis.call('HGET', key, 'id') ~= ARGV[2] then return { 'stale' } end
redis.call('DEL', key)
redis.call('ZREM', ns .. ':callbacks', ARGV[1])
redis.call('ZREM', ns .. ':callbacks_dead', ARGV[1])
return { 'ok' }

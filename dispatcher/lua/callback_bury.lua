-- A callback is given up: a dead letter, kept as long as the record of its job, to be looked at and replayed.
-- Invariant: a callback waits or is dead, never both.
-- KEYS  [1] namespace
-- ARGV  [1] job  [2] id of the callback  [3] attempts before this one  [4] error  [5] keep_ms: older ones are forgotten
-- Returns {'ok'} | {'stale'}: a later callback took its place, or the attempt is counted already
-- Safe to run twice: the second call is stale.

local key, dead = ns .. ':callback:' .. ARGV[1], ns .. ':callbacks_dead'
local id, attempts = fields(key, 'id', 'attempts')
if id ~= ARGV[2] or attempts ~= ARGV[3] then return { 'stale' } end
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HSET', key, 'error', ARGV[4])
redis.call('ZREM', ns .. ':callbacks', ARGV[1])
redis.call('ZADD', dead, int(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', dead, '-inf', int(now - tonumber(ARGV[5])))
return { 'ok' }

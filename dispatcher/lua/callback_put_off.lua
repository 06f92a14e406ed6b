-- A callback was not heard: it is made again later.
-- Invariant: each attempt is counted once, and the first one that failed begins the time after which it is given up.
-- KEYS  [1] namespace
-- ARGV  [1] job  [2] id of the callback  [3] attempts before this one  [4] delay_ms until the next  [5] error
-- Returns {'ok'} | {'stale'}: a later callback took its place, or the attempt is counted already
-- Safe to run twice: the second call is stale.

local key = ns .. ':callback:' .. ARGV[1]
local id, attempts = fields(key, 'id', 'attempts')
if id ~= ARGV[2] or attempts ~= ARGV[3] then return { 'stale' } end
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HSETNX', key, 'first_ms', int(now))
redis.call('HSET', key, 'error', ARGV[5])
redis.call('ZADD', ns .. ':callbacks', int(now + tonumber(ARGV[4])), ARGV[1])
return { 'ok' }

-- Change an account's standing: active, paused or disabled with the reason that the operator reads.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] pool  [4] channel  [5] state: active | paused | disabled  [6] reason
-- Returns {'ok', state before} | {'missing'}
-- Safe to run twice.
-- needs: record handoff slots refill

local pool, channel = ARGV[3], ARGV[4]
local key = account_key(pool, channel)
local before = redis.call('HGET', key, 'state')
if not before or before == 'deleted' then return { 'missing' } end
redis.call('HSET', key, 'state', ARGV[5], 'reason', ARGV[6])
refill(pool, channel)
return { 'ok', before }

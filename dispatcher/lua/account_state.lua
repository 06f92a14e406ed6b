-- Change an account's standing by its operator's word, with the reason that he reads: active, paused, draining, disabled.
-- A paused account submits nothing more: what it holds and did not submit waits again. A draining one is only granted
-- nothing more: what it holds is still submitted; it is paused when its last slot has come back.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] pool  [4] channel  [5] state: active | paused | draining | disabled  [6] reason
-- Returns {'ok', state before} | {'missing'}
-- Safe to run twice.
-- needs: record handoff slots epoch refill checks

local pool, channel = ARGV[3], ARGV[4]
local key = account_key(pool, channel)
local before = redis.call('HGET', key, 'state')
if not is_registered(pool, channel) then return { 'missing' } end
redis.call('HSET', key, 'state', ARGV[5], 'reason', ARGV[6], 'revive', '')
forget_checks(pool, channel)
-- Resumed at its daily cap: the gate counts again, by the cap as it stands now.
if ARGV[5] == 'active' and redis.call('HGET', key, 'cooling_cause') == 'capped' then
  redis.call('HDEL', key, 'cooling_until_ms', 'cooling_cause', 'cooling_reason')
  redis.call('ZREM', ns .. ':due', pool .. ':' .. channel)
end
end_drain(pool, channel)
refill(pool, channel)
return { 'ok', before }

-- The store is about to be stopped in order: if no lease is out, its next start needs no learning.
-- KEYS  [1] namespace
-- ARGV  [1] channels_max: with more channels it is not looked, and learning will open
-- Returns 1: clean | 0: a lease is out, or may be
-- Safe to run twice. Whoever mints a token or re-asserts takes it back in the same step (_handoff, reassert).

redis.call('DEL', ns .. ':clean')
if redis.call('ZCARD', ns .. ':expiry') > 0 or redis.call('EXISTS', ns .. ':learning') == 1 then return 0 end
if redis.call('HLEN', ns .. ':channels') > tonumber(ARGV[1]) then return 0 end
-- Slots, not expiries alone: a job that killed six owners drains without an expiry.
local channels = redis.call('HGETALL', ns .. ':channels')
for index = 1, #channels, 2 do
  if redis.call('ZCARD', slots_key(channels[index + 1], channels[index])) > 0 then return 0 end
end
redis.call('SET', ns .. ':clean', 1)
return 1

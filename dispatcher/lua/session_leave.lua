-- Give the place at a token's gateway session up, if it is ours; its number stays known for as long as it would have lived.
-- KEYS  [1] namespace
-- ARGV  [1] digest of the token  [2] owner  [3] closed_ms: for so long nobody is to have it; 0: it is free at once
-- Returns 1: it was ours, and is free or closed | 0: it was not
-- Safe to run twice.

local key = ns .. ':session:' .. ARGV[1]
if redis.call('HGET', key, 'owner') ~= ARGV[2] then return 0 end
redis.call('HDEL', key, 'owner')
if tonumber(ARGV[3]) > 0 then
  redis.call('HSET', key, 'closed', 1)
  redis.call('PEXPIRE', key, ARGV[3])
end
return 1

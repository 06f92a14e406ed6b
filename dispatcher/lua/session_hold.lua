-- Take or keep the place at a token's gateway session: over the fleet, one process at a time has it.
-- Invariant: a place that is closed is nobody's, until its time is over: no worker asks again what the upstream refused.
-- KEYS  [1] namespace
-- ARGV  [1] digest of the token  [2] owner: another for each process and start  [3] ttl_ms
-- Returns {'ours', number} (of two who believe they have it, the larger number is the newer)
--       | {'taken' | 'closed', ms until it may be free}
-- Safe to run twice: who has the place keeps it.

local key = ns .. ':session:' .. ARGV[1]
local owner, number, closed = fields(key, 'owner', 'number', 'closed')
local left_ms = math.max(redis.call('PTTL', key), 1)
if closed ~= '' then return { 'closed', left_ms } end
if owner ~= '' and owner ~= ARGV[2] then return { 'taken', left_ms } end
if owner == '' then
  number = int(math.max(now, (tonumber(number) or 0) + 1))
  redis.call('HSET', key, 'owner', ARGV[2], 'number', number)
end
redis.call('PEXPIRE', key, ARGV[3])
return { 'ours', number }

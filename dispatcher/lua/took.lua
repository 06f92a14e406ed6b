-- A job is done: how long its upstream worked on it, for those that wait for the next of its kind.
-- KEYS  [1] namespace
-- ARGV  [1] pool  [2] command  [3] job  [4] took_ms  [5] kept: how many count, the latest  [6] life_ms
-- Returns {'ok'}
-- Safe to run twice: the same time of a job counts once, as long as it is kept.

local key = ns .. ':took:' .. ARGV[1] .. ':' .. ARGV[2]
local entry = ARGV[4] .. ' ' .. ARGV[3]
if not redis.call('LPOS', key, entry) then
  redis.call('LPUSH', key, entry)
  redis.call('LTRIM', key, 0, tonumber(ARGV[5]) - 1)
end
redis.call('PEXPIRE', key, ARGV[6])
return { 'ok' }

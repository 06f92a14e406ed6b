-- Extend leases, only while they are ours; a lease that is gone is never re-created.
-- KEYS  [1] namespace
-- ARGV  [1] ttl_ms  [2…] job and token, alternating, at most 256 pairs
-- Returns a list, in order: 'ok' | 'lost'
-- Safe to run twice.
-- needs: slots

local verdicts = {}
for index = 2, #ARGV, 2 do
  local job = ARGV[index]
  local ours = redis.call('HGET', lease_key(job), 'token') == ARGV[index + 1]
  if ours then extend(job, tonumber(ARGV[1])) end
  verdicts[#verdicts + 1] = ours and 'ok' or 'lost'
end
return verdicts

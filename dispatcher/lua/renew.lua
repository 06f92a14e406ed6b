-- Extend leases, only while they are ours; a lease that is gone is never re-created.
-- KEYS  [1] namespace
-- ARGV  [1] ttl_ms  [2…] job and token, alternating, at most 256 pairs
-- Returns a list, in order: 'ok' | 'lost'
-- Safe to run twice.

local verdicts = {}
for index = 2, #ARGV, 2 do
  local job, lease = ARGV[index], lease_key(ARGV[index])
  local token, suspect = fields(lease, 'token', 'suspect')
  local ours = token == ARGV[index + 1]
  if ours then
    redis.call('ZADD', ns .. ':expiry', 'XX', int(now + tonumber(ARGV[1])), job)
    if suspect ~= '' then redis.call('HDEL', lease, 'suspect') end
  end
  verdicts[#verdicts + 1] = ours and 'ok' or 'lost'
end
return verdicts

-- Extend leases, only while they are ours; a lease that is gone is never re-created.
-- KEYS  [1] namespace
-- ARGV  [1] ttl_ms  [2…] job, token, state, the upstream's id or '', execution, as the owner knows them; at most 256 times five
-- Returns a list, in order: 'ok' | 'lost' | 'rolled_back': the store knows less than the owner, who re-asserts
-- Safe to run twice.
-- needs: slots epoch owner

local verdicts = {}
for index = 2, #ARGV, 5 do
  local job = ARGV[index]
  local verdict = standing(job, ARGV[index + 1], ARGV[index + 2], ARGV[index + 3], ARGV[index + 4])
  if verdict == 'ours' then extend(job, tonumber(ARGV[1])) end
  verdicts[#verdicts + 1] = verdict == 'ours' and 'ok' or verdict == 'stale' and 'lost' or verdict
end
return verdicts

-- A worker that stops hands its deliveries to whoever takes them next. One in S stays until its request is answered.
-- KEYS  [1] namespace
-- ARGV  [1] ttl_ms  [2…] job, token, state, the upstream's id or '', execution, as the owner knows them; at most 256 times five
-- Returns a list, in order: 'ok' | 'later' (in S) | 'stale' | 'rolled_back' (re-assert first)
--       | 'learning': nothing was done; who stops leaves the lease to the reaper
-- Safe to run twice: the second call finds a newer token.
-- needs: record handoff slots epoch owner

local verdicts = {}
for index = 2, #ARGV, 5 do
  local job, token = ARGV[index], ARGV[index + 1]
  local verdict = standing(job, token, ARGV[index + 2], ARGV[index + 3], ARGV[index + 4])
  local state = verdict == 'ours' and redis.call('HGET', lease_key(job), 'state')
  if not state then
    verdicts[#verdicts + 1] = verdict
  elseif state == 'S' then
    verdicts[#verdicts + 1] = 'later'
  elseif learning_ms() > 0 then
    verdicts[#verdicts + 1] = 'learning'
  else
    redeliver(job, token, state == 'C' and 'R' or state, tonumber(ARGV[1]), 'yielded')
    verdicts[#verdicts + 1] = 'ok'
  end
end
return verdicts

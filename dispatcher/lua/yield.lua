-- A worker that stops hands its deliveries to whoever takes them next. One in S stays until its request is answered.
-- KEYS  [1] namespace
-- ARGV  [1] ttl_ms  [2…] job and token, alternating, at most 256 pairs
-- Returns a list, in order: 'ok' | 'later' (in S) | 'stale'
-- Safe to run twice: the second call finds a newer token.
-- needs: record handoff

local verdicts = {}
for index = 2, #ARGV, 2 do
  local job = ARGV[index]
  local token, state = fields(lease_key(job), 'token', 'state')
  if token ~= ARGV[index + 1] or state == 'R' then
    verdicts[#verdicts + 1] = 'stale'
  elseif state == 'S' then
    verdicts[#verdicts + 1] = 'later'
  else
    redeliver(job, token, state == 'C' and 'R' or state, tonumber(ARGV[1]), 'yielded')
    verdicts[#verdicts + 1] = 'ok'
  end
end
return verdicts

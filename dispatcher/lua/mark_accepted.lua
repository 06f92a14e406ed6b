-- `mark A`: the upstream's id for the job is known. Repeated with the same id it records progress.
-- Invariant: an interaction belongs to one job only; the first to claim it keeps it.
-- KEYS  [1] namespace
-- ARGV  [1] ttl_ms  [2] job  [3] token  [4] remote: the upstream's id  [5] claim_ttl_ms
--       [6] status: started | progress  [7…] fields and values of the record
-- Returns {'ok', state} | {'stale'} | {'rolled_back'} | {'claimed', other job} | {'other', remote id held}
--       | {'wait', ms}: learning, and the id is new here; another job's claim to it may be among what the store lost
-- Safe to run twice.
-- needs: record slots cooling epoch owner

local job, remote = ARGV[2], ARGV[4]
local verdict = standing(job, ARGV[3], 'S', '', '')
if verdict ~= 'ours' then return { verdict } end
local state, pool, channel, known = fields(lease_key(job), 'state', 'pool', 'channel', 'remote')
if known ~= '' and known ~= remote then return { 'other', known } end

if known == '' and learning_ms() > 0 then return { 'wait', int(learning_ms()) } end

local claimed = ns .. ':claimed:' .. pool .. ':' .. remote
if not redis.call('SET', claimed, job, 'NX', 'PX', ARGV[5]) then
  local other = redis.call('GET', claimed)
  if other ~= job then return { 'claimed', other } end
end
local following = state == 'D' and 'D' or 'A'
if known == '' then
  redis.call('HSET', lease_key(job), 'state', following, 'remote', remote)
  redis.call('HDEL', job_key(job), 'held_until_ms') -- accepted is answered
  if following == 'A' then redis.call('HINCRBY', job_key(job), 'attempts', 1) end
  redis.call('ZREM', submitting_key(pool, channel), job)
  if state == 'S' then answered(job, pool, channel) end
end
extend(job, tonumber(ARGV[1]))
local changes = known == '' and { 'started_ms', int(now) } or {}
for index = 7, #ARGV do changes[#changes + 1] = ARGV[index] end
if #changes > 0 then
  -- Statuses only go forward: one who adopts the job says `started` again.
  local status = redis.call('HGET', job_key(job), 'status') == 'progress' and 'progress' or ARGV[6]
  record(job, known == '' and ('accepted ' .. remote) or nil, status, changes)
end
return { 'ok', following }

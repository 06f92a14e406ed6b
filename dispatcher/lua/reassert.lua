-- An owner tells a store that lost writes what it holds: its whole lease, and the whole record of its job.
-- Nothing of other jobs is touched: the slot is put back beside theirs, above max_jobs if need be, for the upstream runs
-- them all. An account that the store does not know is not invented: its slots are held, and count once it is back. A
-- guest's visit is made again: the job brings all that it takes.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s  [4] job  [5] token  [6] hold_ms after the lease's deadline  [7] claim_ttl_ms
--       [8] how many fields the lease has  [9…] fields and values of the lease, then those of the record
-- Returns {'ok', state} | {'lost'}: a newer delivery or another execution owns the job, or it is over
-- Safe to run twice: where the store knows as much as the owner, only the soft expiry moves.
-- needs: record handoff slots epoch owner refill

local job, token = ARGV[4], ARGV[5]
local lease, lease_fields, given, given_fields = {}, { 'token', token }, {}, {}
for index = 9, #ARGV, 2 do
  local is_lease = index < 9 + 2 * tonumber(ARGV[8])
  local half, flat = is_lease and lease or given, is_lease and lease_fields or given_fields
  half[ARGV[index]] = ARGV[index + 1]
  flat[#flat + 1] = ARGV[index]
  flat[#flat + 1] = ARGV[index + 1]
end
local pool, channel, state, remote = lease.pool, lease.channel, lease.state, lease.remote or ''

local verdict = standing(job, token, state, remote, lease.execution or '')
local status = fields(job_key(job), 'status')
local is_over = FINAL[status]
-- Cancelled meanwhile, and nothing was sent: there is nothing to hold a slot for.
if verdict == 'stale' or (verdict == 'rolled_back' and is_over and state == 'C') then return { 'lost' } end
if verdict == 'ours' then
  extend(job, ttl_ms)
  return { 'ok', redis.call('HGET', lease_key(job), 'state') }
end
if is_over then state = 'D' end

-- What the store has of this very job is older: another grant, another line, a delivery that still waits.
local held, at, old_pool, old_channel = fields(lease_key(job), 'token', 'state', 'pool', 'channel')
local has_moved = held ~= '' and (old_pool ~= pool or old_channel ~= channel)
if at == 'R' then redis.call('LREM', ns .. ':rq:queue:' .. RQ.origin, 1, job .. '-' .. held) end
if has_moved then release(old_pool, old_channel, job) elseif held ~= '' then retire(job, held) end
redis.call('ZREM', pending_key(given.pool, given.pin), job)

if not is_over then
  local listed = ns .. ':jobs:' .. given.user
  if status ~= '' then redis.call('ZREM', listed .. ':' .. status, job) end
  redis.call('ZADD', listed, given.created_ms, job)
  redis.call('ZADD', listed .. ':' .. given.status, given.created_ms, job)
  redis.call('HSET', job_key(job), unpack(given_fields))
  redis.call('HDEL', job_key(job), 'held_until_ms') -- its owner cannot know whether it was answered
  redis.call('HSET', job_key(job), 'token', token, 'updated_ms', int(now),
    'history', appended(given.history or '', 'reasserted ' .. state .. ' ' .. token))
  if FINAL[given.status] then
    redis.call('EXPIRE', job_key(job), ARGV[3])
    if given.reply_url then call_back(job, final_callback(job), ARGV[3]) end -- it was lost with the rest, or is told twice
  end
  redis.call('XADD', ns .. ':events', 'MAXLEN', '~', EVENTS_KEPT, '*', 'job', job, 'status', given.status)
end

local key_lives_ms = (tonumber(given.idempotent_until_ms) or 0) - now
if key_lives_ms > 0 then
  local known = ns .. ':idempotency:' .. given.user .. ':' .. given.idempotency_key
  redis.call('SET', known, job .. ' ' .. given.digest, 'NX', 'PX', int(key_lives_ms))
end

redis.call('DEL', lease_key(job))
redis.call('HSET', lease_key(job), unpack(lease_fields))
redis.call('HSET', lease_key(job), 'state', state)
redis.call('ZADD', slots_key(pool, channel), lease.granted_ms, job)
if given.own_sealed then
  for _, name in ipairs({ 'own_sealed', 'own_digest', 'own_version' }) do
    redis.call('HSET', job_key(job), name, given[name]) -- also where it is over: it drains
  end
  begin_visit(job, pool, channel)
end
redis.call('ZADD', ns .. ':expiry', int(now + ttl_ms), job)

local hard, own = tonumber(lease.deadline_ms) or now, tonumber(given.deadline_ms) or 0
local check = own > 0 and math.min(own, hard) or hard
if state == 'D' then check = hard + tonumber(ARGV[6]) end
if state == 'C' then check = tonumber(given.pending_deadline_ms) or 0 end
if check > 0 then
  redis.call('ZADD', ns .. ':deadlines', int(check), job)
else
  redis.call('ZREM', ns .. ':deadlines', job)
end
if remote ~= '' then
  redis.call('ZREM', submitting_key(pool, channel), job)
  redis.call('SET', ns .. ':claimed:' .. pool .. ':' .. remote, job, 'NX', 'PX', ARGV[7])
elseif state ~= 'C' then
  redis.call('ZADD', submitting_key(pool, channel), lease.submitted_ms, job)
end

local last = tonumber(redis.call('GET', ns .. ':fence') or '0')
redis.call('SET', ns .. ':fence', int(math.max(last, tonumber(token))))
redis.call('DEL', ns .. ':clean')
redis.call('SADD', ns .. ':pools', pool)
-- RQ's tools, and the end of the delivery, find its hash as before.
if redis.call('EXISTS', delivery_key(job, token)) == 0 then describe(job .. '-' .. token, RQ.callable, 'started') end
redis.call('PERSIST', delivery_key(job, token))
closed_ms = learning_ms() -- it may have been opened by this very call
if has_moved then refill(old_pool, old_channel) end
refill(pool, channel)
return { 'ok', state }

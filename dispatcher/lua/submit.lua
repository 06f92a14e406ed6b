-- Accept a job, once: write its record, let it wait, and lease it a slot in the same step if one is free.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] keep_s: life of a final record
--       [4] mode: wait | refuse (accept only if a slot is granted now)
--       [5] job  [6] pool  [7] user  [8] priority -100..100  [9] pin: channel or ''
--       [10] limit: this request's own maxJobs or ''  [11] deadline_ms after now, or 0  [12] max_wait_ms, or 0
--       [13] idempotency key or ''  [14] digest of the request  [15] idempotency_ttl_ms
--       [16] held_ms: how long its answer may be held; 0 if it is not, see _held
--       [17…] further fields and values of the record; a guest's own_sealed, own_masked, own_digest, own_version and
--       own_server are among them
-- Returns {'created', record as a flat list} | {'exists', record} | {'conflict', job of the key}
--       | {'no_account'}: the pin is not a channel of this pool  | {'foreign'}: a guest's pin is another pool's
--       | {'learning', ms until it ends}: refuse, for nothing is granted meanwhile; or the key is unknown, and it may be
--       among what the store lost, its job about to be told of. Nothing is stored
--       | refuse only, and nothing is stored: {'full', {jobs that run, about 256 at most}}
--       | {'throttled', ms until the first cooling ends}: every account with room is cooling
--       | {'unusable'}: no account is active
-- Safe to run twice: a known id answers `exists`.
-- needs: record handoff slots epoch refill refusal

local keep_s, mode, job, pool, user = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local pin, deadline_ms, max_wait_ms = ARGV[9], tonumber(ARGV[11]), tonumber(ARGV[12])

local function answer(verdict, id) return { verdict, redis.call('HGETALL', job_key(id)) } end

if redis.call('EXISTS', job_key(job)) == 1 then return answer('exists', job) end
local idempotency = ARGV[13] ~= '' and (ns .. ':idempotency:' .. user .. ':' .. ARGV[13])
local known = idempotency and redis.call('GET', idempotency)
if known then
  local first, digest = string.match(known, '^(%S+) (%S+)$')
  if digest ~= ARGV[14] then return { 'conflict', first } end
  if redis.call('EXISTS', job_key(first)) == 1 then return answer('exists', first) end
end
local further = {}
for index = 17, #ARGV, 2 do further[ARGV[index]] = ARGV[index + 1] end
local is_guest = further.own_sealed ~= nil
if is_guest and (redis.call('HGET', ns .. ':channels', pin) or pool) ~= pool then return { 'foreign' } end
if pin ~= '' and not is_guest and not is_registered(pool, pin) then return { 'no_account' } end
if closed_ms > 0 and (idempotency or mode == 'refuse') then return { 'learning', int(closed_ms) } end

-- Larger priorities first, first come first served within: 201 steps of 2^44 stay below 2^53.
local sequence = redis.call('INCR', ns .. ':sequence')
local score = int((100 - tonumber(ARGV[8])) * 17592186044416 + sequence)
local expires = deadline_ms > 0 and now + deadline_ms or 0
local wait_until = max_wait_ms > 0 and now + max_wait_ms or 0
local first_check = (expires > 0 and wait_until > 0) and math.min(expires, wait_until) or math.max(expires, wait_until)
local record_fields = { 'id', job, 'pool', pool, 'user', user, 'priority', ARGV[8], 'pin', pin, 'limit', ARGV[10],
  'score', score, 'status', 'created', 'channel', pin, 'created_ms', int(now), 'updated_ms', int(now),
  'deadline_ms', int(expires), 'pending_deadline_ms', int(first_check),
  'token', 0, 'deliveries', 0, 'requeues', 0, 'attempts', 0, 'redeliveries', 0, 'history', int(now) .. ' accepted\n' }
if tonumber(ARGV[16]) > 0 then
  record_fields[#record_fields + 1] = 'held_until_ms'
  record_fields[#record_fields + 1] = int(now + tonumber(ARGV[16]))
end
for index = 17, #ARGV do record_fields[#record_fields + 1] = ARGV[index] end
redis.call('HSET', job_key(job), unpack(record_fields))
if is_guest then
  redis.call('HSET', job_key(job), 'masked', further.own_masked, 'server', further.own_server)
  begin_visit(job, pool, pin)
end
redis.call('ZADD', ns .. ':jobs:' .. user, int(now), job)
redis.call('ZADD', ns .. ':jobs:' .. user .. ':created', int(now), job)
redis.call('ZADD', pending_key(pool, pin), score, job)
if first_check > 0 then redis.call('ZADD', ns .. ':deadlines', int(first_check), job) end

serve(pool, pin)

local leased = redis.call('HGET', lease_key(job), 'channel')
if not leased and mode == 'refuse' then
  redis.call('ZREM', pending_key(pool, pin), job)
  redis.call('ZREM', ns .. ':jobs:' .. user, job)
  redis.call('ZREM', ns .. ':jobs:' .. user .. ':created', job)
  redis.call('ZREM', ns .. ':deadlines', job)
  redis.call('DEL', job_key(job))
  return refusal(pool, pin, tonumber(ARGV[10]), is_guest)
end

redis.call('SADD', ns .. ':pools', pool)
redis.call('HSET', job_key(job), 'wire_channel', leased or (pin ~= '' and pin) or '0')
if idempotency then -- on the record too: an owner that re-asserts the job tells the key again
  redis.call('SET', idempotency, job .. ' ' .. ARGV[14], 'PX', ARGV[15])
  redis.call('HSET', job_key(job), 'idempotency_key', ARGV[13], 'digest', ARGV[14],
    'idempotent_until_ms', int(now + tonumber(ARGV[15])))
end
return answer('created', job)

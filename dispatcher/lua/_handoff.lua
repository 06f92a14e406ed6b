-- Mint a fencing token and hand the delivery <job>-<token> to RQ: lease and hand-off are one atomic step.
-- RQ = {origin, callable, check_callable, links_callable, result_ttl, failure_ttl} is written above by dispatcher/handoff.py.

-- Days since 1970-01-01 to a civil date (proleptic Gregorian).
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, day
end

local function rq_now()
  local seconds = tonumber(time[1])
  local year, month, day = civil(math.floor(seconds / 86400))
  local rest = seconds % 86400
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day, math.floor(rest / 3600),
    math.floor(rest % 3600 / 60), rest % 60, tonumber(time[2]))
end

-- The larger token is the newer claim. Never below the clock, so a store that lost its tail issues none twice.
-- Whoever holds one may hold a lease: the store is not `clean` any more.
local function mint()
  local last = tonumber(redis.call('GET', ns .. ':fence') or '0')
  local token = math.max(last + 1, now)
  redis.call('SET', ns .. ':fence', int(token))
  redis.call('DEL', ns .. ':clean')
  return int(token)
end

local queue = ns .. ':rq:queue:' .. RQ.origin

-- The deliveries still in RQ's queue, as a set; read once a call, and only if asked for: one a slot, one an account.
local queued = nil
local function is_queued(delivery)
  if not queued then
    queued = {}
    for _, id in ipairs(redis.call('LRANGE', queue, 0, -1)) do queued[id] = true end
  end
  return queued[delivery]
end

-- Write RQ's job hash, for a worker that calls the function with the id: queued, or started where one runs it already.
local function describe(delivery, callable, status)
  local at = rq_now()
  redis.call('HSET', ns .. ':rq:job:' .. delivery,
    'data', '["' .. callable .. '",null,["' .. delivery .. '"],{}]',
    'origin', RQ.origin, 'status', status, 'description', delivery,
    'created_at', at, 'enqueued_at', at, 'started_at', '', 'ended_at', '', 'last_heartbeat', '',
    'worker_name', '', 'group_id', '',
    'success_callback_name', '', 'failure_callback_name', '', 'stopped_callback_name', '',
    'timeout', '-1', 'result_ttl', RQ.result_ttl, 'failure_ttl', RQ.failure_ttl)
end

-- Hand it to RQ; `front`: before all others.
local function push(delivery, callable, front)
  describe(delivery, callable, 'queued')
  redis.call('SADD', ns .. ':rq:queues', queue)
  redis.call(front and 'LPUSH' or 'RPUSH', queue, delivery)
end

-- Ask a worker something, before all jobs, in a delivery <name>-<token>; its answer will be in the hash `key`. Who asks
-- again less than join_ms later, while there is none, joins; what is known of a question is kept life_s.
local function ask(key, name, callable, join_ms, life_s)
  local id, asked, verdict = fields(key, 'id', 'asked_ms', 'verdict')
  if id ~= '' and verdict == '' and now - tonumber(asked) < tonumber(join_ms) then return id end
  local token = mint()
  id = name .. '-' .. token
  redis.call('DEL', key)
  redis.call('HSET', key, 'id', id, 'asked_ms', int(now))
  redis.call('EXPIRE', key, life_s)
  push(id, callable, true)
  retire(name, token)
  return id
end

-- Hand a job to RQ; `front` is for redeliveries, whose upstream job already runs. The record keeps the token, so that an
-- owner whose lease is gone can be told whether it was given back or lost.
local function hand_off(job, token, front)
  push(job .. '-' .. token, RQ.callable, front)
  redis.call('HINCRBY', job_key(job), 'deliveries', 1)
  redis.call('HSET', job_key(job), 'token', token)
end

-- Replace the delivery of a held lease: the old one is told `stale` whenever it speaks again.
local function redeliver(job, old_token, state, ttl_ms, event)
  local token = mint()
  retire(job, old_token)
  redis.call('HSET', lease_key(job), 'token', token, 'state', state, 'execution', '', 'owner', '')
  redis.call('HDEL', lease_key(job), 'suspect')
  redis.call('ZADD', ns .. ':expiry', int(now + ttl_ms), job)
  hand_off(job, token, true)
  record(job, event .. ' ' .. token)
  return token
end

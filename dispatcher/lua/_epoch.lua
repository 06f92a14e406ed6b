-- Which server this is. One that restarted, or was promoted, may have lost its last writes: then nothing is granted,
-- claimed, submitted or reaped until the owners of leases have had the time to tell what they hold (learning).
-- master_replid is new at every start and every promotion, also where a former master is promoted back. So the first
-- script that could harm sees the change in the same step, before anything of it is done.

local LEARNING_DEFAULT_MS = 25000

-- Open the window; `why` is what operators read. With learning_ms 0 there is none.
local function open_learning(why)
  local window_ms = tonumber(redis.call('GET', ns .. ':learning_ms') or LEARNING_DEFAULT_MS)
  if window_ms > 0 then redis.call('SET', ns .. ':learning', why, 'PX', int(window_ms)) end
end

-- Milliseconds until the window closes; 0 where it is closed.
local function learning_ms()
  local left_ms = redis.call('PTTL', ns .. ':learning')
  return left_ms == -2 and 0 or math.max(left_ms, 1)
end

-- nil where the server does not tell (fakeredis, in unit tests).
local function server_identity()
  local info = redis.pcall('INFO', 'replication')
  if not info or info.err then return nil end
  return string.match(info, 'master_replid:(%x+)')
end

-- Two know better than the change: a store that none of our scripts ever wrote to has nothing to learn, and `clean` says
-- that its last server was stopped with no lease out. `clean` holds for one change only, and any token minted takes it
-- away. A store without leases that knows its server is no exception: it may have lost the very first ones.
local function watch_epoch()
  local current, known = server_identity(), redis.call('GET', ns .. ':epoch')
  if not current or known == current then return end
  redis.call('SET', ns .. ':epoch', current)
  if redis.call('DEL', ns .. ':clean') == 1 then return end
  if known or redis.call('EXISTS', ns .. ':fence') == 1 then open_learning('the server changed') end
end

watch_epoch()

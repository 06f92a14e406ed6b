-- Stopping an account, and the checks by which it comes back: 5 minutes after it was stopped, then ever more rarely, up
-- to 6 hours; a success, not a check, makes them frequent again. `checks` holds the next instant of each.

local CHECK_FIRST_MS = 300000
local CHECK_LAST_MS = 21600000
local DOUBLINGS_TOLD = 10

local function checks_key() return ns .. ':checks' end

local function schedule_check(pool, channel, probes)
  local pause_ms = math.min(CHECK_LAST_MS, CHECK_FIRST_MS * 2 ^ math.min(probes, DOUBLINGS_TOLD))
  redis.call('ZADD', checks_key(), int(now + pause_ms), pool .. ':' .. channel)
end

local function forget_checks(pool, channel) redis.call('ZREM', checks_key(), pool .. ':' .. channel) end

-- The account must stop. revive: check (a check can tell when it is well again) | operator (only he can).
-- An operator's pause stays his; one who drains it wants it stopped; what only he can mend is told over what a check can.
local function disable(pool, channel, reason, revive)
  local key = account_key(pool, channel)
  local state, told, probes = fields(key, 'state', 'revive', 'probes')
  if state == 'draining' then
    redis.call('HSET', key, 'state', 'paused', 'reason', reason)
  elseif state == 'active' or (state == 'disabled' and told == 'check' and revive == 'operator') then
    redis.call('HSET', key, 'state', 'disabled', 'reason', reason, 'revive', revive, 'disabled_ms', int(now))
    if revive == 'check' then
      schedule_check(pool, channel, tonumber(probes) or 0)
    else
      forget_checks(pool, channel)
    end
  end
end

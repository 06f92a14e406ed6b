-- What workers share of a channel that each of them would otherwise read alone. It is known by the digest of the token
-- that reads it, so that two accounts of one channel do not see with each other's eyes.
--   look:           whose turn it is to read, and what the last reading that ended showed
--   look_needs:     what each worker needs read: from which message on
--   look_messages:  the bots' messages of the last list: which version brought it, its fingerprint, itself

local function look_key(digest, channel) return ns .. ':look:' .. digest .. ':' .. channel end
local function needs_key(digest, channel) return ns .. ':look_needs:' .. digest .. ':' .. channel end
local function messages_key(digest, channel) return ns .. ':look_messages:' .. digest .. ':' .. channel end

-- Ids are decimals of up to 20 digits, more than a number holds.
local function is_older(id, other)
  if #id ~= #other then return #id < #other end
  return id < other
end

-- The next of a row of numbers. No number comes twice, also after a store lost the last ones: by then it is later.
local function following(number) return math.max((tonumber(number) or 0) + 1, now) end

-- Ms until an instant that was set most_ms ahead. A clock that was put back since makes no wait longer than that.
local function left(until_ms, most_ms)
  return math.min(math.max((tonumber(until_ms) or 0) - now, 0), tonumber(most_ms) or 0)
end

local function keep(digest, channel, life_ms)
  redis.call('PEXPIRE', look_key(digest, channel), life_ms)
  redis.call('PEXPIRE', needs_key(digest, channel), life_ms)
  redis.call('PEXPIRE', messages_key(digest, channel), life_ms)
end

-- Whoever listens asks then what there is; nobody relies on hearing it.
local function hint(digest, channel, version)
  redis.call('PUBLISH', ns .. ':looks', digest .. ':' .. channel .. ' ' .. version)
end

-- All that a watcher must know, and those messages that came after the version it has, each behind its version.
local function view(digest, channel, known)
  local look = look_key(digest, channel)
  local turn, version, listed, listed_ms, since, present = fields(
    look, 'turn', 'version', 'listed', 'listed_ms', 'since', 'present')
  local troubled, trouble, troubles, until_ms, pause_ms, fed_ms, fed_for_ms, wanted = fields(
    look, 'troubled', 'trouble', 'troubles', 'pause_until_ms', 'pause_ms', 'fed_until_ms', 'fed_for_ms', 'wanted')
  local news, latest = {}, tonumber(version) or 0
  known = tonumber(known)
  if known > latest then known = 0 end -- the store lost what this one had read
  if known < latest then
    local stored = redis.call('HGETALL', messages_key(digest, channel))
    for index = 1, #stored, 2 do
      local changed, message = string.match(stored[index + 1], '^(%d+) %S+ (.*)$')
      if tonumber(changed) > known then
        news[#news + 1] = changed
        news[#news + 1] = message
      end
    end
  end
  return {
    'turn', int(tonumber(turn) or 0), 'version', int(latest), 'listed', int(tonumber(listed) or 0),
    'age_ms', int(math.max(now - (tonumber(listed_ms) or now), 0)), 'since', since, 'present', present,
    'troubled', int(tonumber(troubled) or 0), 'trouble', trouble, 'troubles', int(tonumber(troubles) or 0),
    'pause_ms', int(left(until_ms, pause_ms)), 'fed_ms', int(left(fed_ms, fed_for_ms)),
    'wanted', int(tonumber(wanted) or 0),
  }, news
end

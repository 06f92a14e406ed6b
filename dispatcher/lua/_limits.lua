-- An upstream's limits as all workers share them. ARGV[1]…[5] of every script that needs this part: upstream, egress,
-- digest of the secret, route, major parameter.

local upstream, egress, digest, route, major = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- What a block holds up: calls of this route with this secret, all calls with this secret, or all from this address.
local function block_key(scope)
  if scope == 'address' then return ns .. ':shut:' .. upstream .. ':' .. egress end
  if scope == 'token' then return ns .. ':blocked:' .. upstream .. ':' .. digest end
  return ns .. ':blocked:' .. upstream .. ':' .. digest .. ':' .. route .. ':' .. major
end

-- When a block ends, how long it was when it was told, in ms, and why it began, as its key holds it; 0, 0 and '' if
-- there is none.
local function blocked_until(stored)
  local until_ms, length_ms, reason = string.match(stored or '0 0 ', '^(%d+) (%d+) (.*)$')
  return tonumber(until_ms), tonumber(length_ms), reason
end

-- One that lasts longer than it was told to shows a clock that was set back: it begins anew, rather than last as much
-- longer. That is never too short.
local function set_block(key, length_ms, reason)
  redis.call('SET', key, int(now + length_ms) .. ' ' .. int(length_ms) .. ' ' .. reason, 'PX', int(length_ms))
end

local function route_pace_key() return ns .. ':pace:' .. upstream .. ':' .. digest .. ':' .. route .. ':' .. major end
local function address_pace_key() return ns .. ':pace:' .. upstream .. ':' .. egress end

-- Which bucket a route counts in, and what is left in it. Routes may share one; the major parameter parts it.
local function bucket_name_key() return ns .. ':bucket_of:' .. upstream .. ':' .. digest .. ':' .. route end
local function bucket_key(name)
  return ns .. ':bucket:' .. upstream .. ':' .. digest .. ':' .. (name or '-') .. ':' .. major
end

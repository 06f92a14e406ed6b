-- May a call leave for an upstream now, or in how long? Blocks first, then the bucket, then the pace.
-- Invariant: no `go` while a block on its route, its secret or its address lives, or while its bucket is empty.
-- Invariant: the turns given on one route begin interval_us apart in the long run, `burst` of them at once at most.
-- KEYS  [1] namespace
-- ARGV  [1] upstream  [2] egress: the address that calls leave from, as the operator names it
--       [3] digest of the secret  [4] route  [5] its major parameter, or '-'
--       [6] interval_us between calls of the route, 0 is no pace  [7] burst
--       [8] interval_us between calls of the address, 0 is no pace  [9] burst
--       [10] patience_ms: a turn that comes later is not taken  [11] leaves: 1 takes its place in the bucket, 0 only looks
-- Returns {'go', ms} (0: now. Else the turn is taken: wait so long, then ask again without a pace, for a block may have
-- begun) | {'held', ms, scope, reason} with scope route | token | address | pace (nothing was taken)
-- Safe to run twice: the second call takes one more turn, so the next one comes later.
-- needs: limits

local PACE_AHEAD_US = 60000000
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- In one read: this is asked before every call.
local known = redis.call('MGET', block_key('route'), block_key('token'), block_key('address'), bucket_name_key(),
  route_pace_key(), address_pace_key())

-- The block that lasts longest.
local held = { ms = 0 }
local function hold(ms, scope, reason)
  if ms > held.ms then held = { ms = ms, scope = scope, reason = reason } end
end
for index, scope in ipairs({ 'route', 'token', 'address' }) do
  local until_ms, length_ms, reason = blocked_until(known[index])
  if until_ms - now > length_ms then set_block(block_key(scope), length_ms, reason) end
  hold(math.min(until_ms - now, length_ms), scope, reason)
end

local bucket, remaining, reset_ms, length_ms = bucket_key(known[4]), '', '', ''
if known[4] then remaining, reset_ms, length_ms = fields(bucket, 'remaining', 'reset_ms', 'length_ms') end
if remaining ~= '' and tonumber(reset_ms) - now > tonumber(length_ms) then -- as above; the next answer tells it anew
  redis.call('DEL', bucket)
  remaining = ''
end
local is_empty = remaining ~= '' and tonumber(remaining) <= 0
if is_empty then hold(tonumber(reset_ms) - now, 'route', 'its bucket is empty') end
if held.ms > 0 then return { 'held', int(held.ms), held.scope, held.reason } end

-- GCRA: what is stored is the instant at which the calls so far are paid for. One that lies farther ahead than anybody's
-- patience reaches is of a clock that was set back.
local function turn(stored, interval_us, burst)
  if interval_us == 0 then return 0 end
  local paid_us = math.max(tonumber(stored or '0'), now_us)
  if paid_us > now_us + PACE_AHEAD_US + burst * interval_us then paid_us = now_us end
  return math.max(0, paid_us - (burst - 1) * interval_us - now_us), paid_us + interval_us
end
local route_us, route_paid_us = turn(known[5], tonumber(ARGV[6]), tonumber(ARGV[7]))
local address_us, address_paid_us = turn(known[6], tonumber(ARGV[8]), tonumber(ARGV[9]))
local wait_ms = math.ceil(math.max(route_us, address_us) / 1000)
if wait_ms > tonumber(ARGV[10]) then return { 'held', int(wait_ms), 'pace', 'others are before it' } end

local function pay(key, paid_us)
  if paid_us then redis.call('SET', key, int(paid_us), 'PX', int(math.ceil((paid_us - now_us) / 1000))) end
end
pay(route_pace_key(), route_paid_us)
pay(address_pace_key(), address_paid_us)
if wait_ms == 0 and ARGV[11] == '1' and remaining ~= '' then redis.call('HINCRBY', bucket, 'remaining', -1) end
return { 'go', int(wait_ms) }

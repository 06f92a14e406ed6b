-- An answer of an upstream spoke of limits: all workers respect it from this step on.
-- Invariant: a block is only ever extended.
-- Invariant: once invalid_max answers within window_ms refused an address, no call leaves it for another window_ms: by
-- then the window is empty.
-- KEYS  [1] namespace
-- ARGV  [1] upstream  [2] egress: the address that calls leave from, as the operator names it
--       [3] digest of the secret  [4] route  [5] its major parameter, or '-'
--       [6] blocks: '' | route | token | address  [7] block_ms from now  [8] reason
--       [9] id of the answer if it counts as an invalid request, else ''  [10] window_ms  [11] invalid_max
--       [12] bucket that the route counts in, or ''  [13] remaining calls in it  [14] reset_ms from now
-- Returns {'ok'} | {'shut', ms, reason} (this answer closed the address, for so long)
-- Safe to run twice: an answer counts once, by its id; a block lasts longer by what passed between the two.
-- needs: limits

local BUCKET_NAME_S = 86400

-- True if it lasts longer than before.
local function block(scope, ms, reason)
  local key = block_key(scope)
  if ms <= 0 or now + ms <= blocked_until(redis.call('GET', key)) then return false end
  set_block(key, ms, reason)
  return true
end

local block_ms, shut_ms, why = tonumber(ARGV[7]), 0, ''
if ARGV[6] ~= '' and block(ARGV[6], block_ms, ARGV[8]) and ARGV[6] == 'address' then
  shut_ms, why = block_ms, ARGV[8]
end

if ARGV[9] ~= '' then
  local invalid, window_ms = ns .. ':invalid:' .. upstream .. ':' .. egress, tonumber(ARGV[10])
  redis.call('ZREMRANGEBYSCORE', invalid, '-inf', int(now - window_ms))
  redis.call('ZREMRANGEBYSCORE', invalid, '(' .. int(now), '+inf') -- of a clock that was set back since
  local is_new = redis.call('ZADD', invalid, 'NX', int(now), ARGV[9]) == 1
  redis.call('PEXPIRE', invalid, ARGV[10])
  local count = redis.call('ZCARD', invalid)
  if is_new and count >= tonumber(ARGV[11]) then
    local reason = count .. ' of its calls were refused within ' .. window_ms / 60000 .. ' min'
    if block('address', window_ms, reason) then shut_ms, why = window_ms, reason end
  end
end

-- What was told to two at once may be old for one of them: of one window the smaller rest and the later end count.
if ARGV[12] ~= '' then
  redis.call('SET', bucket_name_key(), ARGV[12], 'EX', BUCKET_NAME_S)
  local bucket, reset_ms = bucket_key(ARGV[12]), tonumber(ARGV[14])
  local known, ends = fields(bucket, 'remaining', 'reset_ms')
  local remaining = math.min(tonumber(ARGV[13]), tonumber(known) or math.huge)
  local end_ms = math.max(now + reset_ms, tonumber(ends) or 0)
  if end_ms > now then
    redis.call('HSET', bucket, 'remaining', int(remaining), 'reset_ms', int(end_ms), 'length_ms', int(end_ms - now))
    redis.call('PEXPIREAT', bucket, int(end_ms))
  end
end

return shut_ms > 0 and { 'shut', int(shut_ms), why } or { 'ok' }

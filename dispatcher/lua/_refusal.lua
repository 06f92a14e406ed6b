-- Why no slot could be granted, in a bounded number of reads however many accounts there are.

local RUNNING_TOLD = 256
local DUE_TRIED = 256

-- Jobs of these channels that hold a slot and are not over for their caller, about 256 at most; is any account active?
local function running_on(pool, channels)
  local running, usable = {}, false
  for _, channel in ipairs(channels) do
    usable = usable or redis.call('HGET', account_key(pool, channel), 'state') == 'active'
    for _, job in ipairs(#running < RUNNING_TOLD and redis.call('ZRANGE', slots_key(pool, channel), 0, -1) or {}) do
      if redis.call('HGET', lease_key(job), 'state') ~= 'D' then running[#running + 1] = job end
    end
    if usable and #running >= RUNNING_TOLD then break end
  end
  return running, usable
end

-- Milliseconds until the first account that has room for the job (its own limit counts) has cooled; nil if none cools.
local function first_cooled_ms(pool, pin, limit, is_guest)
  local due = redis.call('ZRANGE', ns .. ':due', 0, DUE_TRIED - 1, 'WITHSCORES')
  for index = 1, #due, 2 do
    local channel = string.match(due[index], '([^:]+)$')
    if due[index] == pool .. ':' .. channel and (pin == '' or pin == channel) then
      local state, max_jobs = fields(account_key(pool, channel), 'state', 'max_jobs')
      local takes = is_guest or not is_for_guests(pool, channel)
      local most = tonumber(max_jobs) or 0
      local has_room = redis.call('ZCARD', slots_key(pool, channel)) < math.min(most, limit or most)
      if (state == 'active' or is_guest) and has_room and takes then return math.max(tonumber(due[index + 1]) - now, 1) end
    end
  end
  return nil
end

-- The reply to a job that was refused: {'unusable'} | {'throttled', ms} | {'full', jobs that run}.
local function refusal(pool, pin, limit, is_guest)
  local running, usable = running_on(pool, pin ~= '' and { pin } or redis.call('SMEMBERS', ns .. ':accounts:' .. pool))
  if not usable and not (is_guest and is_for_guests(pool, pin)) then return { 'unusable' } end
  local is_open = pin == '' and redis.call('ZCOUNT', free_key(pool), '-inf', limit and ('(' .. limit) or '+inf') > 0
  local cooled_ms = not is_open and first_cooled_ms(pool, pin, limit, is_guest)
  if cooled_ms then return { 'throttled', int(cooled_ms) } end
  return { 'full', running }
end

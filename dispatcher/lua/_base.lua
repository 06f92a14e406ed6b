-- Names, numbers and time, shared by every transition. KEYS[1] is the namespace: all keys carry its hash tag.

local ns = KEYS[1]

-- Concatenating a number of 15 digits or more prints 1.7e+15; scores and tokens go through here.
local function int(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function job_key(job) return ns .. ':job:' .. job end
local function lease_key(job) return ns .. ':lease:' .. job end
local function account_key(pool, channel) return ns .. ':account:' .. pool .. ':' .. channel end
local function slots_key(pool, channel) return ns .. ':slots:' .. pool .. ':' .. channel end
local function delivery_key(job, token) return ns .. ':rq:job:' .. job .. '-' .. token end
local function free_key(pool) return ns .. ':free:' .. pool end
local function submitting_key(pool, channel) return ns .. ':submitting:' .. pool .. ':' .. channel end

-- Jobs waiting for any account of the pool, or (pinned) for that one channel.
local function pending_key(pool, channel)
  if channel and channel ~= '' then return ns .. ':pending:' .. pool .. ':' .. channel end
  return ns .. ':pending:' .. pool
end

-- An old delivery's RQ hash dies by itself, also when its id was lost and no worker will ever finish it.
local OLD_DELIVERY_TTL_S = 86400
local function retire(job, token) redis.call('EXPIRE', delivery_key(job, token), OLD_DELIVERY_TTL_S) end

-- HMGET with absent fields as ''.
local function fields(key, ...)
  local values = redis.call('HMGET', key, ...)
  for index = 1, select('#', ...) do values[index] = values[index] or '' end
  return unpack(values)
end

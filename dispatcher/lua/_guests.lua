-- Guests: jobs that came with a token of their own (own_sealed on the record), each pinned to its channel.
-- Where no account is registered the channel is visited: an account with the field `visit`, in no list and never in
-- free:<pool>. It claims the channel for its pool, and remembers what limits the channel.
-- Invariant: a visit exists exactly while a guest's job waits or holds a slot there, or a limit of the channel lasts.
-- Invariant: a job keeps its token until it is final and holds no slot, and no longer.

local VISIT_MAX_JOBS = 10 -- the most that any guest may ask for: its job's own limit is the bound

local function guests_key(pool) return ns .. ':guests:' .. pool end

local function has_token(job) return redis.call('HEXISTS', job_key(job), 'own_sealed') == 1 end
local function is_visit(pool, channel) return redis.call('HEXISTS', account_key(pool, channel), 'visit') == 1 end

local function is_registered(pool, channel)
  local state, visit = fields(account_key(pool, channel), 'state', 'visit')
  return state ~= '' and state ~= 'deleted' and visit == ''
end

-- Does the channel take guests alone? A visited one does, and one whose account was stopped for what was said of its own
-- token, which is nothing to a guest's. (Stopped by its operator, an account has no `revive`, and takes nobody.)
local function is_for_guests(pool, channel)
  local visit, state, revive = fields(account_key(pool, channel), 'visit', 'state', 'revive')
  return visit ~= '' or (state == 'disabled' and revive ~= '')
end

-- Can a job that has run come back to its line? Pinned, it needs an account there, or a visit and a token of its own.
local function may_wait(job, pool, pin)
  return pin == '' or is_registered(pool, pin) or (has_token(job) and is_visit(pool, pin))
end

-- Does what an upstream says to the job's token hold for the account? Not where that has another token.
local function speaks_for_account(job, pool, channel)
  local own = redis.call('HGET', job_key(job), 'own_digest')
  if not own then return true end
  local visit, digest = fields(account_key(pool, channel), 'visit', 'digest')
  return visit ~= '' or digest == own
end

-- The account as the job's worker is to see it, a flat list: of two values of a field the later one counts.
local function account_for(job, pool, channel)
  local account = redis.call('HGETALL', account_key(pool, channel))
  local sealed, masked, version, server =
    fields(job_key(job), 'own_sealed', 'own_masked', 'own_version', 'own_server')
  if sealed == '' then return account end
  for _, part in ipairs({ 'sealed', sealed, 'masked', masked, 'secret_version', version, 'server', server }) do
    account[#account + 1] = part
  end
  return account
end

local function secret_version_for(job, pool, channel)
  return redis.call('HGET', job_key(job), 'own_version')
    or redis.call('HGET', account_key(pool, channel), 'secret_version') or ''
end

-- What the job's readers see of the account: server, masked secret, max_jobs.
local function shown_for(job, pool, channel)
  local server, masked, max_jobs = fields(account_key(pool, channel), 'server', 'masked', 'max_jobs')
  local own_server, own_masked = fields(job_key(job), 'own_server', 'own_masked')
  if own_masked ~= '' then return own_server, own_masked, max_jobs end
  return server, masked, max_jobs
end

local function forget_token_if_over(job)
  if redis.call('EXISTS', lease_key(job)) == 1 or redis.call('HEXISTS', job_key(job), 'finished_ms') == 0 then return end
  redis.call('HDEL', job_key(job), 'own_sealed', 'own_digest', 'own_version')
end

-- Have the channel looked at no later than then; something else may ask for an earlier look.
local function look_again(pool, channel, at_ms)
  redis.call('ZADD', ns .. ':due', 'LT', int(at_ms), pool .. ':' .. channel)
end

-- A guest's job is there. A deleted account that drains keeps its secret for those that it had submitted.
local function begin_visit(job, pool, channel)
  local owner = redis.call('HGET', ns .. ':channels', channel)
  if is_registered(pool, channel) or is_visit(pool, channel) or (owner and owner ~= pool) then return end
  local key = account_key(pool, channel)
  local user, server = fields(job_key(job), 'user', 'own_server')
  redis.call('HSET', key, 'visit', 1, 'user', user, 'channel', channel, 'server', server, 'digest', '', 'state', 'active',
    'reason', '', 'revive', '', 'max_jobs', VISIT_MAX_JOBS, 'updated_ms', int(now))
  for _, field in ipairs({ 'sealed', 'masked', 'secret_version' }) do redis.call('HSETNX', key, field, '') end
  redis.call('HDEL', key, 'daily_cap')
  redis.call('HSET', ns .. ':channels', channel, pool)
  redis.call('SADD', guests_key(pool), channel)
  local cooling = tonumber(redis.call('HGET', key, 'cooling_until_ms') or '0')
  if cooling > now then look_again(pool, channel, cooling) end
end

-- What the channel may not do before an instant must be known to the next guest, although nobody is there meanwhile.
local function remember_visit(pool, channel, until_ms)
  local key = account_key(pool, channel)
  local kept = tonumber(redis.call('HGET', key, 'kept_until_ms') or '0')
  if is_visit(pool, channel) then redis.call('HSET', key, 'kept_until_ms', int(math.max(kept, until_ms))) end
end

-- The secret of an account that was removed goes with the last job that was submitted with it.
local function forget_removed_secret(pool, channel, held)
  local key = account_key(pool, channel)
  if (redis.call('HGET', key, 'sealed') or '') == '' then return end
  for _, job in ipairs(held) do
    if not has_token(job) then return end
  end
  redis.call('HSET', key, 'sealed', '', 'masked', '', 'secret_version', '')
end

-- End a visit when its last guest is gone and no limit lasts.
local function end_visit(pool, channel)
  if not is_visit(pool, channel) then return end
  local held = redis.call('ZRANGE', slots_key(pool, channel), 0, -1)
  forget_removed_secret(pool, channel, held)
  if #held > 0 or redis.call('ZCARD', pending_key(pool, channel)) > 0 then return end
  local cooling, kept = fields(account_key(pool, channel), 'cooling_until_ms', 'kept_until_ms')
  local until_ms = math.max(tonumber(cooling) or 0, tonumber(kept) or 0)
  if until_ms > now then return look_again(pool, channel, until_ms) end
  redis.call('DEL', account_key(pool, channel))
  redis.call('HDEL', ns .. ':channels', channel)
  redis.call('SREM', guests_key(pool), channel)
  redis.call('ZREM', ns .. ':due', pool .. ':' .. channel)
end

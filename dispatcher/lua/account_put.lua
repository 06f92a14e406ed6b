-- Create or update an account, live: a raised limit is granted from in the same step, a lowered one drains.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] user  [4] pool  [5] channel  [6] server  [7] sealed secret  [8] masked secret
--       [9] digest of the secret  [10] max_jobs  [11] version under which the secret was sealed
--       [12] daily_cap: its own, 0 for none; '' leaves it as it is
-- Returns {'created' | 'updated', secret version in force} | {'foreign'}: the channel is another user's
--       | {'duplicate', channel, pool}: the secret is already on that channel
-- Safe to run twice.
-- needs: record handoff slots epoch refill checks

local pool, channel, digest = ARGV[4], ARGV[5], ARGV[9]
local owner = redis.call('HGET', ns .. ':channels', channel)
if owner and owner ~= pool then return { 'foreign' } end
local holder = redis.call('HGET', ns .. ':secrets', digest)
if holder and holder ~= channel then return { 'duplicate', holder, redis.call('HGET', ns .. ':channels', holder) or '' } end

local key = account_key(pool, channel)
local state, old_digest, old_sealed = fields(key, 'state', 'digest', 'sealed')
local is_new = not is_registered(pool, channel)
redis.call('HSET', key, 'user', ARGV[3], 'channel', channel, 'server', ARGV[6], 'max_jobs', ARGV[10],
  'updated_ms', int(now))
-- A sealed text begins with the id of its key: the same secret under a newer key replaces it, so that keys can retire.
if old_digest ~= digest or string.match(old_sealed, '^[^:]*') ~= string.match(ARGV[7], '^[^:]*') then
  if old_digest ~= '' then redis.call('HDEL', ns .. ':secrets', old_digest) end
  redis.call('HSET', key, 'sealed', ARGV[7], 'masked', ARGV[8], 'digest', digest, 'secret_version', ARGV[11])
end
-- A new secret is a new chance for an account that was disabled; a pause is the operator's and stays.
if is_new or (state == 'disabled' and old_digest ~= digest) then
  redis.call('HSET', key, 'state', 'active', 'reason', '', 'revive', '')
  redis.call('HDEL', key, 'probes')
  forget_checks(pool, channel)
end
if is_new then
  redis.call('HSET', key, 'created_ms', int(now))
  redis.call('HDEL', key, 'daily_cap', 'visit', 'kept_until_ms', 'orphans_from')
  redis.call('SREM', guests_key(pool), channel)
end
if ARGV[12] ~= '' then redis.call('HSET', key, 'daily_cap', ARGV[12]) end
-- Removed while it cooled and registered again before it drained: it still cools, and must be re-admitted.
local cooling = tonumber(redis.call('HGET', key, 'cooling_until_ms') or '0')
if cooling > now then redis.call('ZADD', ns .. ':due', int(cooling), pool .. ':' .. channel) end
redis.call('HSET', ns .. ':channels', channel, pool)
redis.call('HSET', ns .. ':secrets', digest, channel)
redis.call('SADD', ns .. ':accounts:' .. pool, channel)
redis.call('SREM', orphaned_key(), pool .. ':' .. channel)
redis.call('SADD', ns .. ':pools', pool)
refill(pool, channel)
return { is_new and 'created' or 'updated', redis.call('HGET', key, 'secret_version') }

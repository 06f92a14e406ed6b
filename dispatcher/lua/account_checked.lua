-- A worker checked an account: what stopped for a reason that a check can judge comes back, what must not run stops.
-- Invariant: only the secret in force is judged; a pause, and what only its operator can mend, stay as they are.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] pool  [4] channel  [5] id of the check, or ''  [6] version of the secret checked
--       [7] verdict: ok | rejected | unclear (it says nothing about the account)  [8] reason
--       [9] revive, if rejected: check | operator
-- Returns {'ok', state of the account now} | {'missing'}
-- Safe to run twice.
-- needs: record handoff slots epoch refill checks

local pool, channel, verdict, reason = ARGV[3], ARGV[4], ARGV[7], ARGV[8]
local account = account_key(pool, channel)
local state, revive, version = fields(account, 'state', 'revive', 'secret_version')
if not is_registered(pool, channel) then return { 'missing' } end

if version ~= ARGV[6] then
  verdict, reason = 'unclear', 'its token was changed meanwhile'
elseif verdict == 'ok' and state == 'disabled' and revive == 'check' then
  redis.call('HSET', account, 'state', 'active', 'reason', '', 'revive', '')
  forget_checks(pool, channel)
  refill(pool, channel)
elseif verdict == 'rejected' then
  disable(pool, channel, reason, ARGV[9])
  refresh(pool, channel)
end

state = redis.call('HGET', account, 'state')
local check = ns .. ':check:' .. pool .. ':' .. channel
local asked, known = fields(check, 'id', 'verdict')
if asked ~= '' and asked == ARGV[5] and known == '' then
  redis.call('HSET', check, 'verdict', verdict, 'reason', reason, 'state', state, 'answered_ms', int(now))
end
return { 'ok', state }

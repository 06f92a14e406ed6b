-- `mark U`: the answer to the submission was lost; it is looked up, never sent again blindly.
-- KEYS  [1] namespace
-- ARGV  [1] job  [2] token  [3] seed  [4] cooling_first_ms  [5] cooling_max_ms  [6] suspicion_share_max
-- Returns {'ok', state} | {'stale'} | {'rolled_back'}
-- Safe to run twice: only S becomes U.
-- An account that leaves three submissions in a row without an answer cools by suspicion, and again with each that follows
-- in that row. A dead worker, whose submissions become U elsewhere, says nothing about the account.
-- needs: record slots cooling epoch owner

local UNKNOWNS_IN_A_ROW = 3
local verdict = standing(ARGV[1], ARGV[2], 'S', '', '')
if verdict ~= 'ours' then return { verdict } end
local state, pool, channel, submitted = fields(lease_key(ARGV[1]), 'state', 'pool', 'channel', 'submitted_ms')
if state ~= 'S' then return { 'ok', state } end
redis.call('HSET', lease_key(ARGV[1]), 'state', 'U')
record(ARGV[1], 'unknown')
if not speaks_for_account(ARGV[1], pool, channel) then return { 'ok', 'U' } end
local unknowns = redis.call('HINCRBY', account_key(pool, channel), 'unknowns', 1)
if unknowns >= UNKNOWNS_IN_A_ROW then
  local reason = unknowns .. ' submissions in a row without an answer'
  local rule = { first_ms = tonumber(ARGV[4]), max_ms = tonumber(ARGV[5]), share = tonumber(ARGV[6]) }
  cool(pool, channel, { asked_ms = 0, cause = 'suspected', since_ms = tonumber(submitted), reason = reason }, rule,
    tonumber(ARGV[3]))
  refresh(pool, channel)
end
return { 'ok', 'U' }

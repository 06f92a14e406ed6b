-- `mark U`: the answer to the submission was lost; it is looked up, never sent again blindly.
-- KEYS  [1] namespace
-- ARGV  [1] job  [2] token
-- Returns {'ok', state} | {'stale'}
-- Safe to run twice: only S becomes U.
-- needs: record

local held, state = fields(lease_key(ARGV[1]), 'token', 'state')
if held ~= ARGV[2] or state == 'R' or state == 'C' then return { 'stale' } end
if state ~= 'S' then return { 'ok', state } end
redis.call('HSET', lease_key(ARGV[1]), 'state', 'U')
record(ARGV[1], 'unknown')
return { 'ok', 'U' }

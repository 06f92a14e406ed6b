-- A worker answers a refresh: fresh links to a job's files, or why there are none.
-- Invariant: a refresh has one answer, that of the latest one asked for; it is kept no longer than its links last, and
-- long enough to be read.
-- KEYS  [1] namespace
-- ARGV  [1] job  [2] id of the refresh  [3] verdict: ok | refused  [4] reason, if refused  [5] life_ms at most
--       [6] until_ms: when the first of the links ends, by the upstream's word; 0: not known  [7…] attachment, link, …
-- Returns {'ok'} | {'stale'} (it was answered, or a later one took its place, or it is forgotten)
-- Safe to run twice: the second call is stale.

local READ_WITHIN_MS = 60000

local key = ns .. ':links:' .. ARGV[1]
local id, verdict = fields(key, 'id', 'verdict')
if id ~= ARGV[2] or verdict ~= '' then return { 'stale' } end

for index = 7, #ARGV, 2 do redis.call('HSET', key, 'url:' .. ARGV[index], ARGV[index + 1]) end
redis.call('HSET', key, 'verdict', ARGV[3], 'reason', ARGV[4], 'answered_ms', int(now))
local life_ms, until_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
if until_ms > 0 then life_ms = math.min(life_ms, until_ms - now) end
redis.call('PEXPIRE', key, int(math.max(life_ms, READ_WITHIN_MS)))
return { 'ok' }

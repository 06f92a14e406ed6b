-- What an audit says, and what it may put right.
-- ARGV[3] repairs: none | free (only what is derived) | all.

local findings = {}

-- While owners re-assert what they hold, a store that lost its tail looks wrong and is being put right by them.
local is_learning = closed_ms > 0

local function may_repair(what) return not is_learning and (ARGV[3] == 'all' or ARGV[3] == what) end

-- outcome: reported | repaired | suspected (the first strike: it is a finding if a later call finds the very same)
local function found(kind, job, pool, channel, detail, outcome)
  findings[#findings + 1] = { kind, job, pool, channel, detail or '', outcome or 'reported' }
end

-- A score as a number, or nil.
local function score_of(key, member) return tonumber(redis.call('ZSCORE', key, member) or '') end

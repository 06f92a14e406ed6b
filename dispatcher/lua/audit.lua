-- Hold jobs, leases, slots, free sets and deliveries against each other: the named things, as they stand now.
-- Safe beside a living fleet: whoever lists the names may be late, but each is judged here, in one step, on the state of
-- this instant, and every transition is one step too, so none is ever seen half done. What is gone by now is no finding.
-- In motion between two steps are only a delivery on its way from RQ's queue to its claim, an owner between two
-- renewals, and a cooling that has just ended; each has its time (its lease's expiry and a strike; `due`) before it is
-- held for wrong. A clock that jumps makes leases look expired: hence `suspected`, and the second look or strike.
-- A repair is made in the step that found the fault; none is made while the store learns. Beyond the four named repairs
-- nothing is touched.
-- KEYS  [1] namespace
-- ARGV  [1] seed  [2] ttl_ms  [3] repairs: none | free (what is derived) | all  [4] strike_ms
--       [5] redeliveries_max  [6…] what, where and name, in threes, at most 256 of them: job, '', job
--       | channel, pool, channel | pending, <pool> or <pool>:<channel>, job | listed, <user>:<status not final>, job
-- Returns {learning: 1 or 0, {{kind, job, pool, channel, detail, 'reported' | 'repaired' | 'suspected'}, …}}
-- `suspected`: judge it again after two strikes; it is a finding if the very same is found, or repaired, then.
-- Safe to run twice: what was repaired is sound.
-- needs: record handoff slots epoch refill findings audit_lease audit_job audit_channel

-- A member of a list of jobs to come must have a record, and wait where its record says.
local function judge_member(what, where, job)
  local kind = what == 'pending' and 'pending' or 'jobs'
  if not score_of(ns .. ':' .. kind .. ':' .. where, job) then return end
  if redis.call('EXISTS', job_key(job)) == 0 then
    return found(what .. '_without_record', job, where, '')
  end
  local pool, pin = fields(job_key(job), 'pool', 'pin')
  if what == 'pending' and ns .. ':pending:' .. where ~= pending_key(pool, pin) then
    found('pending_misplaced', job, where, '', 'in the line ' .. where)
  end
end

local function judge(what, where, name)
  if what == 'channel' then return judge_channel(where, name) end
  if what == 'job' then return judge_job(name) end
  judge_member(what, where, name)
end

for index = 6, #ARGV, 3 do
  local what, where, name = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  -- A key of a wrong type must not keep the others from being judged.
  local is_judged, failure = pcall(judge, what, where, name)
  if not is_judged then
    local is_channel = what == 'channel'
    found('unreadable', is_channel and '' or name, where, is_channel and name or '',
      type(failure) == 'table' and failure.err or tostring(failure))
  end
end
return { is_learning and 1 or 0, findings }

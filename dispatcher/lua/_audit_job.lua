-- Judge a job: its record, where it waits or runs, what times it, and the lists that name it.

local STATUSES = { 'created', 'started', 'progress', 'completed', 'failed', 'moderated', 'cancelled' }

-- A job that is not final waits in its own line or is leased, never both; a final one is leased only while it drains.
local function judge_place(job, record, state)
  local waits = score_of(pending_key(record.pool, record.pin), job)
  local function tell(kind, detail) found(kind, job, record.pool, record.pin, detail) end
  if FINAL[record.status] then
    if waits then tell('final_job_waits', record.status) end
    if state ~= '' and state ~= 'D' then tell('final_job_leased', record.status .. ', state ' .. state) end
  elseif state == 'D' then
    tell('live_job_draining', record.status)
  elseif state ~= '' then
    if waits then tell('job_waits_and_runs', 'state ' .. state) end
  elseif not waits then
    tell('job_nowhere', record.status)
  elseif waits ~= tonumber(record.score) then
    tell('pending_misplaced', 'at ' .. int(waits) .. ', not ' .. record.score)
  end
end

local function judge_lists(job, record)
  local all = ns .. ':jobs:' .. record.user
  if score_of(all, job) ~= tonumber(record.created) then
    return found('list_mismatch', job, record.pool, '', 'the list of all')
  end
  for _, status in ipairs(STATUSES) do
    if (score_of(all .. ':' .. status, job) ~= nil) ~= (status == record.status) then
      return found('list_mismatch', job, record.pool, '', 'is ' .. record.status .. ', list ' .. status)
    end
  end
end

-- A final record dies by itself, any other stays.
local function judge_life(job, record)
  local ttl_ms = redis.call('PTTL', job_key(job))
  if (ttl_ms >= 0) ~= (FINAL[record.status] == true) then
    found('record_life', job, record.pool, '', record.status .. ', lives ' .. int(ttl_ms) .. ' ms')
  end
end

-- A token of the job's own is kept until it is final and holds no slot.
local function judge_token(job, record, state)
  if FINAL[record.status] and state == '' and has_token(job) then
    found('token_kept', job, record.pool, record.pin, record.status)
  end
end

-- A time limit is kept for every submission and drain, and before that where the caller or max_wait_s set one.
local function judge_deadline(job, record, state)
  local limit = tonumber(record.limit_ms) or 0
  local ought = state == 'S' or state == 'U' or state == 'A' or state == 'D'
    or (limit > 0 and not FINAL[record.status])
  local is = score_of(ns .. ':deadlines', job) ~= nil
  if is ~= ought then found(is and 'deadline_stray' or 'deadline_missing', job, record.pool, '', 'state ' .. state) end
end

-- What is on record of the job, or nil where there is nothing that could be judged by.
local function read_record(job, is_leased)
  local record = {}
  record.status, record.user, record.pool, record.pin, record.score, record.created, record.limit_ms,
    record.redeliveries = fields(job_key(job), 'status', 'user', 'pool', 'pin', 'score', 'created_ms',
    'pending_deadline_ms', 'redeliveries')
  if record.status ~= '' and record.user ~= '' and record.pool ~= '' and tonumber(record.score) then return record end
  if redis.call('EXISTS', job_key(job)) == 1 then
    found('record_unreadable', job, record.pool, '')
  elseif is_leased then
    found('lease_without_record', job, '', '')
  elseif score_of(ns .. ':deadlines', job) then
    found('deadline_stray', job, '', '', 'no record')
  end
  return nil
end

local function judge_job(job)
  local is_leased = redis.call('EXISTS', lease_key(job)) == 1
  local record = read_record(job, is_leased)
  local state = is_leased and judge_lease(job, record) or ''
  if not is_leased and score_of(ns .. ':expiry', job) then found('expiry_without_lease', job, '', '') end
  if not record then return end
  if is_leased and state == '' then return end -- its lease is unreadable, which was told
  judge_place(job, record, state)
  judge_lists(job, record)
  judge_life(job, record)
  judge_token(job, record, state)
  judge_deadline(job, record, state)
end

-- The job's durable record: status, lists, history and the event that wakes waiters change together, or not at all.
-- needs: guests

local FINAL = { completed = true, failed = true, moderated = true, cancelled = true }
local HISTORY_LINES = 32
local EVENTS_KEPT = 10000

-- Append "<ms> <event>" and drop the oldest line beyond 32. An event may carry an upstream's words: they stay one line.
local function appended(history, event)
  local text = history .. int(now) .. ' ' .. string.gsub(event, '%c', ' ') .. '\n'
  local _, lines = string.gsub(text, '\n', '')
  if lines > HISTORY_LINES then text = string.gsub(text, '^[^\n]*\n', '', lines - HISTORY_LINES) end
  return text
end

local PROGRESS_LIFE_S = 3600

-- A job's callbacks have ids: its final one the same for ever, so that whoever is told twice can tell.
local function final_callback(job) return job .. '-final' end

-- Have the job's reply_url called, now: in the place of a callback that still waits, or was given up.
local function call_back(job, id, life_s)
  local key = ns .. ':callback:' .. job
  redis.call('DEL', key)
  redis.call('HSET', key, 'id', id, 'attempts', 0)
  redis.call('EXPIRE', key, life_s)
  redis.call('ZADD', ns .. ':callbacks', int(now), job)
  redis.call('ZREM', ns .. ':callbacks_dead', job)
end

-- Change the record: `changes` is a flat list of fields and values; `status` may be nil (unchanged), and so may `event`
-- (not worth a line of history). A final status is never left: the change is dropped (fields, status and all).
local function record(job, event, status, changes)
  local key = job_key(job)
  local old, user, created, history, reply_on = fields(key, 'status', 'user', 'created_ms', 'history', 'reply_on')
  if old == '' or FINAL[old] then return false end
  local values = changes or {}
  if event then
    values[#values + 1] = 'history'
    values[#values + 1] = appended(history, event)
  end
  values[#values + 1] = 'updated_ms'
  values[#values + 1] = int(now)
  if status and status ~= old then
    values[#values + 1] = 'status'
    values[#values + 1] = status
    redis.call('ZREM', ns .. ':jobs:' .. user .. ':' .. old, job)
    redis.call('ZADD', ns .. ':jobs:' .. user .. ':' .. status, created, job)
  end
  redis.call('HSET', key, unpack(values))
  redis.call('XADD', ns .. ':events', 'MAXLEN', '~', EVENTS_KEPT, '*', 'job', job, 'status', status or old)
  local is_news = status and not FINAL[status] and (status ~= old or status == 'progress')
  if is_news and reply_on == 'progress' then call_back(job, job .. '-' .. int(now), PROGRESS_LIFE_S) end
  return true
end

-- Make the job final, once, and owe its caller the callback; its record lives keep_s longer.
local function finish(job, event, status, keep_s, changes)
  local values = changes or {}
  values[#values + 1] = 'finished_ms'
  values[#values + 1] = int(now)
  if not record(job, event, status, values) then return false end
  redis.call('EXPIRE', job_key(job), keep_s)
  redis.call('ZREM', ns .. ':deadlines', job)
  if redis.call('HEXISTS', job_key(job), 'reply_url') == 1 then call_back(job, final_callback(job), keep_s) end
  forget_token_if_over(job)
  return true
end

local function orphaned_key() return ns .. ':orphaned' end

-- Look through up to `count` of the jobs that wait for a channel whose account is gone: those without a token of their
-- own can never run and are ended; guests visit it. Returns how many ended, and whether there are more to look through:
-- then the channel is listed in `orphaned`, and the reaper goes on with it, whoever began.
local function fail_pinned(pool, channel, count, keep_s)
  local pinned, account = pending_key(pool, channel), account_key(pool, channel)
  local from = redis.call('HGET', account, 'orphans_from') or '-inf'
  local jobs = redis.call('ZRANGEBYSCORE', pinned, from, '+inf', 'LIMIT', 0, count)
  local failed, passed = 0, nil
  for _, job in ipairs(jobs) do
    if has_token(job) then
      begin_visit(job, pool, channel)
      look_again(pool, channel, now) -- it may fit, and nothing is granted here
      passed = job
    else
      redis.call('ZREM', pinned, job)
      finish(job, 'failed account deleted', 'failed', keep_s, { 'error', 'Its account ' .. channel .. ' was deleted' })
      failed = failed + 1
    end
  end
  local is_more = #jobs == count
  redis.call(is_more and 'SADD' or 'SREM', orphaned_key(), pool .. ':' .. channel)
  if not is_more then
    redis.call('HDEL', account, 'orphans_from')
  elseif passed then
    redis.call('HSET', account, 'orphans_from', redis.call('HGET', job_key(passed), 'score'))
  end
  return failed, is_more
end

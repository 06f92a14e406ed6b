-- The held answer of a submission is given now: from here on the job is its caller's, and waits like any other.
-- KEYS  [1] namespace
-- ARGV  [1] job
-- Returns {'ok', record as a flat list}: the answer to give; `refused` in it says that the job ended, never to run, and
--         its caller is refused | {'missing'}
-- Safe to run twice: nothing but the field goes.

local record = job_key(ARGV[1])
if redis.call('EXISTS', record) == 0 then return { 'missing' } end
redis.call('HDEL', record, 'held_until_ms')
return { 'ok', redis.call('HGETALL', record) }

-- Have the final callback of a job made again: a dead letter, one that waits, or one that was heard long ago.
-- Invariant: it carries the id that it always had.
-- KEYS  [1] namespace
-- ARGV  [1] job
-- Returns {'ok'} | {'missing'} | {'not_final', status} | {'no_url'}: its caller asked for no callback
-- Safe to run twice: it is due now, once.
-- needs: record

local status = redis.call('HGET', job_key(ARGV[1]), 'status')
if not status then return { 'missing' } end
if not FINAL[status] then return { 'not_final', status } end
if redis.call('HEXISTS', job_key(ARGV[1]), 'reply_url') == 0 then return { 'no_url' } end
call_back(ARGV[1], final_callback(ARGV[1]), math.max(1, redis.call('TTL', job_key(ARGV[1]))))
return { 'ok' }

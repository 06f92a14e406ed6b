-- Have a worker fetch fresh links to the files of a final job; who asks meanwhile joins, and what is known is told again.
-- Invariant: of one job one refresh is under way, none while an answer is known that may serve, and its record stays as it is.
-- KEYS  [1] namespace
-- ARGV  [1] job  [2] user  [3] join_ms: a refresh asked for less long ago is joined  [4] life_s of a refresh without answer
--       [5] id of an attachment whose link is dead, or ''  [6] that link: an answer that tells the same one does not serve
-- Returns {'ok', id of the refresh} | {'missing'} | {'not_final', status} | {'empty'} (it has no files)
-- Safe to run twice: the second call joins the first one's refresh, or finds its answer.
-- needs: record handoff

local job = ARGV[1]
local status, owner, message = fields(job_key(job), 'status', 'user', 'message')
if status == '' or owner ~= ARGV[2] then return { 'missing' } end
if not FINAL[status] then return { 'not_final', status } end
local shown = message ~= '' and cjson.decode(message) or {}
if #(shown.attachments or {}) == 0 then return { 'empty' } end

local key = ns .. ':links:' .. job
local id, verdict, told = fields(key, 'id', 'verdict', 'url:' .. ARGV[5])
if verdict == 'ok' and (ARGV[5] == '' or told ~= ARGV[6]) then return { 'ok', id } end
return { 'ok', ask(key, 'links-' .. job, RQ.links_callable, ARGV[3], ARGV[4]) }

-- A session tells what became of an interaction of its user's, whoever made it and wherever its job is followed.
-- Invariant: a nonce leads to one interaction, the first that was told of it. What is told of an interaction only adds
-- up, and of a message its latest edit stays: so events may come again, and in any order.
-- KEYS  [1] namespace
-- ARGV  [1] digest of the token  [2] the interaction  [3] its nonce, or ''  [4] life_ms: how long it is kept, counted from
--       the last news of it  [5] fate: created | succeeded | failed | form, or ''  [6] what belongs to it: of a failure its
--       reason, else ''  [7] id of a message that no list shows, or ''  [8] edited_ms: when that was edited last; 0: never
--       [9] the message
-- Returns {'news'} | {'known'}
-- Safe to run twice: what is known changes nothing, and nobody is told of it.

local digest, id, nonce, life_ms, message_id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[7]
local fate = ns .. ':fate:' .. digest .. ':' .. id

local function add(field, value) return redis.call('HSETNX', fate, field, value) == 1 end

local is_new = false
if nonce ~= '' then
  is_new = add('nonce', nonce)
  redis.call('SET', ns .. ':nonce:' .. digest .. ':' .. nonce, id, 'NX', 'PX', life_ms)
end
if ARGV[5] ~= '' and add(ARGV[5], ARGV[6]) then is_new = true end
if message_id ~= '' then
  local kept = redis.call('HGET', fate, 'message:' .. message_id) or ''
  if tonumber(ARGV[8]) > (tonumber(string.match(kept, '^%d+')) or -1) then
    redis.call('HSET', fate, 'message:' .. message_id, ARGV[8] .. ' ' .. ARGV[9])
    is_new = true
  end
end
if not is_new then return { 'known' } end
redis.call('PEXPIRE', fate, life_ms)
redis.call('PUBLISH', ns .. ':looks', 'fate ' .. digest .. ' ' .. id .. ' ' .. (redis.call('HGET', fate, 'nonce') or ''))
return { 'news' }

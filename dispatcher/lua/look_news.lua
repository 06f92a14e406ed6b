-- Something told of a channel without being asked, such as a session that Discord sends events to.
-- Invariant: events bring messages, and no absence: what is listed, and what is not, only a list says. They are kept
-- only where somebody watches: of what went before, a list alone is sure to tell.
-- KEYS  [1] namespace
-- ARGV  [1] digest of the token  [2] channel  [3] fed_ms: for how long more events will come; 0: nothing new about that
--       [4] 1: a list is wanted soon, events may have been missed  [5…] of each bot's message: id, fingerprint, the message
-- Returns {'ok'} | {'unwatched'}
-- Safe to run twice: a message that is kept already changes nothing.
-- needs: looks

local digest, channel, fed_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local look, messages = look_key(digest, channel), messages_key(digest, channel)
if redis.call('EXISTS', needs_key(digest, channel)) == 0 then return { 'unwatched' } end

local version, turn = fields(look, 'version', 'turn')
local new, is_new, is_wanted = int(following(version)), false, ARGV[4] == '1'
if fed_ms > 0 then redis.call('HSET', look, 'fed_until_ms', int(now + fed_ms), 'fed_for_ms', int(fed_ms)) end
if is_wanted then redis.call('HSET', look, 'wanted', int(tonumber(turn) or 0)) end
for index = 5, #ARGV, 3 do
  local stored = redis.call('HGET', messages, ARGV[index])
  if not stored or string.match(stored, '^%d+ (%S+) ') ~= ARGV[index + 1] then
    redis.call('HSET', messages, ARGV[index], new .. ' ' .. ARGV[index + 1] .. ' ' .. ARGV[index + 2])
    is_new = true
  end
end
if is_new or is_wanted then
  redis.call('HSET', look, 'version', new)
  hint(digest, channel, new)
end
-- What an event made new lives as long as the watchers' need, and no longer.
local life_ms = redis.call('PTTL', needs_key(digest, channel))
if life_ms > 0 then keep(digest, channel, life_ms) end
return { 'ok' }

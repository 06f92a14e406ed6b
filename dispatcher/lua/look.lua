-- A worker whose jobs need a channel read asks for its turn, says what it needs, and takes what others have read.
-- Invariant: of all workers one reads at a time, for as long as it tells that it still does; a second reader costs one
-- request and nothing else, for what is read changes nothing. A turn is granted to who knows of the last one, so that
-- none reads because it has not heard yet that another just did. Turns count up with every grant: whoever asked before
-- a grant knows that its reading began after the question, whatever any clock says.
-- KEYS  [1] namespace
-- ARGV  [1] digest of the token  [2] channel  [3] worker  [4] version that it has; 0: nothing  [5] since: the id of the
--       message after which it needs all  [6] life_ms: how long what it needs is kept  [7] a name for the turn, or '' if it
--       wants none; a name that has the turn keeps it  [8] the last turn that it knows of  [9] turn_ms: how long a turn
--       lasts unless it is kept
-- Returns {verdict, the view as name, value, …, its news, {id, fingerprint, …} of the messages kept, if it may read}
--         where the verdict is 'read' (since: from where on, for all) | 'busy' (another reads) | 'newer' (another did, or
--         its turn ran out: think again) | 'paused' (the upstream asked for it, or refused) | 'idle' (no turn was wanted)
-- Safe to run twice: the same name is granted the same turn.
-- needs: looks

local digest, channel, worker, name, turn_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[7], tonumber(ARGV[9])
local look, needs = look_key(digest, channel), needs_key(digest, channel)
local turn, reader, until_ms, pause_until_ms, pause_ms = fields(
  look, 'turn', 'reader', 'until_ms', 'pause_until_ms', 'pause_ms')

redis.call('HSET', needs, worker, int(now + tonumber(ARGV[6])) .. ' ' .. ARGV[5])

-- From the oldest message that any worker needs; what a worker that is gone needed is forgotten.
local function oldest_need()
  local wanted, stored = ARGV[5], redis.call('HGETALL', needs)
  for index = 1, #stored, 2 do
    local ends_ms, since = string.match(stored[index + 1], '^(%d+) (%d+)$')
    if tonumber(ends_ms) <= now then
      redis.call('HDEL', needs, stored[index])
    elseif is_older(since, wanted) then
      wanted = since
    end
  end
  return wanted
end

local verdict = 'idle'
if name ~= '' then
  if reader == name then
    verdict = 'read'
  elseif reader ~= '' and left(until_ms, turn_ms) > 0 then
    verdict = 'busy'
  elseif left(pause_until_ms, pause_ms) > 0 then
    verdict = 'paused'
  elseif (tonumber(turn) or 0) ~= tonumber(ARGV[8]) then
    verdict = 'newer'
  else
    verdict = 'read'
    redis.call('HSET', look, 'turn', int(following(turn)), 'reader', name, 'begun_ms', int(now),
      'begun_version', redis.call('HGET', look, 'version') or '0', 'begun_since', oldest_need())
  end
end

local prints = {}
if verdict == 'read' then
  redis.call('HSET', look, 'until_ms', int(now + turn_ms))
  local stored = redis.call('HGETALL', messages_key(digest, channel))
  for index = 1, #stored, 2 do
    prints[#prints + 1] = stored[index]
    prints[#prints + 1] = string.match(stored[index + 1], '^%d+ (%S+) ')
  end
end
keep(digest, channel, ARGV[6])
local told, news = view(digest, channel, ARGV[4])
if verdict == 'read' then
  told[#told + 1] = 'read_since'
  told[#told + 1] = redis.call('HGET', look, 'begun_since')
end
return { verdict, told, news, prints }

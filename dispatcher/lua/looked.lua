-- A worker tells what it read in its turn, or why it could not: from now on all workers know it.
-- Invariant: only the turn in force is believed. A reader that froze, and whose turn another has, is not: what it read
-- may be older than what all know.
-- KEYS  [1] namespace
-- ARGV  [1] digest of the token  [2] channel  [3] the turn's name  [4] version that the worker has  [5] life_ms: how long
--       all this is kept  [6] pause_ms: 0 if it was read, else how long nobody is to try again
--       [7] ids of all messages listed, separated by commas; or what went wrong
--       [8…] of each bot's message that differs from what was kept: id, fingerprint, the message
-- Returns {'ok', the view as name, value, …, its news, {}} | {'stale', view, news, {}}
-- Safe to run twice: the name of the last turn that ended is kept, and changes nothing any more.
-- needs: looks

local digest, channel, name, pause_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[6])
local look, messages = look_key(digest, channel), messages_key(digest, channel)
local turn, reader, ended, version, begun_ms, begun_version, since, troubles = fields(
  look, 'turn', 'reader', 'ended', 'version', 'begun_ms', 'begun_version', 'begun_since', 'troubles')

-- A message that an event brought while the list was read is newer than the list.
local function is_newer_than_list(stored)
  return stored and tonumber(string.match(stored, '^(%d+) ')) > tonumber(begun_version)
end

local function take_list(new)
  local present = {}
  for id in string.gmatch(ARGV[7], '%d+') do present[id] = true end
  for _, id in ipairs(redis.call('HKEYS', messages)) do
    if not present[id] and not is_newer_than_list(redis.call('HGET', messages, id)) then redis.call('HDEL', messages, id) end
  end
  for index = 8, #ARGV, 3 do
    local id = ARGV[index]
    if not is_newer_than_list(redis.call('HGET', messages, id)) then
      redis.call('HSET', messages, id, new .. ' ' .. ARGV[index + 1] .. ' ' .. ARGV[index + 2])
    end
  end
  redis.call('HSET', look, 'listed', turn, 'listed_ms', begun_ms, 'since', since, 'present', ARGV[7], 'troubles', 0,
    'trouble', '')
end

local verdict = 'stale'
if reader == name then
  verdict = 'ok'
  local new = int(following(version))
  redis.call('HSET', look, 'version', new, 'reader', '', 'ended', name)
  if pause_ms == 0 then
    take_list(new)
  else
    redis.call('HSET', look, 'troubled', turn, 'trouble', ARGV[7], 'troubles', (tonumber(troubles) or 0) + 1,
      'pause_until_ms', int(now + pause_ms), 'pause_ms', int(pause_ms))
  end
  hint(digest, channel, new)
elseif ended == name then
  verdict = 'ok'
end
keep(digest, channel, ARGV[5])
local told, news = view(digest, channel, ARGV[4])
return { verdict, told, news, {} }

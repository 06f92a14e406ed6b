-- Have workers check accounts, without submitting anything: one by name, or all the disabled ones whose time has come.
-- Many services may ask for the due ones: each instant is taken once, by moving it.
-- KEYS  [1] namespace
-- ARGV  [1] pool, or '' for the due ones  [2] channel, or ''  [3] join_ms: a check asked for less long ago is joined
--       [4] life_s of what is known of a check  [5] batch: how many due ones at most
-- Returns {'ok', id of the check, …} (none if none was due) | {'missing'}
-- Safe to run twice: the second call joins the first one's checks, or finds nothing due.
-- needs: record handoff checks

local function ask_about(pool, channel)
  return ask(ns .. ':check:' .. pool .. ':' .. channel, 'check-' .. channel, RQ.check_callable, ARGV[3], ARGV[4])
end

if ARGV[1] ~= '' then
  if not is_registered(ARGV[1], ARGV[2]) then return { 'missing' } end
  return { 'ok', ask_about(ARGV[1], ARGV[2]) }
end

local told = { 'ok' }
for _, member in ipairs(redis.call('ZRANGEBYSCORE', checks_key(), '-inf', int(now), 'LIMIT', 0, ARGV[5])) do
  local channel = string.match(member, '([^:]+)$')
  local pool = string.sub(member, 1, #member - #channel - 1)
  local state, revive = fields(account_key(pool, channel), 'state', 'revive')
  if state == 'disabled' and revive == 'check' then
    schedule_check(pool, channel, redis.call('HINCRBY', account_key(pool, channel), 'probes', 1))
    told[#told + 1] = ask_about(pool, channel)
  else
    forget_checks(pool, channel)
  end
end
return told

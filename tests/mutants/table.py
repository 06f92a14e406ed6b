"""The faults: where, what, why it would hurt, and whose tests must fail.

Each ``old`` text occurs exactly once in its file; the program says so loudly when it does not any more.
"""

from __future__ import annotations

from dataclasses import dataclass

WALK = "tests/integration/test_state_machine.py"
UNIFORMITY = "tests/integration/test_uniformity.py"
COMPOSITION = "tests/unit/test_scripts.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in one file of ``dispatcher/lua``."""

    file: str
    old: str
    new: str
    why: str
    killers: tuple[str, ...]


def lua(name: str) -> str:
    """The test file of a script."""
    return f"tests/integration/lua/test_{name}.py"


def _in(file: str, *faults: tuple[str, str, str], killers: tuple[str, ...] = ()) -> list[Mutant]:
    """Faults of one file, killed by its own tests unless said otherwise."""
    return [Mutant(f"{file}.lua", old, new, why, killers or (lua(file),)) for old, new, why in faults]


MUTANTS: list[Mutant] = [
    # --- the three that must be known by name ----------------------------------------------------------
    *_in(
        "_slots",
        (
            "and used < (tonumber(max_jobs) or 0)",
            "and used <= (tonumber(max_jobs) or 0)",
            "one job too many on every account",
        ),
        killers=(lua("dispatch"), lua("submit"), WALK),
    ),
    *_in(
        "_handoff",
        ("local token = math.max(last + 1, now)", "local token = 1", "an old owner cannot be told from the new one"),
        killers=(lua("dispatch"), lua("claim"), WALK),
    ),
    *_in(
        "_refill",
        (
            "local rank = math.floor((seed - 1) / 2147483646 * n)",
            "local rank = 0",
            "always the first, least used channel",
        ),
        killers=(UNIFORMITY, lua("submit")),
    ),
    # --- rules whose loss the random walk must notice by itself ------------------------------------------
    *_in(
        "cancel",
        ("if state == 'S' or state == 'U' or state == 'A' then", "if false then", "cancel frees the slot at once"),
        killers=(WALK,),
    ),
    *_in(
        "reap",
        (
            "drain(job, math.max(tonumber(deadline) or now, now))\n",
            "release(pool, channel, job)\n    refill(pool, channel)\n",
            "the deadline frees the slot",
        ),
        (
            "state == 'C' and 'R' or state == 'S'",
            "(state == 'C' or state == 'S') and 'R' or false",
            "found in S, resubmitted",
        ),
        killers=(WALK,),
    ),
    *_in(
        "mark_submitting",
        ("> tonumber(max_jobs) then return back", "> 1000 then return back", "a lowered limit is over-used"),
        killers=(WALK,),
    ),
    # --- the parts -------------------------------------------------------------------------------------
    *_in(
        "_base",
        ("return string.format('%.0f', number) end", "return tostring(number) end", "1.7e+15"),
        ("tonumber(time[1]) * 1000", "tonumber(time[1])", "seconds taken for milliseconds"),
        (
            "redis.call('EXPIRE', delivery_key(job, token), OLD_DELIVERY_TTL_S)",
            "return",
            "RQ's hash of a lost delivery stays for ever",
        ),
        killers=(lua("submit"), lua("yield")),
    ),
    *_in(
        "_handoff",
        ("math.max(last + 1, now)", "last + 1", "a store that lost its tail issues a token twice"),
        ("front and 'LPUSH' or 'RPUSH'", "'RPUSH'", "a running job's new owner stands last in line"),
        ("  redis.call('HDEL', lease_key(job), 'suspect')\n", "", "a new owner starts with a strike"),
        ("'state', state, 'execution', '',", "'state', state,", "nobody may take the new delivery up"),
        killers=(lua("dispatch"), lua("yield"), lua("reap")),
    ),
    *_in(
        "_handoff",
        ("(month <= 2 and 1 or 0)", "(month <= 1 and 1 or 0)", "February in the wrong year"),
        ("math.floor(doe / 36524)", "0", "2100 taken for a leap year"),
        killers=(COMPOSITION,),
    ),
    *_in(
        "_record",
        ("if old == '' or FINAL[old] then", "if old == '' then", "a final status is left"),
        ("local HISTORY_LINES = 32", "local HISTORY_LINES = 33", "a history that outgrows its bound"),
        ("string.gsub(event, '%c', ' ')", "event", "an upstream's line break forges a line of history"),
        ("  redis.call('EXPIRE', job_key(job), keep_s)\n", "", "final records stay for ever"),
        ("    redis.call('ZREM', ns .. ':jobs:' .. user .. ':' .. old, job)\n", "", "a job on two lists"),
        killers=(lua("settle"), lua("handback")),
    ),
    *_in(
        "_slots",
        ("(tonumber(cooling) or 0) <= now", "true", "a cooling account is granted from"),
        ("local PINNED_STREAK = 8", "local PINNED_STREAK = 9", "pinned jobs hold the others up longer"),
        ("local PINNED_TRIED = 32", "local PINNED_TRIED = 31", "a pinned job that fits is not seen"),
        ("if not limit or used < limit then", "if not limit or used <= limit then", "a job's own limit by one"),
        ("redis.call('ZCARD', slots_key(pool, channel)) > 0 then return", "true then return", "never forgotten"),
        ("  redis.call('ZREM', submitting_key(pool, channel), job)\n", "", "an answer does not open the gate"),
        ("'XX', int(now + ttl_ms)", "int(now + ttl_ms)", "a renewal re-creates an evicted expiry"),
        ("  redis.call('HDEL', lease_key(job), 'suspect')\n", "", "a renewal does not clear the strike"),
        killers=tuple(map(lua, ("dispatch", "cancel", "settle", "mark_submitting", "renew", "handback"))),
    ),
    *_in(
        "_refill",
        ("limit and ('(' .. limit)", "limit and limit", "a job's own limit by one"),
        ("local HEADS_TRIED = 32", "local HEADS_TRIED = 31", "a job that fits is not seen"),
        ("  serve_pinned(pool, channel, true)\n", "", "a pinned job waits beside a free slot"),
        ("'pinned_streak', 0)", "'pinned_streak', 8)", "pinned jobs lose their turn for ever"),
        (
            "int(now + closed_ms), pool .. ':' .. channel)",
            "int(now + closed_ms), '')",
            "what a call leaves over is forgotten",
        ),
        (
            "redis.call('ZADD', pending_key(pool, pin), score, job)",
            "redis.call('ZADD', pending_key(pool, pin), int(now), job)",
            "who was refused goes to the end of the line",
        ),
        ("or 'deleted') == 'deleted' then", "or '') == 'deleted' then", "a job pinned to a vanished account waits"),
        killers=tuple(map(lua, ("submit", "dispatch", "handback", "mark_submitting"))),
    ),
    *_in(
        "_refusal",
        ("'state') ~= 'D' then", "'state') ~= '' then", "a cancelled job is told as executing"),
        ("local cooled_ms = not is_open and", "local cooled_ms =", "throttled, though an account is open"),
        ("and has_room then", "then", "throttled, though the cooling account is full"),
        ("if not usable then", "if false then", "full, though no account can ever take it"),
        ("(pin == '' or pin == channel)", "true", "a pinned job is told of another account's cooling"),
        killers=(lua("submit"),),
    ),
    *_in(
        "_refill",
        ("  seed = (seed * 16807) % 2147483647\n", "", "all draws of a call are one draw"),
        killers=(UNIFORMITY,),
    ),
    # --- the transitions -------------------------------------------------------------------------------
    *_in(
        "submit",
        ("if redis.call('EXISTS', job_key(job)) == 1 then return", "if false then return", "a retry is a second job"),
        ("if digest ~= ARGV[14] then", "if false then", "another request is answered with the first job"),
        ("(100 - tonumber(ARGV[8]))", "(100 + tonumber(ARGV[8]))", "the least urgent goes first"),
        ("and math.min(expires, wait_until)", "and math.max(expires, wait_until)", "the sooner time is not watched"),
        ("  redis.call('DEL', job_key(job))\n", "", "a refused job leaves its record"),
        ("  redis.call('ZREM', ns .. ':deadlines', job)\n", "", "a refused job is timed"),
        ("or state == 'deleted' then return { 'no_account' }", "then return { 'no_account' }", "pinned to a ghost"),
    ),
    *_in(
        "dispatch",
        ("  redis.call('ZREM', due, member)\n", "", "the past is due for ever"),
        ("more = refill(pool, channel) or more", "more = false", "a cooled account is not re-admitted"),
        ("more = more or grants >= GRANTS_MAX or", "more = more or", "the caller is not told to go on"),
    ),
    *_in(
        "claim",
        (" or (bound ~= '' and bound ~= execution)", "", "two workers run one delivery"),
        ("U = { 'U', 'lookup' }", "U = { 'C', 'start' }", "an unknown submission is sent again"),
        ("if held ~= token or", "if", "an old delivery takes the job over"),
        ("extend(job, ttl_ms)\n", "", "a fresh owner dies of its predecessor's clock"),
        ("and 'done' or 'stale'", "and 'stale' or 'done'", "a job that waits is told to be over"),
    ),
    *_in(
        "mark_submitting",
        ("> tonumber(max_jobs) then return back", "> 1000 then return back", "a lowered limit is over-used"),
        ("if unanswered then", "if false then", "two unanswered at once"),
        ("'upstream_user', ARGV[10]", "'upstream_user', ''", "a look-up does not know as whom it was submitted"),
        ("if state ~= 'C' and not is_late then", "if state == 'R' then", "submitted twice"),
        ("now - tonumber(submitted) >= tonumber(ARGV[8]) / 2", "false", "a late permission lets two be unanswered"),
        ("if standing ~= 'active' and", "if standing == '' and", "a stopped account is submitted to"),
        (" and standing ~= 'draining' then", " then", "a draining account does not finish"),
        ("'upstream_ms', ARGV[12]", "'upstream_ms', submitted", "a look-up compares two clocks"),
        ("permitted >= cap", "permitted > cap", "one more than the day's cap"),
        ("(today + 1) * DAY_MS", "today * DAY_MS", "at its cap it is granted again at once"),
        ("tonumber(day) == today and", "", "yesterday counts today"),
        ("tonumber(own_cap) or tonumber", "tonumber", "its own cap is not looked at"),
        ("(is_late and 0 or 1)", "1", "one submission counts twice"),
        ("if verdict ~= 'ours' then", "if false then", "an old owner submits"),
        ("if paced_ms > 0 then", "if false then", "submissions without distance"),
        ("and math.min(deadline, hard)", "and math.max(deadline, hard)", "the jobs' own deadline is not watched"),
        ("int(now - tonumber(ARGV[8]))", "int(0)", "one that cannot be asked about blocks its channel for ever"),
    ),
    *_in(
        "mark_accepted",
        ("'NX', 'PX'", "'PX'", "one interaction, two jobs"),
        ("if known ~= '' and known ~= remote then", "if false then", "a job changes its interaction"),
        ("state == 'D' and 'D' or 'A'", "'A'", "a cancelled job lives again"),
        ("  redis.call('ZREM', submitting_key(pool, channel), job)\n", "", "an answer does not open the gate"),
        ("== 'progress' and 'progress' or ARGV[6]", "== '' and '' or ARGV[6]", "a status goes back"),
    ),
    *_in(
        "mark_unknown",
        ("if state ~= 'S' then", "if state == 'D' then", "what is known is forgotten"),
        ("if verdict ~= 'ours' then", "if false then", "an old owner speaks"),
        ("record(ARGV[1], 'unknown')\n", "", "nobody reads that its fate was unknown"),
        ("'state', 'U')", "'state', 'A')", "an unknown submission taken for an accepted one"),
    ),
    *_in(
        "mark_unknown",
        ("unknowns >= UNKNOWNS_IN_A_ROW", "unknowns > UNKNOWNS_IN_A_ROW", "one more lost answer than told"),
        ("'unknowns', 1)", "'unknowns', 0)", "lost answers are not counted"),
        ("  refresh(pool, channel)\n", "", "a suspect is granted from"),
        ("cause = 'suspected'", "cause = 'said'", "lost answers empty the pool"),
        killers=(lua("cooling"), lua("mark_unknown")),
    ),
    *_in(
        "_cooling",
        ("until_ms <= (tonumber(resting) or 0)", "false", "a rest is cut short"),
        ("(1 + JITTER_SHARE", "(1 - JITTER_SHARE", "a Retry-After is shortened"),
        ("JITTER_SHARE = 0.25", "JITTER_SHARE = 0", "all return at the same instant"),
        ("2 ^ doublings", "2", "rests do not grow"),
        ("math.min(rule.max_ms,", "math.max(0,", "rests grow without bound"),
        ("'cooling_repeats', before + 1", "'cooling_repeats', 1", "repeats are not counted"),
        ("now < (tonumber(resting) or 0) or", "", "two refusals at once are two repeats"),
        (" or refusal.since_ms <= (tonumber(began) or 0)", "", "a late refusal is a repeat"),
        ("before - 1 or before", "before or before", "a time that was named is not believed"),
        ("cause == 'suspected' and not", "false and not", "one bad minute empties the pool"),
        ("math.max(1, math.floor", "math.max(0, math.floor", "a lone suspect never rests"),
        ("== 'active' then active = active + 1", "then active = active + 1", "stopped accounts make up the share"),
        ("    redis.call('ZREM', suspected_key(pool), channel)\n", "", "what was asked for counts as a guess"),
        ("'-inf', int(now))", "'-inf', 0)", "who has returned is a suspect for ever"),
        ("if submitted_ms > math.max", "if 0 <= math.max", "a success from before ends the series"),
        ("redis.call('HDEL', key, 'cooling_repeats', 'unknowns', 'probes')", "", "a success ends no series"),
        killers=(lua("cooling"), lua("handback")),
    ),
    *_in(
        "handback",
        ("local since_ms = tonumber(submitted) or", "local since_ms =", "a repeat is taken for the same cool-down"),
        ("if state == 'S' and ARGV[10] ~= '1' then", "if false then", "a refusal is no answer"),
        ("if state == 'S' and ARGV[10] ~= '1' then", "if true then", "what was never sent was answered"),
        killers=(lua("cooling"),),
    ),
    *_in(
        "claim",
        ("if following[1] == 'C' then", "if false then", "a refusal of a bad token disables nobody"),
        ("if following[1] == 'C' then", "if true then", "a look-up forgets with which token it was sent"),
        killers=(lua("handback"), lua("claim")),
    ),
    *_in(
        "account_remove",
        ("forget_checks(pool, channel)\n", "", "an account that is gone is checked"),
        killers=(lua("account_check"),),
    ),
    *_in(
        "_checks",
        ("local CHECK_FIRST_MS = 300000", "local CHECK_FIRST_MS = 3000", "a refused account is asked about at once"),
        ("math.min(CHECK_LAST_MS,", "math.max(0,", "the next check is weeks away"),
        ("2 ^ math.min(probes, DOUBLINGS_TOLD)", "1", "a refused account is asked about for ever alike"),
        ("if revive == 'check' then", "if true then", "a captcha is checked"),
        ("if state == 'draining' then", "if false then", "a draining account is used on after a 401"),
        ("elseif state == 'active' or", "elseif state ~= '' or", "an owner's pause is overwritten"),
        ("told == 'check' and revive == 'operator'", "false", "a check revives what wants a captcha"),
        ("      forget_checks(pool, channel)\n", "", "a captcha is checked after all"),
        killers=(lua("account_check"), lua("account_checked"), lua("handback")),
    ),
    *_in(
        "account_check",
        ("and verdict == '' and", "and", "an old answer is taken for a new one"),
        ("< tonumber(ARGV[3]) then", "< 0 then", "who asks twice is checked twice"),
        ("  redis.call('EXPIRE', key, ARGV[4])\n", "", "a check is known for ever"),
        ("  retire('check-' .. channel, token)\n", "", "a lost check stays in RQ for ever"),
        ("RQ.check_callable", "RQ.callable", "a check is run as a job"),
        ("'probes', 1)", "'probes', 0)", "a refused account is asked about for ever alike"),
        (" or state == 'deleted' then", " then", "a deleted account is checked"),
        ("    forget_checks(pool, channel)\n", "", "what is due by mistake is due for ever"),
        ("state == 'disabled' and revive == 'check' then", "true then", "what is well is checked for ever"),
    ),
    *_in(
        "account_checked",
        ("if version ~= ARGV[6] then", "if false then", "a new token pays for the old one"),
        ("and revive == 'check' then", "then", "a check resumes what its operator stopped"),
        ("  refill(pool, channel)\n", "", "an account that came back serves nobody"),
        ("  refresh(pool, channel)\n", "", "a refused account is granted from"),
        ("elseif verdict == 'rejected' then", "elseif verdict ~= 'ok' then", "trouble on the way disables"),
        (" or state == 'deleted' then", " then", "a deleted account is judged"),
        ("asked == ARGV[5] and known == ''", "known == ''", "an older check answers a newer one"),
        (" and known == '' then", " then", "an answer is overwritten"),
    ),
    *_in(
        "settle",
        ("if state == 'S' then answered", "if false then answered", "a refusal is no answer"),
        ("if status == 'completed' then", "if true then", "a failure ends a series of refusals"),
        killers=(lua("cooling"),),
    ),
    *_in(
        "mark_accepted",
        ("if state == 'S' then answered", "if true then answered", "an answer that was looked up counts as one"),
        ("  if state == 'S' then answered(pool, channel) end\n", "", "an answer is none"),
        killers=(lua("cooling"),),
    ),
    *_in(
        "_slots",
        ("    redis.call('HSET', key, 'state', 'paused')\n", "", "a drained account drains for ever"),
        killers=(lua("account_state"),),
    ),
    *_in(
        "renew",
        ("if verdict == 'ours' then extend", "if true then extend", "an old owner renews its successor's lease"),
        ("if verdict == 'ours' then extend(job, tonumber(ARGV[1])) end", "", "a renewal that extends nothing"),
        ("'stale' and 'lost'", "'stale' and 'ok'", "a lost owner is not told"),
    ),
    *_in(
        "settle",
        ("if ARGV[7] == '1' and state ~= 'C' then", "if false then", "a slot freed while the upstream runs its job"),
        ("  redis.call('HSET', job_key(job), 'settled_by', token)\n", "", "a retry is told that it lost the job"),
        ("  refill(pool, channel)\n", "", "a freed slot serves nobody"),
        ("  if state ~= 'D' then\n", "  if true then\n", "the hold of a draining slot is cut short"),
    ),
    *_in(
        "handback",
        ("if remote ~= '' then", "if false then", "a run is taken for the one that was refused before it"),
        ("if state == 'U' and ARGV[10] ~= '1' then", "if false then", "an unknown submission is sent again"),
        ("requeues > tonumber(ARGV[7])", "requeues >= tonumber(ARGV[7])", "one return less than allowed"),
        ("if ARGV[9] ~= '' and is_in_force", "if false", "a refused account is used on"),
        (" and is_in_force then", " then", "a new token pays for the old one"),
        ("or not first_three or", "or true or", "one bad prompt cools the pool"),
        (" or string.find(first_three .. ' ', channel .. ' ', 1, true)", "", "who stands alone refuses twenty times"),
        ("if asked_ms > 0 or (", "if (", "a Retry-After is not kept"),
        ("release(pool, channel, job)\n", "", "a refused job keeps its slot"),
        ("  redis.call('ZREM', ns .. ':deadlines', job)\n", "", "a finished job is timed"),
    ),
    *_in(
        "cancel",
        ("if state == 'S' or state == 'U' or state == 'A' then", "if false then", "a slot freed while the job runs"),
        ("(ARGV[5] ~= '' and ARGV[5] ~= user)", "false", "another user's job is cancelled"),
        ("  redis.call('ZREM', pending_key(pool, pin), job)\n", "", "a cancelled job is granted"),
        ("    serve(pool, pin)\n", "", "who stood behind is not seen"),
    ),
    *_in(
        "yield",
        ("elseif state == 'S' then", "elseif false then", "a request under way is handed over"),
        ("state == 'C' and 'R' or state", "state", "a delivery that nobody holds looks held"),
    ),
    *_in(
        "reap",
        ("now - tonumber(suspect) < strike_ms)", "false)", "a clock that jumped takes a living owner's grace"),
        ("elseif suspect == '' then", "elseif suspect == '-' then", "one late renewal costs the delivery"),
        ("or state == 'S' and 'U' or state", "or state", "a submission is found as if still under way"),
        ("if state == 'R' and is_queued(job .. '-' .. token) then", "if false then", "queued deliveries multiply"),
        ("'redeliveries', 1) > tonumber(ARGV[5])", "'redeliveries', 1) >= tonumber(ARGV[5])", "poison one too early"),
        ("if graced == '' and suspect == '' and", "if", "the end never comes"),
        ("int(deadline + hold_ms)", "int(deadline)", "the slot is freed while the upstream may run the job"),
        ("    forced = forced + 1\n", "", "a forced slot is not counted"),
        ("  redis.call('LREM', queue .. ':intermediate', 1, job .. '-' .. token)\n", "", "lost ids pile up"),
    ),
    # --- lost writes -----------------------------------------------------------------------------------
    *_in(
        "_epoch",
        ("if not current or known == current then", "if true then", "a change of the server is not seen"),
        ("if redis.call('DEL', ns .. ':clean') == 1 then return end", "", "a clean stop costs a window"),
        ("if redis.call('DEL', ns .. ':clean') == 1", "if redis.call('EXISTS', ns .. ':clean') == 1", "clean for ever"),
        ("if known or redis.call('EXISTS', ns .. ':fence') == 1 then", "if known then", "an unknown past is trusted"),
        (
            "if known or redis.call('EXISTS', ns .. ':fence') == 1 then",
            "if true then",
            "a new store is closed at first",
        ),
        ("redis.call('SET', ns .. ':epoch', current)\n", "", "the window never ends"),
        ("if window_ms > 0 then", "if true then", "a window of no length"),
        ("return left_ms == -2 and 0 or math.max(left_ms, 1)", "return 0", "the window closes nothing"),
        killers=(lua("learning"),),
    ),
    *_in(
        "_owner",
        ("RANK[at] < RANK[owner_state] or", "", "an earlier state under the same token is believed"),
        ("(owner_remote ~= '' and remote == '')", "false", "a lost id is not missed"),
        ("(tonumber(last) or 0) >= tonumber(token)", "false", "what was given back is put back"),
        ("status ~= '' and last == ''", "false", "a record of an older version is put back"),
        ("if learning_ms() == 0 then", "if true then", "each owner prolongs the window"),
        ("open_learning('an owner knows more than the store')", "", "a loss without a new server closes nothing"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "_refill",
        ("  if closed_ms > 0 then return false end\n", "", "granted while the store learns"),
        (" or closed_ms > 0\n", "\n", "pinned jobs are granted while the store learns"),
        ("(grants >= GRANTS_MAX or closed_ms > 0)", "grants >= GRANTS_MAX", "its pinned job is forgotten"),
        killers=(lua("learning"),),
    ),
    *_in(
        "_handoff", ("  redis.call('DEL', ns .. ':clean')\n", "", "clean, with a lease out"), killers=(lua("learning"),)
    ),
    *_in(
        "_handoff",
        ("  redis.call('HSET', job_key(job), 'token', token)\n", "", "given back is taken for lost"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "submit",
        ("if idempotency and learning_ms() > 0 then", "if false then", "a key whose job was lost is taken twice"),
        ("  if learning_ms() > 0 then", "  if false then", "a full fleet, it says"),
        killers=(lua("learning"),),
    ),
    *_in("submit", ("'token', 0, ", "", "a job that waits is taken for an old one's"), killers=(lua("reassert"),)),
    *_in(
        "dispatch",
        ("if closed_ms > 0 then return", "if false then return", "nobody is told when it ends"),
        killers=(lua("learning"),),
    ),
    *_in("claim", ("  if learning_ms() > 0 then", "  if false then", "two run one job"), killers=(lua("learning"),)),
    *_in("reap", ("if closed_ms > 0 then", "if false then", "an owner is not waited for"), killers=(lua("learning"),)),
    *_in(
        "mark_accepted",
        ("if known == '' and learning_ms() > 0 then", "if false then", "another job's id is taken"),
        ("if known == '' and learning_ms() > 0 then", "if learning_ms() > 0 then", "progress waits for nothing"),
        killers=(lua("learning"),),
    ),
    *_in(
        "mark_accepted",
        ("ARGV[3], 'S', '')", "ARGV[3], 'C', '')", "a store that lost the submission is not told"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "renew",
        ("ARGV[index + 2], ARGV", "'C', ARGV", "a lost submission is not noticed"),
        ("ARGV[index + 3])", "'')", "a lost id is not noticed"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "yield",
        ("ARGV[index + 2], ARGV", "'C', ARGV", "what the store knows less of is handed over"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "yield",
        ("elseif learning_ms() > 0 then", "elseif false then", "another may hold it, and has not told yet"),
        killers=(lua("learning"),),
    ),
    *_in(
        "mark_unknown",
        ("ARGV[2], 'S', '')", "ARGV[2], 'C', '')", "a store that lost the submission is not told"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "mark_submitting",
        ("if closed_ms > 0 then", "if false then", "submitted though another may have been, too"),
        killers=(lua("learning"),),
    ),
    *_in(
        "settle",
        ("standing(job, token, ARGV[9], '')", "standing(job, token, 'C', '')", "freed as never sent, while it runs"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "handback",
        ("ARGV[15], ARGV[16])", "'C', '')", "a refused run is not known as refused"),
        killers=(lua("reassert"),),
    ),
    *_in(
        "leave_clean",
        ("redis.call('ZCARD', ns .. ':expiry') > 0 or", "", "a lease is overlooked"),
        ("> 0 then return 0 end\nend", "> 9 then return 0 end\nend", "a draining slot is overlooked"),
        ("or redis.call('EXISTS', ns .. ':learning') == 1", "", "what is not yet told is overlooked"),
        ("> tonumber(ARGV[1]) then", "> 1e9 then", "a stop that looks for ever"),
        ("redis.call('SET', ns .. ':clean', 1)\n", "", "every stop costs a window"),
        killers=(lua("learning"), lua("reassert")),
    ),
    *_in(
        "reassert",
        ("if key_lives_ms > 0 then", "if false then", "a key that was lost makes a second job"),
        ("if verdict == 'stale' or", "if", "a newer owner is overruled"),
        ("and is_over and state == 'C')", "and false)", "a slot for what was never sent"),
        ("if is_over then state = 'D' end\n", "", "a cancelled job lives again"),
        ("if has_moved then release", "if false then release", "the older slot is never freed"),
        ("elseif held ~= '' then retire(job, held) end", "end", "the older delivery's hash stays for ever"),
        ("redis.call('ZREM', pending_key(given.pool, given.pin), job)\n", "", "granted a second time"),
        ("if at == 'R' then", "if false then", "handed to RQ while it runs"),
        ("if status ~= '' then redis.call('ZREM'", "if false then redis.call('ZREM'", "a job on two lists"),
        (
            "if FINAL[given.status] then redis.call('EXPIRE'",
            "if false then redis.call('EXPIRE'",
            "final, and kept for ever",
        ),
        ("redis.call('ZADD', slots_key(pool, channel), lease.granted_ms, job)\n", "", "the slot is granted again"),
        ("if state == 'D' then check =", "if false then check =", "a draining slot is freed too early"),
        ("'NX', 'PX', ARGV[7])", "'XX', 'PX', ARGV[7])", "its id may be taken"),
        ("elseif state ~= 'C' then\n", "elseif false then\n", "two unanswered at once"),
        ("int(math.max(last, tonumber(token)))", "int(last)", "a token is minted below one that is held"),
        ("if redis.call('EXISTS', delivery_key(job, token)) == 0 then", "if false then", "RQ knows nothing of it"),
        ("redis.call('PERSIST', delivery_key(job, token))\n", "", "RQ forgets what runs"),
    ),
    *_in(
        "account_put",
        ("if owner and owner ~= pool then", "if false then", "a channel with two owners"),
        ("if holder and holder ~= channel then", "if false then", "a secret on two channels"),
        ("refill(pool, channel)\n", "", "a raised limit serves nobody"),
        ("  forget_checks(pool, channel)\n", "", "an active account is checked"),
        ("  redis.call('HDEL', key, 'daily_cap')\n", "", "a new account has its predecessor's cap"),
        ("if ARGV[12] ~= '' then", "if false then", "an account has no cap of its own"),
        ("(state == 'disabled' and old_digest ~= digest)", "state ~= 'active'", "a pause is overwritten"),
        ("if cooling > now then", "if false then", "registered again, and never re-admitted"),
        ("if old_digest ~= '' then redis.call('HDEL'", "if false then redis.call('HDEL'", "an old secret stays taken"),
    ),
    *_in(
        "account_remove",
        ("redis.call('SREM', ns .. ':accounts:' .. pool, channel)\n", "", "a deleted account is still shown"),
        ("redis.call('ZREM', free_key(pool), channel)\n", "", "a deleted account is granted from"),
        ("end_drain(pool, channel)\n", "", "an idle account is never forgotten"),
        ("  redis.call('ZREM', pinned, job)\n", "", "a failed job still waits"),
        ("if digest ~= '' then", "if false then", "its secret stays taken"),
    ),
    *_in(
        "account_state",
        (" or before == 'deleted'", "", "a deleted account lives again"),
        ("refill(pool, channel)\n", "", "a stopped account is granted from"),
        ("'reason', ARGV[6]", "'reason', ''", "nobody knows why"),
        ("end_drain(pool, channel)\n", "", "an idle account drains for ever"),
        ("== 'capped' then", "== '' then", "a raised cap is not seen until tomorrow"),
    ),
    *_in(
        "account_state",
        ("forget_checks(pool, channel)\n", "", "what its operator stopped is checked"),
        ("'revive', ''", "'revived', ''", "a check resumes what its operator stopped"),
        killers=(lua("account_check"), lua("account_checked")),
    ),
]

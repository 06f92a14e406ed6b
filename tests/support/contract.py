"""The contract's cases (tests/data/contract-cases.json, kept whole), played against `dispatcher up --simulator`.

Each case has users, channels and Discord tokens of its own: wherever a case writes a channel's id, the player puts the
case's own, so that no case sees what another left. What a case needs (accounts, jobs in some state, trouble upstream)
is read from its ``setup`` and from the placeholders that it uses.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from bench.hook import Hook
from dispatcher import Client, Create, Job
from dispatcher.access import Access, new_token
from dispatcher.connection import open_store
from dispatcher.plan import carry_out
from dispatcher.settings import Settings
from tests.support.expectations import check
from tests.support.images import jpeg, png
from tests.support.up import SERVER, Up, until

CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "contract-cases.json").read_text())
CHANNEL, OTHER_CHANNEL = "1197013797467074673", "1236110641325019228"
"""As the cases write them."""
ACCOUNT = "/v1/pixverse/account"
JOBS = "/v1/pixverse/jobs"
_PLACE = re.compile(r"\{\{(?P<name>[^{}]+)\}\}")
_PART = re.compile(r"(?P<end>first|last)3 of (?P<name>\w+)")
_STORED = re.compile(rf"account {CHANNEL} (?:stored \(discord \S+, )?maxJobs (?P<max_jobs>\d+)\)?(?P<busy> with .*)?")
_RUNS_S = 600
_LIVES_S = 31 * 86_400
_NUMBERS = count(1)
_DIRECTIVES = {"backend answers 429": "submit=429", "backend moderates": "outcome=moderated"}
_TOLD = frozenset({"no accounts stored", "no job executing", "job executing", "job submitted with replyRef ref-1"})
"""Said again by the placeholders, or true of every user at first."""


@dataclass
class Stage:
    """One case's world: users, channels and tokens that no other case has."""

    up: Up
    hook: Hook
    closed_url: str
    number: int = field(default_factory=lambda: next(_NUMBERS))
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for letter in "ABC":
            self.values[f"DISCORD_{letter}"] = f"MTE5{letter}{secrets.token_hex(16)}.GxYz12.{secrets.token_hex(18)}"
        self.values |= {"SERVER": SERVER, "LISTENER": f"{self.hook.url}/case-{self.number}"}
        self.values["TOKEN"] = self.token(self.user)
        self.values["TOKEN_OTHER_USER"] = self.token(self.user + 1)

    @property
    def user(self) -> int:
        return 1000 + 2 * self.number

    def channel(self, written: str) -> str:
        """The case's own channel in place of the one that it writes."""
        return f"{written[:-6]}{self.number:06d}"

    def token(self, user: int) -> str:
        token = new_token(user)
        settings = Settings(redis_url=self.up.ready()["redis_url"])
        store = open_store(str(settings.redis_url), settings.namespace)
        carry_out(store, Access(settings).add(token))
        store.close()
        return token.get_secret_value()

    @cached_property
    def client(self) -> Client:
        """The same user in Python."""
        return Client(self.up.ready()["redis_url"], user=self.user, state_dir=self.up.state_dir)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API as the case's user."""
        return self.up.call(method, path, token=self.values["TOKEN"], **options)

    def close(self) -> None:
        """Close what was opened."""
        if "client" in vars(self):
            self.client.close()

    # --- what must be there before ------------------------------------------------------------------

    def set_up(self, case: dict[str, Any]) -> None:
        """Make what the case presupposes."""
        for line in case.get("setup", []):
            self.presuppose(line)
        names = set(_PLACE.findall(json.dumps(case)))
        for name in sorted(names & _JOBS.keys()):
            self.values[name] = _JOBS[name](self).jobid

    def presuppose(self, line: str) -> None:
        if stored := _STORED.fullmatch(line):
            self.register(CHANNEL, "A", max_jobs=int(stored["max_jobs"]))
            if stored["busy"]:
                self.running_job()
        elif line == f"accounts {CHANNEL} and {OTHER_CHANNEL} stored":
            self.register(CHANNEL, "A")
            self.register(OTHER_CHANNEL, "B")
        elif line in _DIRECTIVES:
            asked = {"directive": _DIRECTIVES[line], "count": 1, "channel": self.channel(CHANNEL)}
            httpx.post(f"{self.up.ready()['simulator']}/sim/next", json=asked, timeout=30).raise_for_status()
        else:
            assert line in _TOLD or line == "clock moved 31 days" or "{{JOB_" in line, f"not known: {line}"

    def register(self, written: str, letter: str, *, max_jobs: int = 3) -> None:
        channel = self.channel(written)
        body = {"discord": self.values[f"DISCORD_{letter}"], "server": SERVER, "channel": channel, "maxJobs": max_jobs}
        answer = self.call("POST", f"{ACCOUNT}/{channel}", json=body)
        assert answer.status_code == 204, answer.text

    def job(self, directive: str, **options: Any) -> Job:
        """Enqueue a job on the case's account, which is registered if the case has not said so."""
        if self.call("GET", f"{ACCOUNT}/{self.channel(CHANNEL)}").status_code == 404:
            self.register(CHANNEL, "A")
        prompt = f"Sun over San Francisco {secrets.token_hex(6)} [[sim {directive}]]"
        return self.client.enqueue(Create(prompt=prompt, style="Realistic"), **options)

    def running_job(self, **options: Any) -> Job:
        job = self.job(f"seconds={_RUNS_S} ack=0.1", **options)
        until(lambda: self.client.get(job.id).status in ("started", "progress"), "the job runs")
        return job

    def ended_job(self, status: str = "completed") -> Job:
        job = self.client.wait(self.job(f"seconds=0.1 outcome={status}").id, timeout_s=60)
        assert job.status == status
        return job

    def job_of_31_days(self) -> Job:
        """An ended job that the store keeps beyond the 31st day after its acceptance, by the store's own clock."""
        job = self.ended_job()
        settings = Settings(redis_url=self.up.ready()["redis_url"])
        store = open_store(str(settings.redis_url), settings.namespace)
        dies_ms = int(store.client.pexpiretime(store.keys.job(job.id)))
        store.close()
        assert dies_ms >= (job.created.timestamp() + _LIVES_S) * 1000 - 1000
        return job

    # --- requests ------------------------------------------------------------------------------------

    def filled(self, value: Any) -> Any:
        """Fill placeholders, ids and ``$`` forms in; a placeholder that is not known must not pass for a value."""
        text = json.dumps(value, ensure_ascii=False)
        text = text.replace(CHANNEL, self.channel(CHANNEL)).replace(OTHER_CHANNEL, self.channel(OTHER_CHANNEL))
        return _expanded(json.loads(_PLACE.sub(self._value, text)))

    def _value(self, found: re.Match[str]) -> str:
        if part := _PART.fullmatch(found["name"]):
            whole = self.values[part["name"]]
            return whole[:3] if part["end"] == "first" else whole[-3:]
        return self.values[found["name"]]

    def send(self, request: dict[str, Any]) -> httpx.Response:
        """Send a request of the case, filled in; a step without headers of its own comes from the case's user."""
        headers = dict(request.get("headers", {"Authorization": f"Bearer {self.values['TOKEN']}"}))
        url = f"{self.up.ready()['url']}{request['path']}"
        body = request.get("body")
        if request.get("encoding") == "multipart":
            headers.pop("Content-Type")  # the client writes it, with its boundary
            return httpx.request(request["method"], url, headers=headers, files=_parts(body), timeout=60)
        content = None if body is None else body if isinstance(body, str) else json.dumps(body)
        return httpx.request(request["method"], url, headers=headers, content=content, timeout=60)

    def play(self, case: dict[str, Any]) -> None:
        """Play a case of request and answer, and what follows."""
        self.set_up(case)
        check(self.send(self.filled(case["request"])), self.filled(case["expect"]))
        for step in case.get("then", []):
            filled = self.filled(step)
            check(self.send(filled), filled["expect"])

    def play_callback(self, case: dict[str, Any]) -> None:
        """Play a case that submits a job and waits for what is posted about it."""
        expected = case["expect_callback"]
        if "job_status" in expected:
            self.values["LISTENER"] = self.closed_url
        self.register(CHANNEL, "A")
        submit = self.filled(case["submit"])
        if "before" in submit:
            assert self.send(submit["before"]).status_code in (200, 204)
        answer = self.send(submit)
        assert answer.status_code == 200, answer.text
        jobid = answer.json()["jobid"]
        if "job_status" in expected:
            assert self.client.wait(jobid, timeout_s=60).status == expected["job_status"]
            return
        prefix = f"/case-{self.number}/"
        heard = until(lambda: next((call for call in self.hook.heard if call.path.startswith(prefix)), None), "a call")
        assert ("POST", heard.path) == (
            expected["method"],
            f"/case-{self.number}{expected['path']}",
        )
        body = json.loads(heard.body)
        if expected.get("json_equals"):
            assert body == self.call("GET", f"{JOBS}/?jobid={jobid}").json()
        subset = {name: expected[name] for name in ("json_subset", "json_types") if name in expected}
        check(httpx.Response(200, json=body), self.filled(subset))
        if "content_type" in expected:
            assert heard.headers["content-type"].partition(";")[0] == expected["content_type"]


_JOBS: dict[str, Callable[[Stage], Job]] = {
    "JOB_DONE": lambda stage: stage.ended_job(),
    "JOB_FAILED": lambda stage: stage.ended_job("failed"),
    "JOB_RUNNING": lambda stage: stage.running_job(),
    "JOB_WITH_REF": lambda stage: stage.running_job(reply_ref="ref-1"),
    "JOB_31_DAYS_OLD": lambda stage: stage.job_of_31_days(),
}


def _expanded(value: Any) -> Any:
    match value:
        case {"$repeat": [str(text), int(times)]}:
            return text * times
        case {"$concat": [*parts]}:
            return "".join(map(_expanded, parts))
        case {"$raw": str(text)}:
            return text
        case dict():
            return {name: _expanded(part) for name, part in value.items()}
        case list():
            return [_expanded(part) for part in value]
        case _:
            return value


def _parts(body: Any) -> list[tuple[str, Any]]:
    """Parts of a form, in order, for httpx."""
    pairs = [[name, value] for name, value in body.items()] if isinstance(body, dict) else body
    return [_part(pair) for pair in pairs]


def _part(pair: Any) -> tuple[str, Any]:
    match pair:
        case [str(name), str(value)]:
            return name, (None, value)
        case {"name": str(name), "file": {"filename": filename, "content_type": content_type, "magic": magic}}:
            content = {"png": png, "jpeg": jpeg}[magic](secrets.token_hex(8))
            return name, (filename, content, content_type)
        case _:
            raise AssertionError(f"not known: {pair}")

"""What valid calls need to succeed: accounts that may be posted and removed, jobs in every state; and what came back.

schemathesis makes calls that are valid by the document; which ids exist no document can say. Its hooks put real ones
into every valid call, and leave every invalid one as it is.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import requests

from dispatcher import Client, CreateSingle
from tests.support.images import png
from tests.support.up import SERVER, Up, until

HOME = "1190000000000000001"
"""The account that stays; jobs run on it."""
POSTED = [f"11900000000001000{number:02}" for number in range(8)]
ACCOUNT = "/v1/pixverse/account"
ENDED_JOBS, RUNNING_JOBS, WAITING_JOBS = 8, 10, 40
SUBMITS = ("create", "create_single", "animate", "meme_face", "button")
QUICK = "[[sim seconds=0.1]]"
PROMPT_CHARACTERS = 400
PATIENCE_S = 30
OTHER = "other methods"


class World:
    """One service, prepared; ``answers`` counts statuses by operation."""

    def __init__(self, up: Up) -> None:
        self.url = up.ready()["url"]
        self.headers = {"Authorization": f"Bearer {up.token()}"}
        self.answers: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._turns = itertools.count()
        up.register(HOME, max_jobs=RUNNING_JOBS)
        with Client(up.ready()["redis_url"], state_dir=up.state_dir) as client:
            ended = client.enqueue_many(_orders(ENDED_JOBS, "seconds=0.1"))
            client.wait_many([job.id for job in ended], timeout_s=60)
            lasting = client.enqueue_many(_orders(RUNNING_JOBS + WAITING_JOBS, "seconds=3600"))
            until(lambda: len(client.jobs("created")) <= WAITING_JOBS, "jobs run on every slot")
        self.ended = [job.jobid for job in ended]
        self.lasting = [job.jobid for job in lasting]
        self._fittings: dict[tuple[str, str], Callable[[Any], None]] = {
            ("GET", f"{ACCOUNT}/{{channel}}"): self._read_account,
            ("POST", f"{ACCOUNT}/{{channel}}"): self._post_account,
            ("DELETE", f"{ACCOUNT}/{{channel}}"): self._remove_account,
            ("GET", "/v1/pixverse/jobs"): self._read_job,
            ("GET", "/v1/pixverse/jobs/cancel"): self._cancel_job,
            **{("POST", f"/v1/pixverse/{verb}"): self._submit for verb in SUBMITS},
        }

    def fit(self, case: Any) -> None:
        """Put ids that exist into a call that is valid by the document; a quarter of the reads keep unknown ones."""
        fitting = self._fittings.get((case.method.upper(), case.path))
        if fitting and (case.method.upper() == "POST" or next(self._turns) % 4):
            fitting(case)

    def count(self, case: Any, status: int) -> None:
        """Note an answer; those to methods that the document does not have are taken together."""
        label = f"{case.method.upper()} {case.path}"
        known = case.method.lower() in case.operation.schema.raw_schema["paths"].get(case.path, {})
        self.answers[label if known else OTHER][status] += 1

    def _read_account(self, case: Any) -> None:
        case.path_parameters = {"channel": HOME}

    def _post_account(self, case: Any) -> None:
        channel = POSTED[next(self._turns) % len(POSTED)]
        case.path_parameters = {"channel": channel}
        if isinstance(case.body, dict):  # a Discord token is one account's
            case.body = {**case.body, "channel": channel, "discord": f"{str(case.body.get('discord'))[:40]}{channel}"}

    def _remove_account(self, case: Any) -> None:
        channel = POSTED[next(self._turns) % len(POSTED)]
        body = {"discord": f"discord-token-of-{channel}", "server": SERVER, "channel": channel, "maxJobs": 1}
        requests.post(f"{self.url}{ACCOUNT}/{channel}", json=body, headers=self.headers, timeout=PATIENCE_S)
        case.path_parameters = {"channel": channel}

    def _read_job(self, case: Any) -> None:
        ids = [*self.ended, *self.lasting]
        case.query = {"jobid": ids[next(self._turns) % len(ids)]}

    def _cancel_job(self, case: Any) -> None:
        ids = [*self.ended, *self.lasting[RUNNING_JOBS:]]
        case.query = {"jobid": ids[next(self._turns) % len(ids)]}

    def _submit(self, case: Any) -> None:
        """Let a job wait for its slot, on a stored account, and end soon."""
        case.query = {**(case.query or {}), "queue": "true"}
        if not isinstance(case.body, dict):
            return
        body = {name: value for name, value in case.body.items() if name not in _OF_INLINE_ACCOUNTS}
        body |= {name: png(json.dumps(next(self._turns))) for name in ("image", "face") if name in body}
        if case.path.endswith("/button"):
            body |= {"jobid": self.ended[0], "button": "ReDo"}
        elif "prompt" in body:
            words = str(body["prompt"]).replace("[[", "").replace("]]", "")[:PROMPT_CHARACTERS]
            body["prompt"] = f"{QUICK} {words}"
        case.body = body


_OF_INLINE_ACCOUNTS = frozenset({"discord", "server", "channel", "maxJobs", "replyUrl"})


def _orders(count: int, directive: str) -> list[CreateSingle]:
    return [
        CreateSingle(prompt=f"order {number} [[sim {directive} progress=0]]", style="Anime") for number in range(count)
    ]

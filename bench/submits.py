"""500 callers submit over HTTP at the same moment, on ten free slots: who is refused, who waits, what the upstream saw.

python -m bench.submits --callers 500
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from bench.stage import Stage, stage
from bench.verdict import is_clean, verdict
from dispatcher import Client
from dispatcher.access import Access, new_token
from dispatcher.plan import carry_out

LIMITS = (4, 3, 3)
SETTINGS = {"poll_min_s": 0.5, "poll_max_s": 1.0}
CALL_S = 120.0
READY_S = 30.0
TIMEOUT_S = 300.0


def start_api(on: Stage) -> tuple[str, str]:
    """Start the API; its URL and a token."""
    token = new_token(1)
    carry_out(on.store, Access(on.settings).add(token))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    on.start("api", "--port", str(port))
    url, end_s = f"http://127.0.0.1:{port}", time.monotonic() + READY_S
    while True:
        try:
            httpx.get(f"{url}/readyz").raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)
        else:
            return url, token.get_secret_value()


async def submit_all(url: str, token: str, *, callers: int, seconds: float, query: str = "") -> list[httpx.Response]:
    """Submit from all callers at once, each on a connection of its own; the answers."""
    limits = httpx.Limits(max_connections=callers)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=CALL_S) as http:
        asked = [
            {"prompt": f"{query or 'now'} {n} [[sim seconds={seconds} ack=0.2 progress=0]]", "style": "Anime"}
            for n in range(callers)
        ]
        path = f"/v1/pixverse/create_single{query}"
        return await asyncio.gather(*(http.post(path, json=body) for body in asked))


def refused_or_accepted(on: Stage, url: str, token: str, *, callers: int) -> dict[str, Any]:
    """Jobs that last; all but ten callers are told who runs."""
    answers = asyncio.run(submit_all(url, token, callers=callers, seconds=60))
    accepted = {answer.json()["jobid"] for answer in answers if answer.status_code == httpx.codes.OK}
    refusals = [answer for answer in answers if answer.status_code == httpx.codes.TOO_MANY_REQUESTS]
    named = [set(answer.json().get("executingJobs", ())) for answer in refusals]
    oracle = on.oracle()
    return {
        "statuses": dict(Counter(answer.status_code for answer in answers)),
        "naming all that run": sum(1 for ids in named if ids == accepted),
        "saying when to come back": sum(1 for answer in refusals if "retry-after" in answer.headers),
        "submitted upstream": oracle["totals"]["accepted"],
        "breaches": oracle["breaches"],
    }


def queued(on: Stage, url: str, token: str, *, callers: int) -> dict[str, Any]:
    """Short jobs that wait for a slot; all complete."""
    began_s = time.monotonic()
    answers = asyncio.run(submit_all(url, token, callers=callers, seconds=0.2, query="?queue=true"))
    answered_s = time.monotonic() - began_s
    ids = [answer.json()["jobid"] for answer in answers if answer.status_code == httpx.codes.OK]
    with Client(on.settings.redis_url) as client:
        ended = client.wait_many(ids, timeout_s=TIMEOUT_S)
    figures = verdict(ended, on.oracle(), slots_held=on.slots_held())
    return {
        "statuses": dict(Counter(answer.status_code for answer in answers)),
        "all answered after s": round(answered_s, 2),
        "all ended after s": round(time.monotonic() - began_s, 1),
        **figures,
    }


def is_acceptable(first: dict[str, Any], second: dict[str, Any], *, callers: int) -> bool:
    """Whether exactly the free slots were given away, every refusal said why, and nothing that waited was lost."""
    slots = sum(LIMITS)
    is_exact = first["statuses"] == {200: slots, 429: callers - slots} and first["submitted upstream"] == slots
    is_told = first["naming all that run"] == first["saying when to come back"] == callers - slots
    is_whole = second["statuses"] == {200: callers} and second["jobs"] == {"completed": callers}
    return is_exact and is_told and is_whole and not first["breaches"] and is_clean(second)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=500)
    callers = parser.parse_args().callers
    figures = []
    for play in (refused_or_accepted, queued):
        with tempfile.TemporaryDirectory(prefix="pxd-submits-") as folder, stage(Path(folder), SETTINGS) as on:
            on.start("run")
            on.start("work")
            on.start("work")
            on.add_accounts(LIMITS)
            figures.append(play(on, *start_api(on), callers=callers))
    print(json.dumps(dict(zip(("at once", "queued"), figures, strict=True)), indent=2))
    return 0 if is_acceptable(figures[0], figures[1], callers=callers) else 1


if __name__ == "__main__":
    sys.exit(main())

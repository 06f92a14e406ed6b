"""The operator: registers accounts over HTTP all the time, and gives a disabled one a new token, as a person would."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

import httpx

from bench.stage import SERVER
from chaos.eye import Eye, Upstream

ROUND_S = 0.5
ANSWER_S = 5.0


@dataclass(slots=True)
class Login:
    """An account as the operator has it written down."""

    channel: str
    max_jobs: int
    version: int = 0

    @property
    def token(self) -> str:
        """The Discord token; each version is another."""
        suffix = f"-{self.version}" if self.version else ""
        return f"discord-token-of-{self.channel}{suffix}"


class Operator:
    """Works through the API as long as the run lasts; a call that fails is made again.

    Args:
        api_url: of the API, which may be away.
        api_token: the bearer token.
        eye: shows which accounts are disabled.
        upstream_url: of the simulator, which is told of new tokens first.
        logins: the accounts.
        seed: of the order in which accounts are registered again.
    """

    def __init__(
        self, *, api_url: str, api_token: str, eye: Eye, upstream_url: str, logins: list[Login], seed: int
    ) -> None:
        self.logins = {login.channel: login for login in logins}
        self.answers = 0
        self.failures = 0
        self._http = httpx.Client(base_url=api_url, timeout=ANSWER_S, headers={"Authorization": f"Bearer {api_token}"})
        self._eye = eye
        self._upstream = Upstream(upstream_url)
        self._dice = random.Random(seed)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()
        self._http.close()
        self._upstream.close()

    def is_ready(self) -> bool:
        """Whether the API answers that it is."""
        try:
            return httpx.get(f"{self._http.base_url}/readyz", timeout=ANSWER_S).is_success
        except httpx.HTTPError:
            return False

    def _run(self) -> None:
        while not self._stopped.wait(ROUND_S):
            glance = self._eye.look()
            disabled = sorted(glance.disabled & self.logins.keys()) if glance else []
            for channel in disabled:
                login = self.logins[channel]
                login.version += 1
                self._upstream.declare(token=login.token, server=SERVER, channel=channel, max_jobs=login.max_jobs)
                self._register(login)
            self._register(self._dice.choice(list(self.logins.values())))

    def _register(self, login: Login) -> None:
        """Register an account as it is written down: what changed nothing changes nothing."""
        body = {
            "discord": login.token,
            "server": SERVER,
            "channel": login.channel,
            "maxJobs": login.max_jobs,
        }
        try:
            answer = self._http.post(f"/v1/pixverse/account/{login.channel}", json=body)
        except httpx.HTTPError:
            self.failures += 1
            return
        self.answers += answer.is_success
        self.failures += not answer.is_success

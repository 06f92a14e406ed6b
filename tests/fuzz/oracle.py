"""The upstream: it knows accounts, submissions and time, and nothing of leases. It alone counts what runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import Literal

Answer = Literal["taken", "429", "401", "captcha", "lost", "lost though taken"]
Outcome = Literal["completed", "failed", "moderated", "refused"]

ANSWERS: tuple[tuple[Answer, int], ...] = (
    ("taken", 880),
    ("429", 45),
    ("401", 6),
    ("captcha", 3),
    ("lost", 22),
    ("lost though taken", 44),
)
OUTCOMES: tuple[tuple[Outcome, int], ...] = (("completed", 80), ("failed", 8), ("moderated", 6), ("refused", 6))


@dataclass(eq=False, slots=True)
class Submission:
    """One job that the upstream took; ``store_ms`` is when it was permitted, on the store's clock."""

    number: int
    job: str
    channel: str
    sent_ms: int
    store_ms: int
    outcome: Outcome
    shown_ms: int
    ends_ms: int

    @property
    def remote_id(self) -> str:
        """The id under which its answers are found."""
        return f"x{self.number}"


@dataclass(frozen=True, slots=True)
class Permission:
    """What a permission to submit said, and when, on the upstream's clock."""

    job: str
    channel: str
    given_ms: int


class Upstream:
    """All channels of one history."""

    def __init__(self, chance: Random, *, outlives_ms: int, job_ms: tuple[int, int]) -> None:
        self._chance = chance
        self._outlives_ms = outlives_ms
        self._job_ms = job_ms
        self._limits: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self.by_channel: defaultdict[str, list[Submission]] = defaultdict(list)
        self.unrefused: dict[str, Submission] = {}
        self.of_remote: dict[str, Submission] = {}
        self.breaches: list[tuple[str, str]] = []
        self.taken = 0
        self.outlived = 0
        self.peak = 0

    def declare(self, channel: str, limit: int, *, now_ms: int) -> None:
        """From now on the channel may run so many."""
        self._limits[channel].append((now_ms, limit))

    def submit(self, permission: Permission, *, now_ms: int, store_ms: int) -> Answer:
        """A request arrives; what it is answered, or that the answer gets lost."""
        answers = [name for name, _ in ANSWERS]
        answer = self._chance.choices(answers, [weight for _, weight in ANSWERS])[0]
        if answer.endswith("taken"):
            self._take(permission, now_ms=now_ms, store_ms=store_ms)
        return answer

    def answers(self, channel: str, *, since_ms: int, until_ms: int, now_ms: int) -> list[Submission]:
        """What a reader of the channel sees of the submissions that were sent between two instants."""
        return [
            submission
            for submission in self.by_channel[channel]
            if since_ms <= submission.sent_ms <= until_ms and submission.shown_ms <= now_ms
        ]

    def running(self, channel: str, *, now_ms: int) -> list[Submission]:
        """What the channel runs now."""
        return [submission for submission in self.by_channel[channel] if submission.ends_ms > now_ms]

    def refuse(self, submission: Submission) -> None:
        """The bot refused it after it was taken, or failed it and the job has more attempts: it may come again."""
        if self.unrefused.get(submission.job) is submission:
            del self.unrefused[submission.job]

    def _take(self, permission: Permission, *, now_ms: int, store_ms: int) -> None:
        channel, job = permission.channel, permission.job
        running = self.running(channel, now_ms=now_ms)
        held = [other for other in running if store_ms - other.store_ms < self._outlives_ms]
        self.outlived += len(running) - len(held)
        limit = self._limit(channel, since_ms=permission.given_ms)
        if len(held) >= limit:
            names = [other.job for other in held]
            self.breaches.append(("over-use", f"{job} is taken by {channel} (limit {limit}) beside {names}"))
        if earlier := self.unrefused.get(job):
            self.breaches.append(("double submission", f"{job} on {channel}, and before on {earlier.channel}"))
        self.taken += 1
        self.peak = max(self.peak, len(held) + 1)
        outcomes = [name for name, _ in OUTCOMES]
        submission = Submission(
            number=self.taken,
            job=job,
            channel=channel,
            sent_ms=now_ms,
            store_ms=store_ms - (now_ms - permission.given_ms),
            outcome=self._chance.choices(outcomes, [weight for _, weight in OUTCOMES])[0],
            shown_ms=now_ms + self._chance.randint(200, 9000),
            ends_ms=0,
        )
        submission.ends_ms = submission.shown_ms + (0 if submission.outcome == "refused" else self._length_ms())
        self.by_channel[channel].append(submission)
        self.unrefused[job] = self.of_remote[submission.remote_id] = submission

    def _length_ms(self) -> int:
        draw = self._chance.random()
        if draw < 0.12:  # it outlives its deadline, and is held
            return self._chance.randint(self._outlives_ms // 2, self._outlives_ms * 9 // 10)
        if draw < 0.125:  # it outlives the hold too: beyond anyone's repair
            return self._outlives_ms + self._chance.randint(0, 60_000)
        return self._chance.randint(*self._job_ms)

    def _limit(self, channel: str, *, since_ms: int) -> int:
        """The largest limit that stood between an instant and now: a permission holds for the moment of sending."""
        stood = 0
        for at_ms, limit in self._limits[channel]:
            stood = max(stood, limit) if at_ms >= since_ms else limit
        return stood

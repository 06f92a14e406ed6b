"""The hand-off to RQ: its names and shapes, given to the scripts, which write RQ's job hash themselves.

Nothing here imports rq: importing it reads its key prefix once for the whole process and loads the worker. A contract
test holds the hash that ``lua/_handoff.lua`` writes against ``rq.job.Job.to_dict()`` of the installed RQ.
"""

from __future__ import annotations

from dataclasses import dataclass

QUEUE = "pixverse"
RUN_JOB = "workers.run.run_job"
CHECK_ACCOUNT = "workers.check.check_account"
REFRESH_LINKS = "workers.links.refresh_links"
RESULT_TTL_S = 500
"""How long RQ keeps a finished delivery; the job's own record is the durable one."""
FAILURE_TTL_S = 86_400
"""How long RQ keeps a failed delivery in its registry."""

PREFIX_VARIABLE = "RQ_KEY_PREFIX"


def rq_prefix(namespace: str) -> str:
    """RQ's key prefix inside our hash tag; must be in the environment before rq is first imported."""
    return f"{namespace}:rq"


def lua_constants() -> str:
    """Render what ``_handoff.lua`` needs to know of RQ."""
    return (
        f"local RQ = {{ origin = '{QUEUE}', callable = '{RUN_JOB}', check_callable = '{CHECK_ACCOUNT}', "
        f"links_callable = '{REFRESH_LINKS}', result_ttl = '{RESULT_TTL_S}', failure_ttl = '{FAILURE_TTL_S}' }}\n"
    )


def subject_of(text: str, *, prefix: str, noun: str) -> str:
    """Read what a worker is asked about out of the question's RQ job id, ``<prefix><subject>-<token>``.

    Raises:
        ValueError: it is not one of ours; ``noun`` says what it should have been.
    """
    subject, _, token = text.removeprefix(prefix).rpartition("-")
    if not text.startswith(prefix) or not subject or not token.isdecimal():
        raise ValueError(f"{text!r:.80} is not the id of a {noun}")
    return subject


@dataclass(frozen=True, slots=True)
class DeliveryId:
    """One hand-off of a job: the RQ job id ``<job>-<token>``."""

    job_id: str
    token: int

    def __str__(self) -> str:
        return f"{self.job_id}-{self.token}"

    @classmethod
    def parse(cls, text: str) -> DeliveryId:
        """Read an RQ job id.

        Raises:
            ValueError: it is not one of ours.
        """
        job_id, _, token = text.rpartition("-")
        if not job_id or not token.isdecimal():
            raise ValueError(f"{text!r:.80} is not a delivery id")
        return cls(job_id, int(token))

"""Our own names for a submission, from which a session's events lead to its interaction.

A name follows from the job and from the instant that `mark S` keeps with the lease (``upstream_ms``): whoever looks the
submission up knows it, and nothing more is kept for it.
"""

from __future__ import annotations

import hashlib

from workers.upstream.discord.snowflake import first_at

_JOB_BITS = 21
"""What a snowflake has below its instant, less the bit that tells the two names apart."""


def nonces_of(job_id: str, upstream_ms: int) -> tuple[str, str]:
    """Name a submission, and its one repetition where Discord called the command outdated.

    Two submissions of one user have the same names only if they were permitted within the same millisecond and one in
    two million strikes; a claim in Redis then still gives each interaction to one job.

    Args:
        job_id: the job's.
        upstream_ms: when its permission was asked for, by Discord's clock.
    """
    drawn = int.from_bytes(hashlib.blake2b(job_id.encode(), digest_size=4).digest()) >> (32 - _JOB_BITS)
    name = first_at(upstream_ms) | drawn << 1
    return str(name), str(name | 1)

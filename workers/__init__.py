"""From "RQ has it" to "it is settled": the asyncio RQ worker, one job's straight line, and the upstream clients."""

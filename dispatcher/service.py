"""The background service, `dispatcher run`: refills, reaps, calls back, checks accounts, cleans, audits.

One or more run, without a leader.

It is the safety net. Slots are granted by whichever script frees them, with no service running; without one, only
lost leases stay lost, callbacks wait, and old entries stay listed until one is back.
"""

from __future__ import annotations

import asyncio
import signal

from dispatcher.auditor import Auditor
from dispatcher.caller import Caller
from dispatcher.cleaner import Cleaner
from dispatcher.connection import open_async_store
from dispatcher.learner import Learner
from dispatcher.learning import Learning
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.reaper import Reaper
from dispatcher.rechecker import Rechecker
from dispatcher.refiller import Refiller
from dispatcher.settings import Settings
from dispatcher.slots import Slots

log = get_logger(__name__)


def run_service(settings: Settings) -> None:
    """Run the loops until SIGTERM or SIGINT; ``settings.redis_url`` names the store.

    A store that is away is waited for, at the start as later.
    """
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Run the loops on this event loop until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stopped.set)
    store = open_async_store(str(settings.redis_url), settings.namespace)
    slots = Slots(settings)
    loops: list[Loop] = [
        Refiller(store, slots),
        Reaper(store, slots, sweep_s=settings.sweep_s),
        Learner(store, Learning(settings)),
        Cleaner(store, settings),
        Auditor(store, settings),
        Rechecker(store, settings),
        Caller(store, settings),
    ]
    for loop in loops:
        loop.start()
    log.info("service started", sweep_s=settings.sweep_s)
    await stopped.wait()
    for loop in loops:
        await loop.stop()
    await store.close()
    log.info("service stopped")

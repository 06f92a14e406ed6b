"""The store of a chaos run: a real Valkey and its replica, reached through a proxy, that can be struck in every way.

Each fault is a method: it strikes, waits until the store serves again, and returns the :class:`Outage`. Faults on the
servers exclude one another; those on the way to them (``proxy``) overlap with all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from chaos import clock
from chaos.node import HOST, Checkpoint, Node, NodeFailed
from chaos.outage import Outage
from chaos.proxy import Proxy

LOST_S = 1.0
"""How much of the store's last writes is lost in a fault that loses writes."""
_STEP_TOLERANCE_S = 0.5


class ChaosStore:
    """Two servers, one of which serves, and the way to it.

    Args:
        folder: for the servers' files and logs.
        port: where clients come in; 0 lets the kernel choose.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.clock = clock.Clock(folder / "clock") if clock.available() else None
        """The servers' clock; None without libfaketime: ``clock.MISSING`` says so."""
        self._serving, self._standby = (Node(name, folder, self.clock) for name in ("first", "second"))
        self._first = self._serving
        self._port = port
        self._proxy: Proxy | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # --- what callers use ----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """For everybody: through the proxy, the same for the whole run."""
        return f"redis://{HOST}:{self.proxy.port}/0"

    def url_for(self, label: str) -> str:
        """For one client that is to be parted from the store by ``proxy.partition(label, …)``; the same store."""
        return f"redis://{HOST}:{self.proxy.port_for(label)}/0"

    @property
    def direct_url(self) -> str:
        """For who looks on: past the proxy, of the server that serves now; a failover changes it."""
        return f"redis://{HOST}:{self._serving.port}/0"

    @property
    def proxy(self) -> Proxy:
        """The way to the store, with faults of its own.

        Raises:
            NodeFailed: the store is not started.
        """
        if self._proxy is None:
            raise NodeFailed("the store is not started")
        return self._proxy

    @property
    def serving(self) -> Node:
        """The server that serves now."""
        return self._serving

    @property
    def standby(self) -> Node:
        """Its replica."""
        return self._standby

    @property
    def has_failed_over(self) -> bool:
        """Whether the second server serves, so that ``fail_back`` is the next."""
        return self._serving is not self._first

    def start(self) -> None:
        """Start both servers, and the proxy once the replica is in sync."""
        with self._lock:
            try:
                self._serving.start()
                self._attach_standby()
                self._standby.await_sync(self._serving)
                self._proxy = Proxy(self._port, backend=self._serving.port)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop everything; the files stay."""
        with self._lock:
            if self._proxy is not None:
                self._proxy.close()
            self._proxy = None
            self._standby.stop()
            self._serving.stop()

    # --- faults that lose nothing --------------------------------------------------------------------

    def kill_and_restart(self) -> Outage:
        """SIGKILL the server and start it on its append-only file."""
        with self._lock:
            began_s = time.monotonic()
            self._serving.kill()
            self._serving.start()
            ended_s = time.monotonic()
            self._standby.follow(self._serving)
            self._standby.await_sync(self._serving)
            return Outage(kind="kill_and_restart", began_s=began_s, ended_s=ended_s)

    def freeze(self, seconds: float) -> Outage:
        """SIGSTOP the server, and SIGCONT it after so long."""
        with self._lock:
            began_s = time.monotonic()
            self._serving.freeze(seconds)
            return Outage(kind="freeze", began_s=began_s, ended_s=time.monotonic())

    def script_flush(self) -> Outage:
        """SCRIPT FLUSH: the next EVALSHA of each script is answered NOSCRIPT."""
        with self._lock:
            began_s = time.monotonic()
            self._serving.ask("SCRIPT", "FLUSH", "SYNC")
            return Outage(kind="script_flush", began_s=began_s, ended_s=time.monotonic())

    def clock_step(self, seconds: float) -> Outage:
        """Step the servers' wall clock, forward or (negative) back; it goes on from there until it is stepped again.

        Raises:
            FileNotFoundError: no libfaketime on this machine; ``clock`` is None.
        """
        with self._lock:
            stepped = self.clock
            if stepped is None:
                raise FileNotFoundError(clock.MISSING)
            began_s = time.monotonic()
            offset_s = stepped.step(seconds)

            def is_stepped() -> bool:
                return abs(self._serving.wall_clock_s() - time.time() - offset_s) < _STEP_TOLERANCE_S

            self._serving.await_that(is_stepped, f"live {offset_s:+} s from the machine's clock")
            return Outage(kind="clock_step", began_s=began_s, ended_s=time.monotonic())

    # --- faults that lose writes ---------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """Note what is on the disk now, for a later ``roll_back``; every write answered so far is in it.

        It is void once another server has come to serve.
        """
        with self._lock:
            return self._serving.checkpoint()

    def roll_back(
        self,
        to: Checkpoint | None = None,
        *,
        lost_s: float = LOST_S,
        meanwhile: Callable[[], object] | None = None,
    ) -> Outage:
        """SIGKILL the server, cut the tail of its append-only file off, and start it on the rest.

        Args:
            to: what is left; None: what is there at the call, and the server goes on for ``lost_s`` first.
            lost_s: without ``to``, how much is lost.
            meanwhile: called once the writes being answered are those to be lost.

        Raises:
            NodeFailed: ``to`` is void.
        """
        with self._lock:
            kept = to or self._serving.checkpoint()
            _go_on(meanwhile, 0 if to else lost_s)
            began_s = time.monotonic()
            self._serving.kill()
            try:
                lost_bytes = self._serving.truncate(kept)
            finally:
                self._serving.start()
            ended_s = time.monotonic()
            self._standby.follow(self._serving)
            self._standby.await_sync(self._serving)
            return Outage(
                kind="roll_back", began_s=began_s, ended_s=ended_s, lost_from_s=kept.at_s, lost_bytes=lost_bytes
            )

    def fail_over(self, *, lost_s: float = LOST_S, meanwhile: Callable[[], object] | None = None) -> Outage:
        """Let the replica take over, without the master's last writes.

        The replica is in sync; its link is cut; the master goes on for ``lost_s`` and is SIGKILLed; the replica is
        promoted, and the proxy leads to it. Afterwards the old master comes back as the new one's replica.

        Args:
            lost_s: for how long the master answers writes that the replica misses.
            meanwhile: called once the link is cut.

        Raises:
            NodeFailed: the second server serves already.
        """
        if self.has_failed_over:
            raise NodeFailed("the second server serves already: fail_back is the next")
        return self._swap("fail_over", lost_s, meanwhile)

    def fail_back(self, *, lost_s: float = LOST_S, meanwhile: Callable[[], object] | None = None) -> Outage:
        """Let the first server take over again, in the same way: it too misses the other's last writes.

        Args:
            lost_s: as for ``fail_over``.
            meanwhile: as for ``fail_over``.

        Raises:
            NodeFailed: the first server serves.
        """
        if not self.has_failed_over:
            raise NodeFailed("the first server serves: fail_over is the next")
        return self._swap("fail_back", lost_s, meanwhile)

    def _swap(self, kind: str, lost_s: float, meanwhile: Callable[[], object] | None) -> Outage:
        with self._lock:
            old, new = self._serving, self._standby
            new.await_sync(old)
            new.cut_link()
            lost_from_s = time.monotonic()
            _go_on(meanwhile, lost_s)
            lost_bytes = old.offset() - new.offset()
            began_s = time.monotonic()
            old.kill()
            new.promote()
            self._serving, self._standby = new, old
            self.proxy.switch(new.port)
            ended_s = time.monotonic()
            self._attach_standby()
            return Outage(kind=kind, began_s=began_s, ended_s=ended_s, lost_from_s=lost_from_s, lost_bytes=lost_bytes)

    def _attach_standby(self) -> None:
        self._standby.start()
        self._standby.follow(self._serving)


def _go_on(meanwhile: Callable[[], object] | None, seconds: float) -> None:
    """Let the server answer writes that will be lost, for at least so long."""
    end_s = time.monotonic() + seconds
    if meanwhile is not None:
        meanwhile()
    time.sleep(max(0.0, end_s - time.monotonic()))

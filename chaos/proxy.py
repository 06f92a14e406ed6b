"""The only way to the store: a TCP proxy in a process of its own, whose connections can be cut, frozen, half-closed.

It knows nothing of what passes. Clients come by ports; a port has a label, so that one client can be parted from the
store while the others go on. What an end does not take waits in the kernel, and up to 256 KiB of it in the proxy; then
the other end is not read. On a busy machine of 2 cores it passed 20,000 commands a second of 50 clients, at 17 µs of
its processor time each: 10,000 a second take a sixth of a core (a quarter with one client, or with 200).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos.outage import Outage

_CHECKOUT = Path(__file__).parents[1]
_LOOK_S = 0.01
_STOP_S = 10.0


class ProxyEnded(Exception):
    """The proxy's process is gone; its last words are on stderr."""


class Proxy:
    """A running proxy. Every method may be called from any thread, so that faults can overlap.

    Args:
        listen_port: where unlabelled clients come in, on 127.0.0.1; 0 lets the kernel choose (``port`` tells).
        backend: the server's port, on 127.0.0.1; nothing needs to listen there yet.
    """

    def __init__(self, listen_port: int = 0, *, backend: int) -> None:
        self._lock = threading.Lock()
        self._ports: dict[str, int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.relay", str(backend)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_CHECKOUT,
            start_new_session=True,  # a ^C at the terminal is for those who then stop the proxy
        )
        try:
            self.port: int = self._ask("listen", label="", port=listen_port)["port"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def close(self) -> None:
        """End it, and every connection through it."""
        with self._lock:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # it may have ended with a command still unread
                        pipe.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def port_for(self, label: str) -> int:
        """The port of the clients with this label, opened when it is first asked for."""
        with self._lock:
            if label not in self._ports:
                self._ports[label] = self._exchange("listen", {"label": label, "port": 0})["port"]
            return self._ports[label]

    def switch(self, backend: int) -> Outage:
        """Lead every client to another server from now on; connections to the old one are reset."""
        began_s = time.monotonic()
        told = self._ask("switch", backend=backend)
        return Outage(kind="switch", began_s=began_s, ended_s=time.monotonic(), **told)

    def cut(self, *, label: str | None = None) -> Outage:
        """Reset (RST) all open connections now; new ones are served.

        Args:
            label: only those of that label; None: all.
        """
        began_s = time.monotonic()
        told = self._ask("cut", label=label)
        return Outage(kind="cut", began_s=began_s, ended_s=time.monotonic(), **told)

    def freeze(self, seconds: float, *, label: str | None = None) -> Outage:
        """Accept connections and hold every byte of both directions for so long, then deliver all of them.

        Args:
            seconds: how long; the call returns afterwards.
            label: only the connections of that label; None: all.
        """
        began_s = time.monotonic()
        told = self._ask("freeze", label=label)
        try:
            time.sleep(seconds)
        finally:
            self._ask("thaw", label=label)
        return Outage(kind="freeze", began_s=began_s, ended_s=time.monotonic(), **told)

    def partition(self, label: str, seconds: float) -> Outage:
        """Part the clients of one label from the store for so long: their packets wait, as a network repeats them."""
        frozen = self.freeze(seconds, label=label)
        return Outage(
            kind="partition",
            began_s=frozen.began_s,
            ended_s=frozen.ended_s,
            connections=frozen.connections,
            unanswered=frozen.unanswered,
        )

    def half_close(self, *, bytes_max: int, within_s: float, label: str | None = None) -> Outage:
        """End each open connection in the middle of its next reply, for its client only.

        The client gets the first ``bytes_max`` bytes of the reply, never all of it, and then the end of the stream;
        what it asked was carried out, and requests that it sends afterwards are carried out too, unanswered.

        Args:
            bytes_max: bytes of the reply that pass, at least 0.
            within_s: a connection without a reply for so long is left alone; the call returns when none waits.
            label: only the connections of that label; None: all.
        """
        began_s = time.monotonic()
        group = self._ask("arm", label=label, bytes_max=bytes_max)["group"]
        while self._ask("half_closed", group=group)["waiting"] and time.monotonic() < began_s + within_s:
            time.sleep(_LOOK_S)
        told = self._ask("disarm", group=group)
        return Outage(kind="half_close", began_s=began_s, ended_s=time.monotonic(), **told)

    def counts(self) -> dict[str, int]:
        """What is so now, and what has been since the start.

        Returns:
            Now: connections ``open``, freezes in force (``frozen``), connections ``armed`` by a half-close. So far:
            connections ``accepted``, ``refused`` for want of a server, and hit by each ``switch``, ``cut``, ``freeze``
            (a partition is one) and ``half_close``.
        """
        told: dict[str, int] = self._ask("counts")
        return told

    def _ask(self, command: str, **given: Any) -> dict[str, Any]:
        with self._lock:
            return self._exchange(command, given)

    def _exchange(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        pipes = self._process.stdin, self._process.stdout
        if pipes[0] is None or pipes[1] is None:
            raise ProxyEnded(command)
        try:
            pipes[0].write(json.dumps([command, given]) + "\n")
            pipes[0].flush()
            line = pipes[1].readline()
        except (OSError, ValueError) as error:
            raise ProxyEnded(command) from error
        if not line:
            raise ProxyEnded(command)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer

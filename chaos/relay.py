"""The proxy's inside: listens, links clients with the server, and strikes the links. One asyncio loop, one process.

The program reads one command a line on stdin and answers each with one line; it ends with its stdin, so that it cannot
outlive the process that started it. ``chaos/proxy.py`` speaks to it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import uvloop

from chaos.link import Link

HOST = "127.0.0.1"


class Relay:
    """All links.

    Args:
        backend: port of the server on this machine.
    """

    def __init__(self, backend: int) -> None:
        self._backend = backend
        self._links: set[Link] = set()
        self._frozen: Counter[str | None] = Counter()
        self._armed: dict[int, set[Link]] = {}
        self._groups = itertools.count()
        self._connecting: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server] = []
        self._counts: Counter[str] = Counter()

    async def listen(self, *, label: str, port: int) -> dict[str, int]:
        """Open a port for the clients of that label; 0 lets the kernel choose."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._accept(label).client, HOST, port, backlog=1024)
        self._listeners.append(server)
        return {"port": int(server.sockets[0].getsockname()[1])}

    async def switch(self, *, backend: int) -> dict[str, int]:
        """Link new clients with another server, and reset those of the old one."""
        self._backend = backend
        return self._reset("switch", list(self._links))

    async def cut(self, *, label: str | None) -> dict[str, int]:
        """RST to both ends of every link."""
        return self._reset("cut", list(self._of(label)))

    async def freeze(self, *, label: str | None) -> dict[str, int]:
        """Hold the bytes of every link, and of those that come, in both directions."""
        self._frozen[label] += 1
        hit = list(self._of(label))
        self._hold_or_release(hit)
        self._counts["freeze"] += len(hit)
        return {"connections": len(hit), "unanswered": sum(link.unanswered for link in hit)}

    async def thaw(self, *, label: str | None) -> dict[str, int]:
        """Let them go on, unless another freeze holds them too."""
        self._frozen[label] -= 1
        self._hold_or_release(self._of(label))
        return {}

    async def arm(self, *, label: str | None, bytes_max: int) -> dict[str, int]:
        """Cut the next reply of every link after so many bytes."""
        group = next(self._groups)
        armed = {link for link in self._of(label) if link.bytes_max is None and not link.is_half_closed}
        for link in armed:
            link.bytes_max = bytes_max
        self._armed[group] = armed
        return {"group": group, "connections": len(armed)}

    async def half_closed(self, *, group: int) -> dict[str, int]:
        """How far a half-close is: links that still wait for their reply."""
        return {"waiting": sum(link.bytes_max is not None for link in self._armed[group] & self._links)}

    async def disarm(self, *, group: int) -> dict[str, int]:
        """End a half-close: links without a reply so far are left alone from now on."""
        armed = self._armed.pop(group)
        for link in armed:
            link.bytes_max = None
        hit = [link for link in armed if link.is_half_closed]
        self._counts["half_close"] += len(hit)
        return {"connections": len(hit), "unanswered": len(hit), "cut_bytes": sum(link.cut_bytes for link in hit)}

    async def counts(self) -> dict[str, int]:
        """What is so now, and what has been since the start."""
        now = {
            "open": len(self._links),
            "frozen": sum(self._frozen.values()),
            "armed": sum(link.bytes_max is not None for link in self._links),
        }
        return {
            **dict.fromkeys(("accepted", "refused", "switch", "cut", "freeze", "half_close"), 0),
            **self._counts,
        } | now

    def _accept(self, label: str) -> Link:
        return Link(label, self._open, self._links.discard)

    def _open(self, link: Link) -> None:
        self._links.add(link)
        self._counts["accepted"] += 1
        self._hold_or_release([link])
        task = asyncio.get_running_loop().create_task(self._connect(link))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, link: Link) -> None:
        backend = self._backend
        try:
            await asyncio.get_running_loop().create_connection(lambda: link.server, HOST, backend)
        except OSError:
            self._counts["refused"] += 1
            link.client.reset()
            self._links.discard(link)
            return
        if link.client.transport is None or backend != self._backend:
            link.reset()
            self._links.discard(link)
        else:
            link.client.release("connecting")

    def _of(self, label: str | None) -> Iterator[Link]:
        return (link for link in self._links if label in {None, link.label})

    def _hold_or_release(self, links: Iterator[Link] | list[Link]) -> None:
        for link in links:
            is_frozen = self._frozen[None] > 0 or self._frozen[link.label] > 0
            for end in (link.client, link.server):
                (end.hold if is_frozen else end.release)("frozen")

    def _reset(self, kind: str, links: list[Link]) -> dict[str, int]:
        told = {"connections": len(links), "unanswered": sum(link.unanswered for link in links)}
        self._counts[kind] += len(links)
        for link in links:
            link.reset()
        return told


async def _serve(backend: int) -> None:
    """Do what stdin says, until it ends."""
    relay = Relay(backend)
    commands: Mapping[str, Callable[..., Any]] = {
        command.__name__: command
        for command in (
            relay.listen,
            relay.switch,
            relay.cut,
            relay.freeze,
            relay.thaw,
            relay.arm,
            relay.half_closed,
            relay.disarm,
            relay.counts,
        )
    }
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        name, given = json.loads(line)
        try:
            answer = await commands[name](**given)
        except OSError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

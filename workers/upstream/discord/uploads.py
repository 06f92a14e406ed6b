"""A job's file on its way to Discord: announced, then its bytes are sent where Discord said, from the storage.

Source: docs/upstream.md, "Files".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import httpx
import stamina

from dispatcher.errors import RequestRejected, UpstreamUnavailable
from dispatcher.storage import Storage
from dispatcher.uploads import Upload
from workers.upstream.discord.refusals import NAME
from workers.upstream.discord.rest import Rest, worth_waiting
from workers.upstream.wire import Wire

ATTEMPTS = 3
_ATTEMPTS_S = 60.0


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that Discord has: what a command calls it, and its name where the bytes went."""

    filename: str
    uploaded_filename: str


class Uploader:
    """Sends files from the storage to Discord, so that a command can name them.

    Args:
        rest: the endpoints.
        wire: the way to where the bytes go.
        storage: where they come from.
        hosts: that bytes may go to: names (https), or origins such as ``http://127.0.0.1:9080``.
    """

    def __init__(self, rest: Rest, wire: Wire, storage: Storage, hosts: Iterable[str]) -> None:
        self._rest = rest
        self._wire = wire
        self._storage = storage
        self._origins = frozenset(_origin(httpx.URL(host if "://" in host else f"https://{host}")) for host in hosts)

    async def upload(self, token: str, channel: str, upload: Upload, *, name: str) -> Attached:
        """Bring one file to Discord, past short troubles; each attempt has an upload of its own.

        Raises:
            StorageUnavailable: the file is not in the storage, or cannot be read there.
            RequestRejected: Discord does not take it, or names a host for it that is not one of ours to trust.
            AccountRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked: nothing was submitted.
        """
        await self._storage.check(upload)
        async for attempt in stamina.retry_context(on=worth_waiting, attempts=ATTEMPTS, timeout=_ATTEMPTS_S):
            with attempt:
                return await self._upload(token, channel, upload, filename=f"{name}.{upload.ending}")
        raise AssertionError("stamina ends with a value or an error")

    async def _upload(self, token: str, channel: str, upload: Upload, *, filename: str) -> Attached:
        named, uploaded_filename = await self._rest.open_upload(
            token, channel, filename=filename, size_bytes=upload.size
        )
        url = self._trusted(named)
        content = self._storage.read(upload)
        response = await self._wire.put(url, content, size_bytes=upload.size, content_type=upload.type)
        if not response.is_success:
            raise UpstreamUnavailable(NAME, f"the bytes of a file were not taken: HTTP {response.status_code}")
        return Attached(filename, uploaded_filename)

    def _trusted(self, named: str) -> httpx.URL:
        """Return the address to send bytes to; Discord's word alone must not make us call anything in our network."""
        try:
            url = httpx.URL(named)
            is_trusted = _origin(url) in self._origins and not url.userinfo
        except (httpx.InvalidURL, ValueError, TypeError):
            raise RequestRejected(NAME, "the upload address that was named is none") from None
        if not is_trusted:
            where = f"{url.scheme}://{url.host}"
            raise RequestRejected(NAME, f"files are to go to {where:.200}, which is not in discord_upload_hosts")
        return url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Name scheme, host and port; httpx leaves the scheme's own port out."""
    return url.scheme, url.host, url.port

"""Where a session connects to. The token is sent there, so what a server names is not simply believed."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from dispatcher.errors import UpstreamUnavailable
from workers.upstream.discord.refusals import NAME

_VERSION = re.compile(r"/v(\d+)/?$")
_VERSION_DEFAULT = "9"


def socket_url(named: str, *, api_url: str, hosts: Collection[str]) -> str:
    """Return the URL to connect to, for what ``GET /gateway`` or READY named.

    Args:
        named: by the server.
        api_url: ours; its host is believed, its version is asked for, and where it is encrypted the socket must be.
        hosts: names that are believed, with all below them: ``discord.gg``.

    Raises:
        UpstreamUnavailable: the token must not go there.
    """
    try:
        place, api = urlsplit(named), urlsplit(api_url)
        host = place.hostname or ""
        place.port  # noqa: B018 (it raises where it is no number)
    except ValueError:
        raise UpstreamUnavailable(NAME, "the gateway's address is no URL") from None
    schemes = {"wss"} if api.scheme == "https" else {"ws", "wss"}
    known = host == api.hostname or any(host == name or host.endswith(f".{name}") for name in hosts)
    if place.scheme not in schemes or not known or place.username is not None:
        raise UpstreamUnavailable(NAME, f"the gateway's address {named:.100} is not to be trusted with a token")
    found = _VERSION.search(api.path)
    version = found[1] if found else _VERSION_DEFAULT
    return f"{place.scheme}://{place.netloc}{place.path or '/'}?v={version}&encoding=json"

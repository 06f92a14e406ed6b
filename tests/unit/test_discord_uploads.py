"""A file's way to Discord, with Discord played in the process: what leaves for where, and what is refused to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dispatcher.errors import RequestRejected, StorageUnavailable, UpstreamUnavailable
from dispatcher.requests import Animate
from dispatcher.settings import Settings
from dispatcher.storage import Storage
from tests.support.images import png
from tests.support.memory import unhurried
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.rest import Rest
from workers.upstream.discord.uploads import Attached, Uploader
from workers.upstream.wire import Wire

TOKEN = "a-token-that-only-discord-shall-see"
TRUSTED = Settings.model_fields["discord_upload_hosts"].default[0]
UPLOAD = Animate(image=png("x" * 600_000)).image


class PlayedDiscord:
    """Answers announcements with the address that a test names, and takes bytes with the statuses that it names."""

    def __init__(self, folder: Path) -> None:
        self.upload_url = f"https://{TRUSTED}/a?upload_id=1"
        self.statuses = [200]
        self.announced: list[bytes] = []
        self.put: list[tuple[httpx.Request, bytes]] = []
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        wire = Wire("discord", self.http)
        rest = Rest("https://discord.test/api/v9", wire, UpstreamClock(), unhurried())
        self.storage = Storage((folder / "results").as_uri())
        self.uploader = Uploader(rest, wire, self.storage, [TRUSTED, "http://127.0.0.1:9080"])

    async def answer(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if request.method == "PUT":
            self.put.append((request, body))
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            return httpx.Response(status, headers={"Location": "http://127.0.0.1:6379/"})
        self.announced.append(body)
        number = len(self.announced)
        opened = {"id": 0, "upload_url": self.upload_url, "upload_filename": f"place-{number}/image.png"}
        return httpx.Response(200, json={"attachments": [opened]})

    async def upload(self) -> Attached:
        return await self.uploader.upload(TOKEN, "5", UPLOAD, name="image")


@pytest.fixture
async def discord(tmp_path: Path) -> AsyncIterator[PlayedDiscord]:
    played = PlayedDiscord(tmp_path)
    played.storage.keep(UPLOAD)
    yield played
    await played.http.aclose()


async def test_the_bytes_leave_whole_with_their_length_and_without_any_token(discord: PlayedDiscord) -> None:
    attached = await discord.upload()

    [(request, body)] = discord.put
    assert attached == Attached("image.png", "place-1/image.png")
    assert discord.announced == [b'{"files":[{"id":"0","filename":"image.png","file_size":600008}]}']
    assert body == UPLOAD.content
    assert request.headers["content-length"] == "600008"
    assert request.headers["content-type"] == "image/png"
    assert "transfer-encoding" not in request.headers
    assert "authorization" not in request.headers
    assert TOKEN not in f"{request.url} {request.headers.raw!r}"


@pytest.mark.parametrize(
    "named",
    [
        f"http://{TRUSTED}/a",
        f"https://{TRUSTED}:8443/a",
        f"https://{TRUSTED}.evil.test/a",
        f"https://evil.test/{TRUSTED}",
        f"https://{TRUSTED}@evil.test/a",
        f"https://user:password@{TRUSTED}/a",
        f"https://evil.test\\@{TRUSTED}/a",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:6379/",
        "https://127.0.0.1:9080/a",
        "file:///etc/passwd",
        "//evil.test/a",
        "nothing at all",
        "https://[::1",
        "",
    ],
)
async def test_no_byte_goes_where_we_did_not_allow_it(discord: PlayedDiscord, named: str) -> None:
    discord.upload_url = named

    with pytest.raises(RequestRejected):
        await discord.upload()

    assert discord.put == []
    assert len(discord.announced) == 1


@pytest.mark.parametrize(
    "named", [f"https://{TRUSTED}:443/a", f"HTTPS://{TRUSTED.upper()}/a", "http://127.0.0.1:9080/a"]
)
async def test_what_is_allowed_is_known_in_other_spellings(discord: PlayedDiscord, named: str) -> None:
    discord.upload_url = named

    await discord.upload()

    assert len(discord.put) == 1


async def test_a_redirect_is_a_refusal(discord: PlayedDiscord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.upstream.discord.uploads.ATTEMPTS", 1)
    discord.statuses = [302]

    with pytest.raises(UpstreamUnavailable, match="HTTP 302"):
        await discord.upload()

    assert len(discord.put) == 1


async def test_each_attempt_has_an_upload_of_its_own(discord: PlayedDiscord) -> None:
    discord.statuses = [503, 200]

    attached = await discord.upload()

    assert attached.uploaded_filename == "place-2/image.png"
    assert [body for _, body in discord.put] == [UPLOAD.content, UPLOAD.content]


async def test_a_file_that_is_not_there_is_not_announced(tmp_path: Path) -> None:
    discord = PlayedDiscord(tmp_path)

    with pytest.raises(StorageUnavailable):
        await discord.upload()

    assert discord.announced == []


@pytest.mark.parametrize("answer", [{}, {"attachments": []}, {"attachments": [{"upload_url": 1}]}, []])
async def test_an_answer_in_an_unknown_shape_is_trouble_and_no_address(
    discord: PlayedDiscord, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.uploads.ATTEMPTS", 1)
    monkeypatch.setattr(discord.http, "_transport", httpx.MockTransport(lambda _: httpx.Response(200, json=answer)))

    with pytest.raises(UpstreamUnavailable, match="unknown shape"):
        await discord.upload()

"""Saving a job's files, from a real HTTP server; what the upstream calls them and where they may go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dispatcher.async_client import AsyncClient
from dispatcher.client import Client
from dispatcher.connection import Store
from dispatcher.download import LinkDead, save_attachments
from dispatcher.errors import JobStateError, RequestInvalid, UpstreamUnavailable
from dispatcher.links import Links
from dispatcher.models import Attachment, Job, Message
from dispatcher.settings import Settings
from tests.support.fleet import Fleet
from tests.support.links import completed
from tests.support.up import until


class _Files(BaseHTTPRequestHandler):
    """Gives each path as its content; `/short` ends before its announced length, `/gone` and `/<status>` refuse."""

    def do_GET(self) -> None:
        content = self.path.encode()
        name = self.path[1:].partition("?")[0]
        self.send_response(int(name) if name.isdecimal() else 404 if name == "gone" else 200)
        self.send_header("Content-Length", str(len(content) + (10 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    """URL of a server of files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def job_with(*attachments: Attachment, status: str = "completed") -> Job:
    record = {
        "id": "20261122203000123ABCDEF",
        "user": "1",
        "pool": "1:discord",
        "kind": "create_single",
        "status": status,
        "created_ms": "1",
        "updated_ms": "1",
        "priority": "0",
        "request": "{}",
    }
    return Job.from_record(record).model_copy(update={"attachments": attachments})


def test_files_are_saved_under_their_names_and_equal_names_stay_apart(files: str, tmp_path: Path) -> None:
    job = job_with(
        Attachment(id="11", filename="a.mp4", url=f"{files}/one"),
        Attachment(id="12", filename="a.mp4", url=f"{files}/two"),
    )

    saved = save_attachments(job, tmp_path / "new" / "folder")

    assert [(path.name, path.read_text()) for path in saved] == [("a.mp4", "/one"), ("12_a.mp4", "/two")]


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/", "a/..", "a\x00b", "a\nb", "x" * 300, "ä" * 120, "\ud83d", "...", "\u202egpj.exe"]
)
def test_what_is_no_file_name_is_saved_under_the_id(files: str, tmp_path: Path, name: str) -> None:
    attachment = Attachment(id="77", filename="x", url=f"{files}/one").model_copy(update={"filename": name})

    saved = save_attachments(job_with(attachment), tmp_path)

    assert saved == [tmp_path / "77"]
    assert list(tmp_path.iterdir()) == saved


@pytest.mark.parametrize("name", ["../../evil.mp4", "/etc/evil.mp4", "..\\evil.mp4", "C:\\x\\evil.mp4"])
def test_folders_in_a_name_are_dropped(files: str, tmp_path: Path, name: str) -> None:
    saved = save_attachments(job_with(Attachment(id="77", filename=name, url=f"{files}/one")), tmp_path)

    assert saved == [tmp_path / "evil.mp4"]


def test_an_id_in_place_of_a_name_leads_nowhere_else(files: str, tmp_path: Path) -> None:
    saved = save_attachments(job_with(Attachment(id="../../7", filename="..", url=f"{files}/one")), tmp_path)

    assert saved == [tmp_path / "7"]


@pytest.mark.parametrize("path", ["/gone", "/short"])
def test_a_file_that_cannot_be_fetched_is_told_and_leaves_nothing(files: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(UpstreamUnavailable, match=r"a\.mp4 could not be fetched"):
        save_attachments(job_with(Attachment(id="1", filename="a.mp4", url=f"{files}{path}")), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_link_that_is_no_url_is_told(tmp_path: Path) -> None:
    with pytest.raises(UpstreamUnavailable):
        save_attachments(job_with(Attachment(id="1", filename="a.mp4", url="http://[")), tmp_path)


def test_a_folder_that_is_a_file_is_refused(files: str, tmp_path: Path) -> None:
    file = tmp_path / "videos"
    file.write_text("kept")

    with pytest.raises(RequestInvalid, match=r"videos' cannot be used: File exists; choose another\."):
        save_attachments(job_with(Attachment(id="1", filename="a.mp4", url=f"{files}/one")), file)

    assert file.read_text() == "kept"


def test_a_name_that_is_a_folder_already_is_refused_and_leaves_no_part(files: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()

    with pytest.raises(RequestInvalid, match="Is a directory"):
        save_attachments(job_with(Attachment(id="1", filename="a.mp4", url=f"{files}/one")), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_job_that_did_not_complete_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(JobStateError):
        save_attachments(job_with(status="failed"), tmp_path)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_link_that_carries_its_end_and_is_refused_is_dead(files: str, tmp_path: Path, status: int) -> None:
    attachment = Attachment(id="77", filename="a.mp4", url=f"{files}/{status}?ex=65000000")

    with pytest.raises(LinkDead) as caught:
        save_attachments(job_with(attachment), tmp_path)

    assert caught.value.attachment == attachment
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["404", "gone", "500?ex=65000000"])
def test_one_that_lasts_or_whose_server_fails_is_not(files: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(UpstreamUnavailable) as caught:
        save_attachments(job_with(Attachment(id="77", filename="a.mp4", url=f"{files}/{path}")), tmp_path)

    assert type(caught.value) is UpstreamUnavailable


# --- links that have expired ------------------------------------------------------------------------------------------


class Shelf:
    """A completed job whose link is dead, and the worker that is asked for another."""

    def __init__(self, store: Store, settings: Settings, files: str) -> None:
        self.store, self.settings, self.files = store, settings, files
        self.links, self.fleet = Links(settings), Fleet(store)
        file = Attachment(id="7", filename="a.mp4", url=f"{files}/gone?ex=65000000")
        completed(self.fleet, message=Message(messageId="9", attachments=(file,)).model_dump_json())

    def asked(self) -> list[str]:
        """The questions, oldest last."""
        return [delivery for delivery in self.fleet.queue() if delivery.startswith("links-")]

    def wait_asked(self, times: int) -> None:
        """Wait until so many questions were asked, or more."""
        until(lambda: len(self.asked()) >= times, f"{times} questions")

    def tell(self, refresh_id: str, path: str) -> None:
        self.store.do(self.links.tell(refresh_id, {"7": f"{self.files}/{path}?ex=fffffff0"}))

    def download(self, folder: Path) -> list[Path]:
        with Client(self.settings.redis_url, namespace=self.settings.namespace) as client:
            return client.download(client.get("j1"), folder)

    def download_async(self, folder: Path) -> list[Path]:
        async def downloaded() -> list[Path]:
            async with AsyncClient(self.settings.redis_url, namespace=self.settings.namespace) as client:
                return await client.download(await client.get("j1"), folder)

        return asyncio.run(downloaded())


@pytest.fixture
def shelf(store: Store, settings: Settings, files: str) -> Shelf:
    return Shelf(store, settings, files)


@pytest.mark.parametrize("way", [Shelf.download, Shelf.download_async])
def test_a_fresh_link_that_is_known_and_dead_by_now_is_renewed_once_more(
    shelf: Shelf, tmp_path: Path, way: Callable[[Shelf, Path], list[Path]]
) -> None:
    known = shelf.store.do(shelf.links.ask("j1", user=1))
    shelf.tell(known, "gone")

    with ThreadPoolExecutor() as pool:
        saved = pool.submit(way, shelf, tmp_path)
        shelf.wait_asked(2)
        shelf.tell(shelf.asked()[0], "fresh")

        [path] = saved.result(timeout=20)

    assert path.read_text() == "/fresh?ex=fffffff0"


@pytest.mark.parametrize("way", [Shelf.download, Shelf.download_async])
def test_links_that_stay_dead_are_renewed_twice_and_then_told(
    shelf: Shelf, tmp_path: Path, way: Callable[[Shelf, Path], list[Path]]
) -> None:
    with ThreadPoolExecutor() as pool:
        saved = pool.submit(way, shelf, tmp_path)
        for asked in (1, 2):
            shelf.wait_asked(asked)
            shelf.tell(shelf.asked()[0], "gone")

        with pytest.raises(UpstreamUnavailable, match="404"):
            saved.result(timeout=20)

    assert len(shelf.asked()) == 2


@pytest.mark.parametrize("way", [Shelf.download, Shelf.download_async])
def test_a_question_that_its_worker_took_to_its_grave_is_asked_again(
    shelf: Shelf, tmp_path: Path, way: Callable[[Shelf, Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.links.JOIN_MS", 300)
    for module in ("client", "async_client"):
        monkeypatch.setattr(f"dispatcher.{module}.LINKS_LOOKS", 3)

    with ThreadPoolExecutor() as pool:
        saved = pool.submit(way, shelf, tmp_path)
        shelf.wait_asked(2)
        while not saved.done():  # a third may take its place before it is answered
            shelf.tell(shelf.asked()[0], "fresh")

        assert saved.result()[0].read_text() == "/fresh?ex=fffffff0"

"""Saving a job's files, from a real HTTP server; what the upstream calls them and where they may go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dispatcher.download import save_attachments
from dispatcher.errors import JobStateError, RequestInvalid, UpstreamUnavailable
from dispatcher.models import Attachment, Job


class _Files(BaseHTTPRequestHandler):
    """Gives each path as its content; `/short` ends before its announced length."""

    def do_GET(self) -> None:
        content = self.path.encode()
        self.send_response(404 if self.path == "/gone" else 200)
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

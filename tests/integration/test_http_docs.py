"""The page that shows the OpenAPI document: complete, and made of nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
from pydantic import TypeAdapter

from dispatcher import wire
from dispatcher.http.shown import JobShown
from dispatcher.models import Job


class Page(HTMLParser):
    """What a browser would fetch or run, the anchors, the samples."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.samples: list[str] = []
        self.tags: set[str] = set()
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self._open = tag
        self.fetched += [str(given[name]) for name in ("src", "srcset", "data", "action") if name in given]
        if tag == "link":
            self.fetched.append(str(given.get("href")))
        if "id" in given:
            self.anchors.add(str(given["id"]))
        if tag == "a":
            self.links.add(str(given["href"]))

    def handle_data(self, data: str) -> None:
        if self._open == "pre":
            self.samples.append(data)
            self._open = ""


async def test_every_operation_is_on_the_page_with_a_curl_sample(stranger: httpx.AsyncClient) -> None:
    document = (await stranger.get("/openapi.json")).json()
    answer = await stranger.get("/docs")

    page = Page(answer.text)
    operations = [(method, path) for path, item in document["paths"].items() for method in item]
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert len(page.samples) == len(operations) == len(page.anchors)
    for method, path in operations:
        place = re.sub(r"{(\w+)}", lambda found: f"${found[1].upper()}", path)
        assert any(f'--request {method.upper()} "$DISPATCHER_URL{place}' in sample for sample in page.samples)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} == page.anchors


async def test_the_page_fetches_and_runs_nothing(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/docs/")

    page = Page(answer.text)
    assert page.fetched == []
    assert "script" not in page.tags
    assert "@import" not in answer.text
    assert "url(" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_what_the_document_says_is_text_on_the_page_never_markup(stranger: httpx.AsyncClient) -> None:
    page = (await stranger.get("/docs")).text

    assert "Unable to locate job &lt;jobid&gt;" in page


def test_the_described_job_has_every_field_that_a_job_can_show() -> None:
    described = set(TypeAdapter(JobShown).json_schema()["properties"])

    shown = {*wire._PLAIN, *wire._ECHOED, "image", "face", "created", "updated", "buttons", "attachments", "embeds"}
    assert described == shown | {"code"}
    assert set(wire._PLAIN) <= set(Job.model_fields)

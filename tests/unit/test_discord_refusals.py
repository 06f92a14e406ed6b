from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from dispatcher.errors import (
    AccountRejected,
    CallHeld,
    Moderated,
    RateLimited,
    RequestRejected,
    UpstreamBlocked,
    UpstreamError,
    UpstreamUnavailable,
)
from workers.upstream import Ended, Refused
from workers.upstream.discord.outcomes import outcome_of
from workers.upstream.discord.refusals import CommandOutdated, error_of

OUTDATED = {"data": {"_errors": [{"code": "INTERACTION_APPLICATION_COMMAND_INVALID_VERSION", "message": "veraltet"}]}}
FIELD = {"data": {"options": {"0": {"value": {"_errors": [{"code": "BASE_TYPE_CHOICES", "message": "No such"}]}}}}}


def answer(status: int, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    return httpx.Response(status, content=content, headers={name.replace("_", "-"): v for name, v in headers.items()})


def says(code: int, message: str = "said", **more: Any) -> dict[str, Any]:
    return {"message": message, "code": code, **more}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, says(50035, errors=FIELD), RequestRejected),
        (400, says(50035, errors=OUTDATED), CommandOutdated),
        (400, {"captcha_key": ["any"], "captcha_service": "hcaptcha"}, AccountRejected),
        (400, says(50083), AccountRejected),
        (400, says(99999), RequestRejected),
        (400, says(200000), Moderated),
        (401, says(0, "401: Unauthorized"), AccountRejected),
        (401, says(40001), AccountRejected),
        (401, says(40002), AccountRejected),
        (403, says(40001), AccountRejected),
        (403, says(40002), AccountRejected),
        (403, says(50001), AccountRejected),
        (403, says(50009), AccountRejected),
        (403, says(50013), AccountRejected),
        (403, says(50083), AccountRejected),
        (403, says(10008, "Unknown Message"), AccountRejected),
        (403, says(40333, "internal network error"), UpstreamBlocked),
        (403, "<html>Attention Required</html>", UpstreamBlocked),
        (404, says(10003), AccountRejected),
        (404, says(10004), AccountRejected),
        (404, says(10008), AccountRejected),
        (404, says(10063), CommandOutdated),
        (404, says(0, "404: Not Found"), UpstreamBlocked),
        (429, says(0, retry_after=0.57), RateLimited),
        (429, says(20016, retry_after=4), RateLimited),
        (429, says(20028, retry_after=4), RateLimited),
        (429, says(20029, retry_after=4), RateLimited),
        (429, says(40062, retry_after=4), RateLimited),
        (429, "error code: 1015", UpstreamBlocked),
        (500, says(0), UpstreamUnavailable),
        (503, says(130000), UpstreamUnavailable),
        *((status, "<html></html>", UpstreamUnavailable) for status in (500, 502, 503, 504, 520, 522, 524)),
        *((status, "<html></html>", UpstreamBlocked) for status in (302, 400, 402, 406, 410, 413, 451)),
        (408, "<html></html>", UpstreamUnavailable),
    ],
)
def test_every_known_answer_is_somebodys_fault(status: int, body: Any, expected: type[UpstreamError]) -> None:
    assert type(error_of(answer(status, body))) is expected


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [("1", 0.57, 1.0), ("2", 3.5, 3.5), (None, 0.57, 0.57), ("7", None, 7.0), (None, None, 5.0)],
)
def test_the_later_of_header_and_body_says_how_long_to_wait(
    header: str | None, body: float | None, expected: float
) -> None:
    said = says(0) if body is None else says(0, retry_after=body)

    error = error_of(answer(429, said, **({"retry_after": header} if header else {})))

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == expected


@pytest.mark.parametrize(
    ("status", "is_counted"),
    [(400, True), (402, True), (413, True), (451, True), (403, False), (404, False), (405, False), (429, False)],
)
def test_a_page_that_a_jobs_own_content_may_provoke_is_counted(status: int, is_counted: bool) -> None:
    outcome = outcome_of(error_of(answer(status, "<html></html>")))

    assert isinstance(outcome, Refused)
    assert (outcome.counted, outcome.disable, outcome.cool_s) == (is_counted, None, 60)


def test_a_cloudflare_ban_without_a_time_rests_a_minute_and_counts_against_nobody() -> None:
    outcome = outcome_of(error_of(answer(429, "error code: 1015")))

    assert isinstance(outcome, Refused)
    assert (outcome.counted, outcome.disable, outcome.cool_s) == (False, None, 60)


def test_a_field_error_names_its_field_to_the_user() -> None:
    outcome = outcome_of(error_of(answer(400, says(50035, "Invalid Form Body", errors=FIELD))))

    assert isinstance(outcome, Ended)
    assert outcome.status == "failed"
    assert "data.options.0.value: No such" in (outcome.error or "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AccountRejected("discord", "401"), Refused(reason="401", disable="check", counted=False)),
        (
            AccountRejected("discord", "captcha", needs_operator=True),
            Refused(reason="captcha", disable="operator", counted=False),
        ),
        (RateLimited("discord", "x", retry_after_s=2.5), Refused(reason="discord: x", cool_s=2.5)),
        (
            UpstreamUnavailable("discord", "x", sent=False),
            Refused(reason="discord: x", counted=False, never_sent=True, cools="suspected"),
        ),
        (
            UpstreamBlocked("discord", "x", retry_after_s=9),
            Refused(reason="discord: x", counted=False, cool_s=9, cools="held"),
        ),
        (
            UpstreamBlocked("discord", "x", retry_after_s=3600, is_address=True),
            Refused(reason="discord: x", counted=False, cool_s=60, cools="held"),
        ),
        (
            UpstreamBlocked("discord", "x", is_doubtful=True),
            Refused(reason="discord: x", counted=True, cool_s=60, cools="held"),
        ),
        (
            CallHeld("discord", "x", wait_s=9.5),
            Refused(reason="discord: x", counted=False, cool_s=9.5, cools="held", never_sent=True),
        ),
        (
            CallHeld("discord", "x", wait_s=590, is_address=True),
            Refused(reason="discord: x", counted=False, cool_s=60, cools="held", never_sent=True),
        ),
        (Moderated("discord", "x"), Ended(status="moderated", error="discord: x")),
        (CommandOutdated("discord", "x"), Refused(reason="discord: x", cools="suspected")),
    ],
)
def test_each_class_of_failure_has_its_outcome(error: UpstreamError, expected: Ended | Refused) -> None:
    assert outcome_of(error) == expected

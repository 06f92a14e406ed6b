"""The contract's submissions: ``create``, ``create_single``, ``animate``, ``meme_face`` and ``button``, by POST.

The answer is held until the upstream has accepted the job, so that a client hears of a refusal as the hosted service
would have told it. Nobody who was refused has a job that runs later: see ``lua/_held.lua``.

Source: docs/http-api.md, "Submitting"; contract §3, §5.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from dispatcher.errors import (
    AccountNotFound,
    JobNotFound,
    LeasingClosed,
    NoFreeSlot,
    RequestInvalid,
    StoreUnavailable,
)
from dispatcher.guests import Guest
from dispatcher.http.asked import Asked, read_asked
from dispatcher.http.backend import Backend, TheBackend, TheUser
from dispatcher.http.document import guarded
from dispatcher.http.forms import Form, read_form
from dispatcher.http.full import NO_DISCORD, full, moderated
from dispatcher.http.holding import until_started
from dispatcher.http.offers import declared
from dispatcher.models import Job
from dispatcher.options import KEY_CHARACTERS, Options
from dispatcher.presses import pressed
from dispatcher.requests import REQUESTS, Button, Request
from dispatcher.storage import Storage
from dispatcher.wire import job_body

HELD_LONGER_S = 5.0
"""After the wait the answer is given; until then at most the store holds the job to be unanswered."""

ANSWERED_AS_STARTED = ("created", "progress", "completed")
"""It has a slot, or has come further meanwhile; clients of the contract know of no such answer to a submission."""

router = guarded(prefix="/v1/pixverse", tag="submissions")


async def _submit(kind: str, http: HttpRequest, backend: Backend, user: int) -> Response:
    model, settings = REQUESTS[kind], backend.settings
    queues = _is_true(http, "queue")
    has_file = bool({"image", "face"} & model.model_fields.keys())
    try:
        async with read_form(http, file_max_bytes=settings.upload_max_bytes if has_file else 0) as form:
            asked = await asyncio.to_thread(read_asked, model, form, upload_max_bytes=settings.upload_max_bytes)
            options = await _options(http, backend, user, asked, queues=queues)
            job = await _accept(backend, asked, options, form)
    except AccountNotFound:
        raise RequestInvalid("discord", NO_DISCORD) from None
    except (NoFreeSlot, LeasingClosed) as refusal:
        return await full(backend, kind, refusal, user=user)
    try:
        return await _answer(backend, job, options, is_held=not queues)
    except NoFreeSlot as refusal:
        return await full(backend, kind, refusal, user=user)


async def _answer(backend: Backend, job: Job, options: Options, *, is_held: bool) -> Response:
    """Answer with what became of an accepted job.

    Raises:
        NoFreeSlot: it was refused everywhere, and ended.
        StoreUnavailable: nobody can tell; the job goes on, and a repeated call with its key is answered with it.
    """
    if is_held:
        await until_started(backend, job, wait_s=backend.settings.submit_wait_s)
    try:
        job = await backend.do(backend.jobs.answer(job.id))
    except JobNotFound:  # the store lost its last writes, and may be told of them again
        raise StoreUnavailable("The store does not know the job any more that it just accepted.") from None
    if job.status == "moderated":
        return moderated(job)
    body = job_body(job)
    is_first = options.idempotency_key is None or job.status != "completed"  # a repeated call may come hours later
    if options.mode == "refuse" and is_first and job.status in ANSWERED_AS_STARTED:
        body["status"] = "started"
    return JSONResponse(body)


async def _options(http: HttpRequest, backend: Backend, user: int, asked: Asked, *, queues: bool) -> Options:
    """How the submission is accepted; a ``replyUrl`` of the user's own counts where the call names none."""
    settings = backend.settings
    is_refused = not queues and settings.when_full == "reject"
    default = "" if asked.reply_url else (await backend.do(backend.profiles.get(user))).reply_url
    return Options(
        user=user,
        idempotency_key=_idempotency_key(http),
        channel=asked.channel,
        reply_url=asked.reply_url or default or None,
        reply_ref=asked.reply_ref,
        mode="refuse" if is_refused else "wait",
        held_s=settings.submit_wait_s + HELD_LONGER_S if is_refused else 0.0,
    )


async def _accept(backend: Backend, asked: Asked, options: Options, form: Form) -> Job:
    """Store the files and the job.

    Raises:
        DispatcherError: it is not accepted.
    """
    request, parent = asked.request, None
    if isinstance(request, Button):
        below = await backend.do(backend.jobs.get(request.jobid, user=options.user))
        request, options, parent = pressed(request, options, below)
        place = {"server": below.server, "channel": below.channel}
    else:
        place = dict(asked.place)
    if asked.discord is not None:
        guest = Guest.invite(
            user=options.user,
            discord=asked.discord,
            max_jobs=request.maxJobs,
            secret_keys=backend.accounts.secret_keys,
            **place,
        )
        options = replace(options, guest=guest)
    elif options.mode == "wait" and options.channel is None:
        await _check_accounts(backend, options.user)
    await _keep_files(backend, request, form)
    return await backend.do(backend.jobs.submit(request, options, parent=parent))


async def _check_accounts(backend: Backend, user: int) -> None:
    """Nothing is queued for a user who has no account: it could wait for ever.

    Raises:
        AccountNotFound: there is none.
    """
    if not await backend.carry_out(backend.accounts.list(user=user)):
        raise AccountNotFound("")


async def _keep_files(backend: Backend, request: Request, form: Form) -> None:
    storage = Storage(backend.settings.storage)
    for name, upload in request.uploads().items():
        await asyncio.to_thread(storage.keep_file, upload, form.files[name])


def _idempotency_key(http: HttpRequest) -> str | None:
    key = http.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= KEY_CHARACTERS:
        raise RequestInvalid("Idempotency-Key", f"Header Idempotency-Key must have 1 to {KEY_CHARACTERS} characters")
    return key


def _is_true(http: HttpRequest, name: str) -> bool:
    value = http.query_params.get(name, "")
    if value.lower() not in ("", "true", "false", "1", "0"):
        raise RequestInvalid(name, f"Query param {name} value {value:.40} is not supported")
    return value.lower() in ("true", "1")


@router.post("/create", **declared("create"))
async def create(http: HttpRequest, backend: TheBackend, user: TheUser) -> Response:
    """Make four videos from a text."""
    return await _submit("create", http, backend, user)


@router.post("/create_single", **declared("create_single"))
async def create_single(http: HttpRequest, backend: TheBackend, user: TheUser) -> Response:
    """Make one video from a text."""
    return await _submit("create_single", http, backend, user)


@router.post("/animate", **declared("animate"))
async def animate(http: HttpRequest, backend: TheBackend, user: TheUser) -> Response:
    """Make a video from an image."""
    return await _submit("animate", http, backend, user)


@router.post("/meme_face", **declared("meme_face"))
async def meme_face(http: HttpRequest, backend: TheBackend, user: TheUser) -> Response:
    """Make a video from a face and a text."""
    return await _submit("meme_face", http, backend, user)


@router.post("/button", **declared("button"))
async def button(http: HttpRequest, backend: TheBackend, user: TheUser) -> Response:
    """Press a button below a completed job's result, in that job's channel."""
    return await _submit("button", http, backend, user)

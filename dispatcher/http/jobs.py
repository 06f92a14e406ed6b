"""The contract's reading side: ``/v1/pixverse/jobs`` and ``/v1/pixverse/jobs/cancel``, both by GET.

Source: docs/http-api.md, "Jobs"; contract §4.5.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse

from dispatcher.connection import Call
from dispatcher.errors import JobNotFound, LeasingClosed, RequestInvalid
from dispatcher.http.backend import Backend, TheBackend, TheUser
from dispatcher.http.document import guarded, query, refusals
from dispatcher.http.shown import Cancelled, JobId, JobShown
from dispatcher.models import Job
from dispatcher.wire import OK, job_body

NO_SUCH_JOB = "No such job of yours: `Unable to locate job <jobid>`"
_EXAMPLE = "job:20240610123456789ABC234-user:1-channel:0-bot:pixverse"

router = guarded(prefix="/v1/pixverse", tag="jobs")


@router.get(
    "/jobs",
    summary="One job, or the ids of those that run",
    response_model=None,
    responses={
        200: {"model": JobShown | list[JobId], "description": "The job; without `jobid`, ids"},
        **refusals(400, 404, for_404=NO_SUCH_JOB),
    },
    openapi_extra={"parameters": [query("jobid", "Which job; without it, a list", required=False, example=_EXAMPLE)]},
)
async def read_jobs(request: Request, backend: TheBackend, user: TheUser) -> JSONResponse:
    """Show the job that `jobid` names. Without that parameter: the ids of your jobs that hold a slot now."""
    given = _job_id_of(request)
    if given is None:
        return JSONResponse(await backend.carry_out(backend.jobs.executing(user=user)))
    job_id = _named(given)
    return JSONResponse(job_body(await _known(backend, backend.jobs.get(job_id, user=user))))


@router.get(
    "/jobs/cancel",
    summary="Cancel a job",
    response_model=None,
    responses={
        200: {"model": Cancelled, "description": "`cancelled`, or the status in which it had ended"},
        **refusals(400, 404, for_404=NO_SUCH_JOB),
    },
    openapi_extra={"parameters": [query("jobid", "Which job", required=True, example=_EXAMPLE)]},
)
async def cancel_job(request: Request, backend: TheBackend, user: TheUser) -> JSONResponse:
    """Cancel for the caller, at once. A job that has ended answers with its status, unchanged.

    One that already runs upstream keeps its slot until the upstream ends: Discord cannot be told to stop.
    """
    job_id = _named(_job_id_of(request))
    job = await _known(backend, backend.jobs.cancel(job_id, user=user))
    return JSONResponse({"jobid": job.jobid, "status": job.status, "code": OK})


def _job_id_of(request: Request) -> str | None:
    """Read ``jobid`` as it was sent, encoded or not; None where the query has no such key.

    An id has no space in it: ``+`` stays what it is, so that the refusal quotes what the caller knows.
    """
    text: str = request.url.query.replace("+", "%2B")
    return next((value for name, value in parse_qsl(text, keep_blank_values=True) if name == "jobid"), None)


def _named(job_id: str | None) -> str:
    if not job_id:
        raise RequestInvalid("jobid", "Query param jobid not provided")
    return job_id


async def _known(backend: Backend, call: Call[Job]) -> Job:
    """Do what asks for one job; an unknown one may be among what the store is about to be told again."""
    try:
        return await backend.do(call)
    except JobNotFound:
        if left_ms := await backend.carry_out(backend.learning.noticed_ms()):
            raise LeasingClosed(left_ms) from None
        raise

"""`dispatcher api`, `dispatcher run`, `dispatcher work`: one role of the service each, on as many hosts as wanted."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dispatcher.cli.oracle import ENDPOINT_VARIABLE, Oracle
from dispatcher.cli.place import AsJson, Place, placed
from dispatcher.cli.screen import say, show_json
from dispatcher.http.listener import bound
from dispatcher.log import name_role
from dispatcher.service import run_service

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="TCP port to listen on; 0 is any free one.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("api", epilog="Example: dispatcher api --host 0.0.0.0 --port 8000")(api)
    app.command("run", epilog="Example: dispatcher run --redis-url redis://10.0.0.5:6379/0")(run)
    app.command("work", epilog="Example: dispatcher work --redis-url redis://10.0.0.5:6379/0")(work)


@placed
def api(place: Place, *, host: Host = DEFAULT_HOST, port: Port = DEFAULT_PORT, as_json: AsJson = False) -> None:
    """Serve the HTTP API."""
    from dispatcher.http.backend import store_plainly  # noqa: PLC0415 (FastAPI is loaded by this role alone)
    from dispatcher.http.server import serve  # noqa: PLC0415 (as above)

    settings = place.connected()
    bound(host, port).close()  # before anything is logged
    name_role("api")
    simulator_url = os.environ.get(ENDPOINT_VARIABLE)

    def ready(url: str) -> None:
        if as_json:
            show_json({"ready": True, "url": url})
        else:
            say(f"The API listens on {url}")

    storing = Oracle(simulator_url).storing if simulator_url else store_plainly
    serve(settings, host=host, port=port, ready=ready, storing=storing)


@placed
def run(place: Place) -> None:
    """Run the background service: refill, reap, call back, check accounts, clean. Several may run; none leads."""
    settings = place.connected()
    name_role("run")
    run_service(settings)


@placed
def work(place: Place) -> None:
    """Run a worker: one process carries thousands of jobs."""
    from workers.__main__ import main as run_worker  # noqa: PLC0415 (the worker loads rq, whose prefix is set first)

    settings = place.connected()
    name_role("work")
    run_worker(settings)

"""The log: one form for all lines, ours and the libraries', whichever thread writes them."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
from concurrent.futures import ThreadPoolExecutor

from dispatcher.log import configure_log, get_logger, name_role

name_role("work")
configure_log(json=True)
configure_log(json=True)
get_logger("here").info("said here")
with ThreadPoolExecutor(1) as pool:
    pool.submit(get_logger("there").error, "said there").result()
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("some.library").exception("it %s", "broke")
logging.getLogger("some.library").info("too chatty")
"""


def test_every_line_is_an_event_of_its_process_role() -> None:
    log = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stderr

    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["event"], line["level"], line["role"]) for line in lines] == [
        ("said here", "info", "work"),
        ("said there", "error", "work"),
        ("library speaks", "error", "work"),
    ]
    assert (lines[-1]["logger"], lines[-1]["said"]) == ("some.library", "it broke")
    assert "ZeroDivisionError" in lines[-1]["exception"]

"""Where a run takes place: the store, the way to it, a clock to step, and an empty folder for what remains of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.stage import stage
from chaos.clock import Clock
from chaos.kinds import GATEWAY_KINDS, chosen
from chaos.runner import Run
from chaos.scale import GATEWAY_TIMES, TIMES, Scale
from chaos.store import ChaosStore
from dispatcher.settings import Settings


def play(
    out: Path,
    *,
    scale: Scale,
    names: Collection[str],
    seed: int,
    tell: Callable[[str], None],
    settings: Mapping[str, Any] | None = None,
    code: Path | None = None,
    is_full: bool = False,
    observe: str = "poll",
) -> dict[str, Any]:
    """Play one run; the figures.

    Args:
        out: is emptied; logs, the oracle's verdict and the faults are left there.
        scale: how large.
        names: kinds of faults that may strike.
        seed: of everything that is left to chance.
        tell: takes progress lines.
        settings: that differ from :data:`chaos.scale.TIMES`.
        code: the packages that the fleet runs; None: those of this process.
        is_full: whether too few faults, of any kind, break the run.
        observe: as the setting of that name; with ``gateway`` its kinds of faults may strike as well.
    """
    out = out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    is_heard = observe == "gateway"
    given = {**TIMES, **(GATEWAY_TIMES if is_heard else {}), **(settings or {})}
    unheard = set() if is_heard else {kind.name for kind in GATEWAY_KINDS}
    times = {name: value for name, value in given.items() if name in Settings.model_fields}
    with ExitStack() as open_things:
        store = open_things.enter_context(ChaosStore(out / "store"))
        on = open_things.enter_context(stage(out, times, redis_url=store.url, code=code))
        run = Run(
            stage=on,
            eye_url=lambda: store.direct_url,
            scale=scale,
            times=times,
            kinds=[kind for kind in chosen(set(names) - unheard) if store.clock or not kind.needs_clock],
            seed=seed,
            tell=tell,
            store=store,
            clock=Clock(out / "worker-clock") if store.clock else None,
            is_full=is_full,
        )
        return run.play()

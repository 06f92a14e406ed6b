"""The tiers of the suite: each test is in exactly one, so that no folder can be forgotten (``--tier NAME``).

``fast`` runs before each commit; ``alone`` starts programs and stops them in bad moments: two tests at a time, of
different files, and of chaos never two, so that none sees what another left for a moment; ``rest`` is everything else.
"""

from __future__ import annotations

from pathlib import PurePath

import pytest

TIERS = ("fast", "rest", "alone")
_FAST = ("tests/unit", "tests/integration/lua")
_ALONE = ("tests/acceptance", "tests/chaos")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=TIERS, help="run the tests of one tier only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the other tiers."""
    wanted = config.getoption("--tier")
    if wanted is None:
        return
    kept = [item for item in items if _tier_of_item(item) == wanted]
    if left := [item for item in items if _tier_of_item(item) != wanted]:
        config.hook.pytest_deselected(items=left)
        items[:] = kept
    if wanted == "alone":
        for item in items:
            path = item.path.relative_to(item.config.rootpath)
            group = "chaos" if path.is_relative_to("tests/chaos") else str(path)
            item.add_marker(pytest.mark.xdist_group(group))


def _tier_of_item(item: pytest.Item) -> str:
    path = item.path.relative_to(item.config.rootpath)
    return tier_of(path, is_slow=item.get_closest_marker("slow") is not None)


def tier_of(path: PurePath, *, is_slow: bool) -> str:
    """The tier of a test file, given relative to the project; a test marked slow is never in the fast one."""
    if any(path.is_relative_to(folder) for folder in _ALONE):
        return "alone"
    if any(path.is_relative_to(folder) for folder in _FAST) and not is_slow:
        return "fast"
    return "rest"

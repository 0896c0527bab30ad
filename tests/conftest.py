"""What every test gets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from exporter.logging import QUIET


if TYPE_CHECKING:
    from collections.abc import Iterator


#: Folders whose tests start servers or a browser, or search for long. Elsewhere a module or a test
#: is marked itself.
SLOW = ("browser", "conformance", "e2e", "faults", "fuzz", "rules")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the slow folders out of the fast lane, `pytest -m "not slow"`."""
    folders = tuple(Path(__file__).parent / name for name in SLOW)
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in folders):
            item.add_marker("slow")


# For tests/fuzz, which leave the number of examples to the profile; see the README there.
settings.register_profile(
    "long",
    max_examples=20_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


# Of a machine that is busy with other things any example may take long.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo whatever a test does to the process-wide logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in QUIET}
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, old in quiet.items():
        logging.getLogger(name).setLevel(old)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()

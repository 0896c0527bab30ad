"""Fixtures, options and markers of all tests."""

from __future__ import annotations

import gc
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from exporter.conformance.stalls import REPLAYS
from exporter.logging import QUIET
from tests.support.databases import close_all
from tests.support.pair import MEASURED
from tests.support.versions import SEEN


if TYPE_CHECKING:
    from collections.abc import Iterator


#: Tests that start servers, daemons or a browser, or search for long.
SLOW = (
    "alerts/test_grafana.py",
    "alerts/test_parity.py",
    "alerts/test_templates.py",
    "alerts/test_trees.py",
    "browser",
    "commands/test_demo.py",
    "commands/test_preflight_processes.py",
    "commands/test_status.py",
    "compat",
    "conformance",
    "dashboards/test_answers.py",
    "deploy/test_compose.py",
    "deploy/test_image.py",
    "deploy/test_kubernetes.py",
    "deploy/test_systemd.py",
    "e2e",
    "faults",
    "fuzz",
    "http/test_wire.py",
    "paging",
    "rules",
    "state/test_kill.py",
    "state/test_processes.py",
    "test_daemon.py",
    "test_sharding.py",
    "test_systemd.py",
    "web/access/test_tls.py",
    "web/server",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options by which `.ci/slow` plays more than CI has time for."""
    parser.addoption("--plays", type=int, default=1, help="how often scenarios are played")
    parser.addoption("--whole", action="store_true", help="play all faults, not a sample of them")
    parser.addoption("--seed", type=int, default=1, help="of the first of these plays")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep slow folders and modules out of the fast lane, `pytest -m "not slow"`."""
    slow = tuple(Path(__file__).parent / name for name in SLOW)
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in slow):
            item.add_marker("slow")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Keep reference cycles uncollected, as they can be for hours in a long-running process."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# For tests/fuzz, whose tests take the number of examples from the profile; see its README.
settings.register_profile(
    "long",
    max_examples=20_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


# On a busy machine any example may take long, so there is no deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was repeated because the event loop stood still, measurements and versions."""
    for title, lines in (("repeated", REPLAYS), ("measured", MEASURED), ("ran with", SEEN)):
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _databases_closed() -> Iterator[None]:
    """Close the databases that a test leaves open."""
    yield
    close_all()


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


@pytest.fixture(scope="session")
def _states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


@pytest.fixture(autouse=True)
def _state_elsewhere(_states: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the state of a test, and of the processes it starts, out of the developer's home."""
    # Not by `tmp_path_factory.mktemp`, which lists the folders of all earlier tests.
    monkeypatch.setenv("XDG_STATE_HOME", tempfile.mkdtemp(dir=_states))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)

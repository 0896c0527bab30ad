from __future__ import annotations

import pytest

from exporter.fleet.readings import PHASES
from exporter.sources.blazemeter.phases import STATUSES, code_of, is_over, phase_of


# The published pairs with the phases they stand for, as the reference gives them.
PUBLISHED = [
    (0, "UNKNOWN", "unknown"),
    (5, "CREATE", "pending"),
    (10, "CONFIGURING_DEPENDENCIES", "pending"),
    (14, "PREPARING_PROVISIONING", "pending"),
    (15, "INITIALIZING", "booting"),
    (20, "RETRYING", "booting"),
    (25, "BOOT_STARTING", "booting"),
    (40, "BOOT_COMPLETE", "booting"),
    (45, "INSTANCE_ALIVE", "booting"),
    (50, "INIT_SCRIPT", "downloading"),
    (60, "FILES_DOWNLOADED", "downloading"),
    (70, "JMETER_ENGINE_INIT", "ready"),
    (71, "TAURUS_ENGINE_INIT", "ready"),
    (80, "JMETER_CONSOLE_INIT", "ready"),
    (90, "TAURUS_ENGINE_READY", "ready"),
    (99, "JETPACK_DATA_RECEIVED", "running"),
    (100, "DATA_RECEIVED", "running"),
    (120, "FINALIZING", "stopping"),
    (130, "TERMINATING", "stopping"),
    (135, "TAURUS_BZT_DONE", "stopping"),
    (136, "TAURUS_IMAGE_DONE", "stopping"),
    (140, "ENDED", "ended"),
    (150, "NULL", "unknown"),
]


def look(name: str | None, progress: float | None) -> tuple[str, list[str]]:
    """Return the phase of a status and the surprises on the way."""
    surprises: list[str] = []
    return phase_of(code_of(name, progress, surprises.append)), surprises


@pytest.mark.parametrize(("code", "name", "phase"), PUBLISHED)
def test_knows_all_published_statuses(code: int, name: str, phase: str) -> None:
    """Each of the 23 codes has its phase, without a surprise."""
    assert (phase, []) == look(name, code)


def test_has_no_other_statuses() -> None:
    """The table is the published one, and its phases are those of the metric."""
    assert PUBLISHED == list(STATUSES)
    assert {phase for _, _, phase in STATUSES} <= set(PHASES)


@pytest.mark.parametrize(("name", "code"), [("DATA_RECIEVED", 100), ("BOOT-STARTING", 25)])
def test_falls_to_the_code_of_an_unlisted_name(name: str, code: int) -> None:
    """A name that is spelt otherwise changes nothing but the count of surprises."""
    assert (phase_of(code), ["enum"]) == look(name, code)


@pytest.mark.parametrize("code", [-1, 101, 139.5, 160, 1e300])
def test_takes_an_unlisted_code_for_unknown(code: float) -> None:
    """A code that is not in the table is unknown, whatever the name says."""
    assert ("unknown", ["enum"]) == look("DATA_RECEIVED", code)
    assert not is_over(code)


def test_falls_to_the_name_where_there_is_no_code() -> None:
    """The name decides only when the code is missing."""
    assert ("running", []) == look("DATA_RECEIVED", None)
    assert ("unknown", ["enum"]) == look("SOMETHING", None)
    assert ("unknown", []) == look(None, None)


def test_only_the_last_two_codes_are_over() -> None:
    """A run is in flight up to 136; 140 and 150 are not."""
    assert [140, 150] == [code for code, _, _ in STATUSES if is_over(code)]
    assert not is_over(None)

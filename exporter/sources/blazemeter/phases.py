"""Where a run stands, by the vendor's codes (reference section A6).

The two published lists, of codes and of names, correspond by position. The code decides: names
have been spelt differently over time (`DATA_RECIEVED`, `BOOT-STARTING`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from exporter.sources.decode import Surprised


#: code, name, phase: all of the published lists; the phases are read from the names.
STATUSES: tuple[tuple[int, str, str], ...] = (
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
)

UNKNOWN = "unknown"

#: At this code a run is over. 150 is beyond it: its meaning is not documented, but nothing runs.
ENDED = 140

_PHASES: dict[float, str] = {code: phase for code, _, phase in STATUSES}
_CODES: dict[str, int] = {name: code for code, name, _ in STATUSES}


def code_of(name: str | None, progress: float | None, surprise: Surprised) -> float | None:
    """Return the code of a status, from its name only where the code is missing.

    A name or a code that is not in the table is a surprise of kind `enum`.
    """
    if (name is not None and name not in _CODES) or (
        progress is not None and progress not in _PHASES
    ):
        surprise("enum")
    return _CODES.get(name or "") if progress is None else progress


def phase_of(code: float | None) -> str:
    """Return the phase, `unknown` for a code that is not in the table."""
    return UNKNOWN if code is None else _PHASES.get(code, UNKNOWN)


def is_over(code: float | None) -> bool:
    """Tell whether a run with this code is no longer in flight.

    A code that is not in the table says nothing, however large it is.
    """
    return code is not None and code >= ENDED and code in _PHASES

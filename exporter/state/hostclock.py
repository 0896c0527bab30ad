"""The clock of the state: one for all processes of the host, which goes on over reboots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec


if TYPE_CHECKING:
    from exporter.clock import Clock


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Offset(msgspec.Struct, frozen=True, kw_only=True):
    """The seconds that are added to the time since a boot.

    Attributes:
        boot_id: Of that boot.
    """

    boot_id: str
    seconds: float


class HostClock(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of which the clock of the state is made.

    It counts the seconds since the boot, so that nobody who sets the wall clock moves it.

    Attributes:
        boottime: Seconds since the boot, the machine's sleep included.
        time: Seconds since the epoch.
        boot_id: Differs from boot to boot; empty if the system has none.
    """

    boottime: Callable[[], float]
    time: Callable[[], float]
    boot_id: str

    @classmethod
    def of(cls, clock: Clock) -> HostClock:
        """Make it from the clocks of this host."""
        try:
            boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            boot_id = ""
        return cls(boottime=clock.boottime, time=clock.time, boot_id=boot_id)

    def offset(self, kept: Offset | None, newest: float) -> Offset:
        """Return what to add to the time since the boot.

        Args:
            kept: What was added last, by whichever process; `None` if nothing was.
            newest: The newest stamp by this clock, at or above which it goes on.
        """
        boottime = self.boottime()
        # Also without a boot id, or with a machine set back to an earlier picture of itself, the
        # clock never goes back.
        if kept and kept.boot_id == self.boot_id and boottime + kept.seconds >= newest:
            return kept
        return Offset(boot_id=self.boot_id, seconds=max(self.time(), newest) - boottime)

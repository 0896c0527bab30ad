"""The clock of the state: one clock for all processes of a host, which continues over reboots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec


if TYPE_CHECKING:
    from exporter.clock import Clock


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Offset(msgspec.Struct, frozen=True, kw_only=True):
    """The seconds to add to the time since a boot.

    Attributes:
        boot_id: The identifier of that boot.
    """

    boot_id: str
    seconds: float


class HostClock(msgspec.Struct, frozen=True, kw_only=True):
    """The host's clocks from which the state's clock is made.

    The state's clock counts from the boot, so that setting the wall clock does not move it.

    Attributes:
        boottime: Returns the seconds since the boot, including the machine's sleep.
        time: Returns the Unix time in seconds.
        boot_id: The identifier of this boot; empty if the system has none.
    """

    boottime: Callable[[], float]
    time: Callable[[], float]
    boot_id: str

    @classmethod
    def of(cls, clock: Clock) -> HostClock:
        """Return the clocks of this host."""
        try:
            boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            boot_id = ""
        return cls(boottime=clock.boottime, time=clock.time, boot_id=boot_id)

    def offset(self, kept: Offset | None, newest: float) -> Offset:
        """Return the offset between the time since the boot and the state's clock.

        Args:
            kept: The offset that the file holds, by any process; `None` without one.
            newest: The newest stamp by the state's clock, which continues from there.
        """
        boottime = self.boottime()
        # The clock never goes back, also without a boot id or on a machine reset to a snapshot.
        if kept and kept.boot_id == self.boot_id and boottime + kept.seconds >= newest:
            return kept
        return Offset(boot_id=self.boot_id, seconds=max(self.time(), newest) - boottime)

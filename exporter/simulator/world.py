"""A simulated world: its time, its machines, which go up and down, and changes from outside."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec


if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from exporter.clock import Clock


class Timeline:
    """The time of one world, which begins at 0, runs at a pace and can be stopped.

    A moment is a number of simulated seconds; negative moments are before the world's beginning.

    Args:
        pace: Simulated seconds per real second.

    Attributes:
        skew_seconds: The vendor's clock minus the true time.
    """

    def __init__(self, clock: Clock, *, pace: float = 1.0, still: bool = False) -> None:
        self._clock = clock
        self._pace = pace
        self._still = still
        self._anchor = clock.now()
        self._anchor_moment = 0.0
        self.skew_seconds = 0.0

    @property
    def still(self) -> bool:
        """True while the world's time is stopped."""
        return self._still

    @still.setter
    def still(self, still: bool) -> None:
        moment = self.moment()
        self._anchor = self._clock.now()
        self._anchor_moment = moment
        self._still = still

    def moment(self) -> float:
        """Return the present moment."""
        if self._still:
            return self._anchor_moment
        passed = self._clock.monotonic() - self._anchor.monotonic
        return self._anchor_moment + passed * self._pace

    def now(self) -> float:
        """Return the vendor's clock in Unix seconds, which runs even while the world is stopped."""
        return self._clock.time() + self.skew_seconds

    def unix(self, moment: float) -> float:
        """Return a moment in Unix seconds of the vendor's clock."""
        passed = (moment - self._anchor_moment) / self._pace
        return self._anchor.unix + passed + self.skew_seconds


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """A repeated alternation of up and down.

    Attributes:
        period_seconds: The length of one period.
        up_seconds: The up time at the beginning of each period.
        phase_seconds: The position in the period at which the world begins.
    """

    period_seconds: float = math.inf
    up_seconds: float = math.inf
    phase_seconds: float = 0.0

    def is_up(self, moment: float) -> bool:
        """Return whether the wave is up at a moment."""
        return (moment + self.phase_seconds) % self.period_seconds < self.up_seconds

    def came_up(self, moment: float) -> float | None:
        """Return the moment when the present period began; `None` in the world's first period."""
        turn, into = divmod(moment + self.phase_seconds, self.period_seconds)
        return moment - into if turn >= 1 else None

    def went_down(self, moment: float) -> float:
        """Return the moment when the down time of the present period began or will begin."""
        return moment - (moment + self.phase_seconds) % self.period_seconds + self.up_seconds


STEADY = Wave()


class Machine(msgspec.Struct, kw_only=True):
    """A machine of a fleet. It can be changed from outside at any time.

    Attributes:
        up: A forced state; with `None` the wave decides.
        age_seconds: Its up time when the world began.
        outdated: Whether the vendor rejects its version.
        skew_seconds: Its clock minus the true time.
        delay_seconds: Duration of a call to it; `None` for the portal's default.
        jitter: A number from 0 to 1 that makes its measurements differ from other machines'.
    """

    wave: Wave = STEADY
    up: bool | None = None
    age_seconds: float = 86_400.0
    version: str = ""
    outdated: bool = False
    skew_seconds: float = 0.0
    delay_seconds: float | None = None
    jitter: float = 0.5

    def is_up(self, moment: float) -> bool:
        """Return whether the machine is up at a moment."""
        return self.wave.is_up(moment) if self.up is None else self.up

    def took(self, moment: float, *, least_millis: int, spread_millis: int) -> int:
        """Return the duration of a call to it in milliseconds, which varies with time."""
        swing = 0.15 * math.sin(moment / 17 + 40 * self.jitter) * math.sin(moment / 5)
        return least_millis + int(spread_millis * max(0.0, self.jitter + swing))

    def started(self, moment: float) -> float:
        """Return the moment when the machine started."""
        came_up = self.wave.came_up(moment)
        return -self.age_seconds if came_up is None else came_up


class UnknownChangeError(Exception):
    """A change names an object or attribute that does not exist, or has a wrong value."""


class World:
    """The state of one simulated vendor: named tables of objects that can be changed.

    Attributes:
        kinds: The names of the tables; each is an attribute, a dictionary of objects by id.
    """

    kinds: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline

    def table(self, kind: str) -> MutableMapping[str, Any]:
        """Return the objects of one kind by id.

        Raises:
            UnknownChangeError: The kind does not exist.
        """
        if kind not in self.kinds:
            raise UnknownChangeError(f"there are no {kind!r}, only {sorted(self.kinds)}")
        things: MutableMapping[str, Any] = getattr(self, kind)
        return things

    def change(self, kind: str, key: str | int, **changes: object) -> None:
        """Change attributes of one object, for instance `change("agents", 41, up=False)`.

        Raises:
            UnknownChangeError: The object or an attribute does not exist, or a value is wrong.
        """
        thing = self.table(kind).get(str(key))
        if thing is None:
            raise UnknownChangeError(f"{kind}: there is no {key}")
        types = {field.name: field.type for field in msgspec.structs.fields(thing)}
        for name, value in changes.items():
            if name not in types:
                raise UnknownChangeError(f"{kind}: {name!r} is none of {sorted(types)}")
            try:
                setattr(thing, name, msgspec.convert(value, types[name]))
            except msgspec.ValidationError as error:
                raise UnknownChangeError(f"{kind}: {name}: {error}") from error

    def delete(self, kind: str, key: str | int) -> None:
        """Remove one object from the world.

        Raises:
            UnknownChangeError: The object does not exist.
        """
        if self.table(kind).pop(str(key), None) is None:
            raise UnknownChangeError(f"{kind}: there is no {key}")

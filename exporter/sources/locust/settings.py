"""Settings of a Locust master."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from exporter.sources.api import BasicSettings, Duration, Mistake, Name, expected_mistakes


#: A dead worker is listed as missing for 60 s, by Locust's own constant, and is then gone.
MISSING_SECONDS = 60.0


class LocustSettings(BasicSettings):
    """One master, or one Locust without workers.

    `username` and `password` are for a proxy in front; Locust's own login page cannot be passed.

    Attributes:
        url: The web interface, with the prefix of `--web-base-path` if it has one.
        expected_agents: Workers that are down when they are not connected, seen before or not: by
            their host's name, the second of a host as `name/2`.
        remember_for: How long a worker that died counts as down after it was last up.
        leave_grace: How long nothing is said of a worker whose row went although it was well, as
            after a stop of the test; longer than Locust's `--stop-timeout`.
        run_linger: How long a test is shown after its end.
    """

    TASKS: ClassVar[Mapping[str, float | None]] = {"agents": 20.0, "controllers": 60.0}
    FILTERS: ClassVar[Collection[str]] = ("agents",)

    provider: Literal["locust"] = "locust"
    name: Name = "locust"
    expected_agents: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    remember_for: Duration = 86_400.0
    leave_grace: Duration = 120.0
    run_linger: Duration = 3_600.0

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        yield from super().mistakes()
        yield from expected_mistakes(self, self.expected_agents)

    def risks(self) -> Iterator[str]:
        """Yield a sentence on everything that works and may do harm, with the remedy."""
        yield from super().risks()
        interval = self.interval_for("agents")
        if interval is not None and interval > MISSING_SECONDS / 3:
            yield (
                f"{self.name} is polled every {interval:g} s, and a dead worker is listed for"
                f" {MISSING_SECONDS:g} s only; set tasks.agents to 20s or less"
            )

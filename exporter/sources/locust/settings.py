"""Settings of a Locust master."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from exporter.sources.api import BasicSettings, Duration, Mistake, Name, expected_mistakes


#: Locust lists a dead worker as missing for 60 s (its own constant) and then drops it.
MISSING_SECONDS = 60.0


class LocustSettings(BasicSettings):
    """The settings of one master, or of one Locust process without workers.

    `username` and `password` are for a proxy in front of Locust; the exporter cannot log in on
    Locust's own login page.

    Attributes:
        url: The URL of the web interface, including the prefix of `--web-base-path` if there is
            one.
        expected_agents: Workers that count as down whenever they are not connected, even if they
            never were: as the name of their host, the second worker of a host as `name/2`.
        remember_for: How long a dead worker counts as down after it was last up.
        leave_grace: How long the state of a worker is unknown after it left the list while it was
            up, as when a test is stopped; must exceed Locust's `--stop-timeout`.
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
        """Yield mistakes in combinations of fields that are valid on their own."""
        yield from super().mistakes()
        yield from expected_mistakes(self, self.expected_agents)

    def risks(self) -> Iterator[str]:
        """Yield a sentence for each valid but risky setting, with the remedy."""
        yield from super().risks()
        interval = self.interval_for("agents")
        if interval is not None and interval > MISSING_SECONDS / 3:
            yield (
                f"{self.name} is polled every {interval:g} s, and a dead worker is listed for"
                f" {MISSING_SECONDS:g} s only; set tasks.agents to 20s or less"
            )

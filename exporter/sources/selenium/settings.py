"""Settings of a Selenium Grid."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from exporter.sources.api import BasicSettings, Duration, Mistake, Name, expected_mistakes


class SeleniumSettings(BasicSettings):
    """One hub, or one standalone server.

    Attributes:
        url: The hub, with the prefix of `--sub-path` if it has one.
        expected_agents: Nodes that are down when they are not registered, seen before or not, each
            as `host:port` of its address.
        min_agent_version: A node that is up and older is outdated.
        remember_for: How long a node that died counts as down after it was last up.
        leave_grace: How long nothing is said of a node whose row went although it was well, before
            it is forgotten, or down if it is expected.
    """

    TASKS: ClassVar[Mapping[str, float | None]] = {"agents": 30.0, "controllers": 60.0}
    FILTERS: ClassVar[Collection[str]] = ("agents",)

    provider: Literal["selenium"] = "selenium"
    name: Name = "selenium"
    expected_agents: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    min_agent_version: Annotated[str, Field(min_length=1)] | None = None
    remember_for: Duration = 86_400.0
    leave_grace: Duration = 60.0

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        yield from super().mistakes()
        yield from expected_mistakes(self, self.expected_agents)

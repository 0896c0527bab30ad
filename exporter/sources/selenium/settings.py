"""Settings of a Selenium Grid."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from exporter.sources.api import BasicSettings, Duration, Mistake, Name, expected_mistakes


class SeleniumSettings(BasicSettings):
    """The settings of one hub or one standalone server.

    Attributes:
        url: The URL of the hub, including the prefix of `--sub-path` if there is one.
        expected_agents: Nodes that count as down whenever they are not registered, even if they
            never were: as `host:port` of their address.
        min_agent_version: A node with an older version is outdated.
        remember_for: How long a dead node counts as down after it was last up.
        leave_grace: How long the state of a node is unknown after it left the list while it was up.
            Afterwards the node is forgotten, or down if it is expected.
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
        """Yield mistakes in combinations of fields that are valid on their own."""
        yield from super().mistakes()
        yield from expected_mistakes(self, self.expected_agents)

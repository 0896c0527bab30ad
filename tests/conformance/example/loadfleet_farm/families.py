"""Metrics that only a farm has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.api import Kind, Reading, TargetMapping, family, mapped, number


if TYPE_CHECKING:
    from collections.abc import Mapping


class GeneratorLoad(Reading, frozen=True, kw_only=True):
    """The load of a generator."""

    agent_id: str
    agent: str
    users: float | None = None


USERS = family("farm", "agent_users", "Virtual users of the generator now.", of=Kind.AGENT)

MAPPINGS: Mapping[type[Reading], tuple[TargetMapping, ...]] = {
    GeneratorLoad: (mapped(("agent_id", "agent"), number(USERS, "users")),),
}

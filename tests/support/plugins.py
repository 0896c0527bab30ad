"""A provider of another package, installed into a folder."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


RECORD = """
from typing import Literal

from exporter.sources.api import (
    BasicSettings, Kind, Name, Provider, Reading, family, mapped, number,
)


class Settings(BasicSettings):
    TASKS = {"agents": 30.0}
    provider: Literal["acme"] = "acme"
    name: Name = "acme"


class Load(Reading, frozen=True, kw_only=True):
    agent_id: str
    agent: str
    heat: float | None = None


HEAT = family("acme", "agent_heat_celsius", "How warm the machine is.", of=Kind.AGENT)

ACME = Provider(
    name="acme",
    settings=Settings,
    connector="acme.client:connect",
    kinds=("agent",),
    mappings={Load: (mapped(("agent_id", "agent"), number(HEAT, "heat")),)},
)
"""

CLIENT = """
from acme import Load
from exporter.sources.api import (
    Agent, AgentState, Client, Explanation, Poll, Source, http_client,
)


def connect(settings, context):
    http = http_client(settings, context, settings.fingerprint)
    client = Acme(settings, context, http=http, fingerprint=settings.fingerprint)
    return Source(client, tasks={"agents": client.poll}, explainers={"agent": client.explain})


class Acme(Client):
    async def prove(self):
        pass

    async def poll(self):
        return Poll(readings=(self.agent(), self.load()))

    async def explain(self, target_id):
        if target_id != "a1":
            raise LookupError(f"there is no agent {target_id!r}")
        return Explanation(reading=self.agent(), reply={"heat": 36.5}, more=(self.load(),))

    def load(self):
        return Load(agent_id="a1", agent="oven", heat=36.5)

    def agent(self):
        state = AgentState(read_at=self.context.clock.now(), up=True)
        return Agent(agent_id="a1", agent="oven", state=state)
"""


def install(
    folder: Path, *, record: str = RECORD, client: str = CLIENT, name: str = "acme"
) -> Path:
    """Install the plug-in `acme-load` 1.2 into a folder, for use in `sys.path`.

    Args:
        folder: The folder.
        record: The module of the provider's record.
        client: The module of its connector.
        name: The name of the entry point.
    """
    package, metadata = folder / "acme", folder / "acme_load-1.2.dist-info"
    for each in (package, metadata):
        each.mkdir(parents=True)
    (package / "__init__.py").write_text(dedent(record))
    (package / "client.py").write_text(dedent(client))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-load\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(
        f"[loadfleet_exporter.providers]\n{name} = acme:ACME\n"
    )
    return folder

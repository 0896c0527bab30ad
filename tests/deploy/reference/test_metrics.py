from __future__ import annotations

from msgspec import structs

from deploy.reference.metrics import table_of_families, table_of_own
from exporter.metrics.catalogue import AGENT_UP
from exporter.metrics.own import POLLS


def test_lists_families_by_the_beginning_of_their_names() -> None:
    """A table holds the families asked for, with their own labels."""
    listed = table_of_families("agent_")

    assert "| `loadfleet_agent_jobs` | `agent_id`, `agent`, `state` |" in listed
    assert "loadfleet_controller" not in listed


def test_lists_former_names_behind_the_families() -> None:
    """A former name must be listed behind its family, with the name to use instead."""
    former = (("loadfleet_agents_alive", "0.2"),)

    listed = table_of_families(
        "agent_", families=[structs.replace(AGENT_UP, former_names=former)]
    ).splitlines()
    own = table_of_own([structs.replace(POLLS, former_names=former)])

    row = "| `loadfleet_agents_alive` | `agent_id`, `agent` | Deprecated since 0.2, use"
    assert listed[-2].startswith("| `loadfleet_agent_up` |")
    assert f"{row} loadfleet_agent_up. |" == listed[-1]
    assert "| Deprecated since 0.2, use loadfleet_exporter_polls_total. |" in own


def test_lists_own_metrics_under_the_names_that_are_exposed() -> None:
    """A counter's name has its ending, and every metric its labels."""
    listed = table_of_own()

    assert "| `loadfleet_exporter_polls_total` | counter | `provider`, `source`, `task` |" in listed
    assert "| `loadfleet_exporter_exposition_bytes` | gauge |  |" in listed

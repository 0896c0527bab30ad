from __future__ import annotations

from deploy.reference.metrics import table_of_families, table_of_own


def test_lists_families_by_the_beginning_of_their_names() -> None:
    """A table holds the families asked for, with their own labels."""
    listed = table_of_families("agent_")

    assert "| `loadfleet_agent_jobs` | `agent_id`, `agent`, `state` |" in listed
    assert "loadfleet_controller" not in listed


def test_lists_own_metrics_under_the_names_that_are_exposed() -> None:
    """A counter's name has its ending, and every metric its labels."""
    listed = table_of_own()

    assert "| `loadfleet_exporter_polls_total` | counter | `provider`, `source`, `task` |" in listed
    assert "| `loadfleet_exporter_exposition_bytes` | gauge |  |" in listed

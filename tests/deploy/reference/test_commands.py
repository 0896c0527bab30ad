from __future__ import annotations

from deploy.reference.commands import table_of_command_flags, table_of_commands, table_of_flags


def test_shows_how_a_command_is_called() -> None:
    """Optional arguments must stand in brackets."""
    listed = table_of_commands()

    assert "`loadfleet-exporter [run]`" in listed
    assert "`loadfleet-exporter explain SOURCE KIND ID`" in listed
    assert "`loadfleet-exporter dashboards [DASHBOARD]`" in listed
    assert "`loadfleet-exporter preflight [NAME…]`" in listed


def test_shows_the_twin_of_a_flag_and_who_takes_it() -> None:
    """A reader sees by which variable, and with which commands."""
    listed = table_of_flags()

    assert "| `--shard=N` | `LOADFLEET_SHARD` |" in listed
    assert "| `run`, `demo`, `check-config`, `alert-test` |" in listed


def test_leaves_flags_with_a_twin_to_their_own_table() -> None:
    """A command's table holds only what no other table does."""
    listed = table_of_command_flags("status")

    assert "| `--format=table\\|json\\|prom` |" in listed
    assert "--config.file" not in listed

from __future__ import annotations

from deploy.reference.markdown import code, table


def test_writes_a_table() -> None:
    """Each row is a line, and nothing in a cell can end the cell or the line."""
    assert "| a | b |\n| --- | --- |\n| 1\\|2 | 3 4 |\n" == table(("a", "b"), [("1|2", "3\n4")])


def test_writes_nothing_as_nothing() -> None:
    """An empty cell holds no empty code."""
    assert ("`x`", "") == (code("x"), code(""))

from __future__ import annotations

import pytest

from deploy.reference.values import rows, table_of_values


def test_lists_values_with_their_comments() -> None:
    """Nested values have dotted names, and what one comment describes is one row."""
    text = (
        "# About the file.\n\n"
        "# -- The name,\n# in full.\nname: a\n"
        "image:\n  # -- Its tag.\n  tag: null\n"
        "# -- Limits.\nlimits:\n  cpu: 1\n  of: [x, é]\n"
    )

    assert [
        ("`name`", '`"a"`', "The name, in full."),
        ("`image.tag`", "`null`", "Its tag."),
        ("`limits`", '`{"cpu": 1, "of": ["x", "é"]}`', "Limits."),
    ] == list(rows(text))


@pytest.mark.parametrize(
    "text", ["a: 1\n", "# no dashes\na: 1\n", "# -- b\n\na: {}\n", "a:\n  b:\n"]
)
def test_refuses_a_value_without_a_comment(text: str) -> None:
    """A value that nobody describes must not get lost."""
    with pytest.raises(LookupError, match=r"^a"):
        list(rows(text))


def test_lists_those_of_the_chart() -> None:
    """The table is of the chart that is released."""
    assert '| `serviceMonitor.interval` | `"30s"` | Scrape interval. |\n' in table_of_values()

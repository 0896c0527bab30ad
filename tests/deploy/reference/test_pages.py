from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.reference.__main__ import main
from deploy.reference.pages import filled


if TYPE_CHECKING:
    from pathlib import Path


def test_replaces_what_stands_between_the_comments() -> None:
    """Old content of a part goes, everything around it stays."""
    page = "before\n<!-- begin: settings log -->\nold\n<!-- end -->\nafter\n"

    made = filled(page)

    assert "old" not in made
    assert made.startswith("before\n<!-- begin: settings log -->\n\n| Key |")
    assert made.endswith("|\n\n<!-- end -->\nafter\n")


def test_fills_each_part_by_itself() -> None:
    """Each generated part must end at its own mark, and leave text between parts alone."""
    part = "<!-- begin: settings log -->\n<!-- end -->\n"

    made = filled(f"{part}by hand\n{part}")

    assert 2 == made.count("| `level` |")
    assert "by hand" in made


def test_is_done_once_it_is_done() -> None:
    """A page that is up to date does not change."""
    once = filled("<!-- begin: commands -->\n<!-- end -->\n")

    assert once == filled(once)


def test_the_command_fills_files(tmp_path: Path) -> None:
    """`python -m deploy.reference` is how pages are brought up to date, several at once."""
    pages = [tmp_path / "one.md", tmp_path / "two.md"]
    for page in pages:
        page.write_text("<!-- begin: commands -->\nold\n<!-- end -->\n")

    subprocess.run([sys.executable, "-m", "deploy.reference", *pages], check=True)

    expected = filled("<!-- begin: commands -->\n<!-- end -->\n")
    assert [expected] * 2 == [page.read_text() for page in pages]


def test_the_command_names_a_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped name is no crash."""
    code = main([f"{tmp_path}/nope.md"])

    assert 2 == code
    expected = f"{tmp_path}/nope.md: No such file or directory; name existing Markdown files"
    assert f"{expected}\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    "part", ["nothing", "settings nowhere", "settings log.level", "families nothing_"]
)
def test_refuses_a_part_that_names_nothing(part: str) -> None:
    """A mistake in a page must not leave an empty part behind."""
    with pytest.raises(LookupError):
        filled(f"<!-- begin: {part} -->\n<!-- end -->\n")

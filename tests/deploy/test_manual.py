"""The manual page: complete, and without a complaint of mandoc or groff."""

from __future__ import annotations

import re
import subprocess
from datetime import date

import pytest

from deploy.reference.commands import arguments_of
from deploy.reference.manual import page
from exporter import __version__, cli
from exporter.settings import flags
from tests.support.servers import require


@pytest.fixture(scope="module")
def source() -> str:
    return page(date(2026, 11, 3))


def mandoc(source: str, *options: str) -> str:
    """Render the page by mandoc, which must report nothing."""
    done = subprocess.run(
        [require("mandoc"), *options], input=source, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    return done.stdout


def test_mandoc_has_nothing_to_mend(source: str) -> None:
    """Mandoc must find nothing wrong, but for references to pages that are not installed."""
    assert "" == mandoc(source, "-T", "lint", "-W", "warning")


def test_it_names_all_there_is(source: str) -> None:
    """Commands, flags, variables and the version must be in the page as a terminal shows it."""
    words = set(re.findall(r"[\w.-]*\w", re.sub(".\b", "", mandoc(source, "-T", "ascii"))))
    taken = {option for command in cli.COMMANDS for option, _ in arguments_of(command)}
    variables = {flag.environment for flag in flags.ALL}

    assert set() == {*cli.COMMANDS, *taken, *variables, __version__} - words


def test_its_date_is_the_one_given(source: str) -> None:
    """The same version must make the same page on any day."""
    assert source.startswith(".Dd November 3, 2026\n")

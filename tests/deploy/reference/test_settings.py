from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, SecretStr

from deploy.reference.settings import rows, table_of_settings, table_of_tasks
from exporter.config.types import Duration, FilePath, Interval, Regex, Size, TimeLimit, Url, Whole
from exporter.config.validation import Section
from exporter.settings.preflights import Machines


class Inner(Section):
    """Within."""


class Example(Section):
    """An example.

    Attributes:
        duration: What has a
            longer text.
        limit: 2.
        interval: 3.
        size: 4.
        url: 5.
        regex: 6.
        whole: 7.
        secret: 8.
        file: 9.
        inner: 10.
        several: 11.
    """

    duration: Duration = 90.0
    limit: TimeLimit | None = None
    interval: Interval = None
    size: Size = 1 << 20
    url: Url = ""
    regex: dict[str, Regex] = Field(default_factory=dict)
    whole: Annotated[Whole, Field(ge=1)] | None = None
    secret: SecretStr | None = None
    file: FilePath | None = None
    inner: Inner = Inner()
    several: tuple[Annotated[str, Field(min_length=1)], ...] = ("a", "b")


class Undescribed(Section):
    """Says nothing of its setting."""

    setting: int = 1


def test_says_what_each_setting_takes() -> None:
    """The type of each setting must be written as in the file."""
    assert [
        ("`duration`", "duration", "`1m30s`", "What has a longer text."),
        ("`limit`", "duration", "", "2."),
        ("`interval`", "duration or `off`", "`off`", "3."),
        ("`size`", "size", "`1MiB`", "4."),
        ("`url`", "URL", "", "5."),
        ("`regex`", "mapping to: regular expression", "", "6."),
        ("`whole`", "whole number", "", "7."),
        ("`secret`", "text, secret", "", "8."),
        ("`file`", "file", "", "9."),
        ("`inner`", "mapping", "", "10."),
        ("`several`", "list: text", "`a`, `b`", "11."),
    ] == list(rows(Example))


def test_says_what_a_setting_means_where_it_is_inherited() -> None:
    """A part that several have in common is explained once, and stands in each table."""
    listed = [key for key, *_ in rows(Machines)]

    assert ["`source`", "`include`", "`exclude`", "`min_up`", "`max_down`"] == listed


def test_demands_a_description() -> None:
    """A setting that nobody explains must not come into the reference silently."""
    with pytest.raises(LookupError):
        list(rows(Undescribed))


def test_leaves_out_what_is_inherited() -> None:
    """A provider's table has its own settings, and those it says something else of."""
    listed = table_of_settings("realload")

    assert "| `auth_token` |" in listed
    assert "RemoteUserAPI" in listed
    assert "`concurrency`" not in listed
    assert "`include`" not in listed


def test_lists_tasks_with_their_intervals() -> None:
    """A task must be listed with its interval, or as off when it is off by default."""
    listed = table_of_tasks("realload")

    assert "| `versions` | `10m` |\n" in listed
    assert "| `jobs` | `off` |\n" in listed

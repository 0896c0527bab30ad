from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from exporter.config.types import (
    Boolean,
    Interval,
    Regex,
    TimeLimit,
    Url,
    Whole,
    WrongValueError,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1d", 86400.0),
        ("2w", 1209600.0),
        ("1y", 31536000.0),
        ("1d2h3m4s5ms", 93784.005),
        ("0s", 0.0),
        ("0", 0.0),
        (0, 0.0),
    ],
)
def test_durations_are_read_as_prometheus_reads_them(text: object, seconds: float) -> None:
    """Durations must be read as Prometheus reads them."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "s",
        "5",
        "1.5s",
        "-5s",
        "5 m",
        "30m1h",
        "5m5m",
        "5M",
        "\u0665s",
        "1e3s",
        5,
        1.5,
        True,
        None,
        [],
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    """A number without a unit, a fraction or a wrong order is a mistake with a remedy."""
    with pytest.raises(WrongValueError, match="write"):
        parse_duration(value)


@pytest.mark.parametrize("value", [5, "5", -5, "-5", 1.5, "1.5", "1e3"])
def test_a_number_without_a_unit_is_told_so(value: object) -> None:
    """The environment delivers texts, and its mistakes must read like those of the file."""
    with pytest.raises(WrongValueError, match="has no unit"):
        parse_duration(value)


def test_a_duration_has_an_end() -> None:
    """Numbers that no clock can add are refused."""
    with pytest.raises(WrongValueError, match="100 years"):
        parse_duration("999999999999999y")


@given(st.integers(min_value=0, max_value=100 * 365 * 86_400_000))
def test_a_written_duration_reads_as_the_same(milliseconds: int) -> None:
    """Writing and reading are each other's opposite to the millisecond."""
    seconds = milliseconds / 1000

    assert seconds == parse_duration(format_duration(seconds))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60.0, "1m"), (5400.0, "1h30m"), (0.25, "250ms"), (1209600.0, "14d"), (0.0, "0s")],
)
def test_durations_are_written_shortly(seconds: float, text: str) -> None:
    """Units without a number are left out."""
    assert text == format_duration(seconds)


@given(st.integers(min_value=0, max_value=1 << 39))
def test_a_written_size_reads_as_the_same(size: int) -> None:
    """Writing and reading are each other's opposite to the byte."""
    assert size == parse_size(format_size(size))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Interval, False, None),
        (Interval, "off", None),
        (Interval, "5m", 300.0),
        (Boolean, True, True),
        (Boolean, "True", True),
        (Boolean, "1", True),
        (Boolean, "false", False),
        (Boolean, "0", False),
        (Whole, 3, 3),
        (Whole, "3", 3),
        (Regex, "a.*", re.compile("a.*", re.DOTALL)),
        (Url, "http://[::1]:8080/path", "http://[::1]:8080/path"),
        (TimeLimit | None, None, None),
    ],
)
def test_fields_read_what_people_write(kind: Any, value: object, expected: object) -> None:
    """YAML's values and the environment's texts both fit."""
    assert expected == TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Interval, True),
        (Interval, "0s"),
        (TimeLimit, "0s"),
        (Boolean, "yes"),
        (Boolean, 1),
        (Whole, True),
        (Whole, 1.0),
        (Whole, "1_000"),
        (Regex, "("),
        (Regex, 5),
        (Url, "http://host:0/"),
        (Url, "http://host:99999/"),
        (Url, "http://host/a b"),
        (Url, "http://host/\n"),
        (Url, "file:///etc/passwd"),
    ],
)
def test_fields_refuse_what_is_only_nearly_right(kind: Any, value: object) -> None:
    """A value of the wrong type must be refused, not converted."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)

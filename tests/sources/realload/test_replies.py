from __future__ import annotations

import math

import msgspec
import pytest

from exporter.sources import decode
from exporter.sources.realload import replies


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2048 MB", 2147483648.0),
        ("512MB", 536870912.0),
        ("1.5 GB", 1610612736.0),
        ("2 GiB", 2147483648.0),
        ("64 kb", 65536.0),
        ("100 B", 100.0),
        ("1 TB", 1024.0**4),
        ("0 MB", 0.0),
        ("16,384 MB", 17179869184.0),
        ("16 384 MB", 17179869184.0),
        ("16\u00a0384\u00a0MB", 17179869184.0),
        ("16\u202f384 MB", 17179869184.0),
        ("16'384 MB", 17179869184.0),
        ("16,384.5 MB", 17180393472.0),
        ("1,048,576 KB", 1073741824.0),
        ("1,5 GB", 1610612736.0),
        ("0.125 GB", 134217728.0),
        ("16.384 MB", None),
        ("1.048.576 KB", None),
        ("1,2345,678 MB", None),
        ("1 23 MB", None),
        ("-1", None),
        ("-1 MB", None),
        ("2048", None),
        ("", None),
        (None, None),
        ("9" * 400 + " MB", None),
    ],
)
def test_reads_memory_with_its_unit(text: str | None, expected: float | None) -> None:
    """Number and unit make bytes; anything else is no measurement."""
    assert expected == replies.parse_memory_size(text)


@pytest.mark.parametrize(
    ("number", "measured", "limit"),
    [
        (5, 5.0, 5.0),
        (0, 0.0, 0.0),
        (-1, None, math.inf),
        (-2, None, None),
        (None, None, None),
        (10**400, None, None),
    ],
)
def test_tells_no_data_from_unlimited(
    number: float | None, measured: float | None, limit: float | None
) -> None:
    """-1 has two meanings, and 0 is a measurement."""
    assert (measured, limit) == (decode.measured(number), replies.limit(number))


@pytest.mark.parametrize(
    ("milliseconds", "seconds", "signed"),
    [(1500, 1.5, 1.5), (0, 0.0, 0.0), (-1, None, -0.001), (-841, None, -0.841), (None, None, None)],
)
def test_divides_milliseconds_once(
    milliseconds: float | None, seconds: float | None, signed: float | None
) -> None:
    """Durations and times are never negative, differences may be."""
    assert (seconds, signed) == (
        replies.seconds(milliseconds),
        replies.signed_seconds(milliseconds),
    )


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (1_700_000_000_500, 1_700_000_000.5),
        (1e14, 1e11),
        (1e14 + 1000, None),
        (2**63, None),
        (-1, None),
        (None, None),
    ],
)
def test_what_no_calendar_can_show_is_no_time(
    milliseconds: float | None, expected: float | None
) -> None:
    """Pages write times as dates, and dates end with a year."""
    assert expected == replies.timestamp(milliseconds)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (b'"abc"', True),
        (b'"****"', True),
        (b'""', False),
        (b"", None),
        (b"null", None),
        (b"5", None),
        (b'{"a":1}', None),
    ],
)
def test_tells_whether_there_is_a_token(token: bytes, expected: bool | None) -> None:
    """An empty token is no protection, a missing one says nothing."""
    assert expected is replies.protected(msgspec.Raw(token))


def test_reads_megabytes() -> None:
    """The recorders' memory is a number of MB."""
    assert (2147483648.0, None, None) == (
        replies.megabytes(2048),
        replies.megabytes(-1),
        replies.megabytes(1.7e308),
    )

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.sources.eggplant.replies import TokenReply, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2018-06-01 10:06:45.545359+01", 1527844005.545359),
        ("2018-06-01 09:06:45.545359+00", 1527844005.545359),
        ("2018-06-01 14:36:45.5+05:30", 1527844005.5),
        ("2018-06-01 05:36:45-03:30", 1527844005.0),
        ("2018-06-01T09:06:45Z", 1527844005.0),
    ],
)
def test_reads_a_time_with_its_offset(text: str, seconds: float) -> None:
    """Offsets of hours only, of hours and minutes and none at all name the same instant."""
    surprises: list[str] = []

    assert seconds == parse_time(text, surprises.append)
    assert [] == surprises


@pytest.mark.parametrize("text", ["yesterday", "infinity", "2018-06-01 10:06:45", "2018-06-01"])
def test_refuses_what_names_no_instant(text: str) -> None:
    """A time without an offset is no instant, nor is a text that is no time."""
    surprises: list[str] = []

    assert parse_time(text, surprises.append) is None
    assert ["type"] == surprises


@pytest.mark.parametrize("text", [None, ""])
def test_takes_no_text_for_no_time(text: str | None) -> None:
    """A time that was left out is no surprise."""
    surprises: list[str] = []

    assert parse_time(text, surprises.append) is None
    assert [] == surprises


@given(st.text() | st.datetimes(timezones=st.timezones()).map(str))
def test_reads_any_text(text: str) -> None:
    """No text raises."""
    surprises: list[str] = []

    assert isinstance(parse_time(text, surprises.append), float | None)


def test_shows_no_token() -> None:
    """The repr of a token reply leaves the token out."""
    reply = TokenReply(access_token="canary-token", access_type="canary-type", expires_in=300)

    assert "TokenReply(expires_in=300)" == repr(reply)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.http.pace import MAX_PAUSE_SECONDS, retry_after
from tests.support.clock import FakeClock


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 12 ", 12.0),
        ("000000000000012", 12.0),
        ("99999", MAX_PAUSE_SECONDS),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:30 -0000", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("Tue, 14 Nov 2099 22:13:10 GMT", MAX_PAUSE_SECONDS),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("Tue, 99 Nov 2023 22:13:30 GMT", None),
    ],
)
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    """Seconds and dates are understood and bounded, all else is as if absent."""
    clock = FakeClock(unix=1_700_000_000.0)

    assert seconds == retry_after(value, clock=clock.clock)


@given(value=st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [-+]?\w+"))
def test_no_header_breaks_it(value: str) -> None:
    """Whatever a vendor sends, the pause has a length between none and the limit."""
    seconds = retry_after(value, clock=FakeClock().clock)

    assert seconds is None or 0.0 <= seconds <= MAX_PAUSE_SECONDS

from __future__ import annotations

import pytest

from exporter.errors import CallError, Reason
from exporter.http import Call, Reply, status_error


CANARY = "canary-7f3a"


def answer(status: int) -> Reply:
    """Make a reply of a status, with a secret wherever one can be."""
    return Reply(
        status=status,
        headers={"location": f"http://elsewhere/?token={CANARY}"},
        body=CANARY.encode(),
    )


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_good_status_passes(status: int) -> None:
    """All of 2xx is good."""
    assert status_error("read", answer(status)) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.AUTH),
        (403, Reason.ACCESS_DENIED),
        (429, Reason.RATE_LIMITED),
        (400, Reason.HTTP_4XX),
        (404, Reason.HTTP_4XX),
        (302, Reason.HTTP_4XX),
        (500, Reason.HTTP_5XX),
        (503, Reason.HTTP_5XX),
        (999, Reason.HTTP_5XX),
        (101, Reason.DECODE),
    ],
)
def test_each_status_has_its_reason(status: int, reason: Reason) -> None:
    """The reason must follow from the status, and neither body nor headers be quoted."""
    error = status_error("read", answer(status))

    assert isinstance(error, CallError)
    assert (reason, status) == (error.reason, error.status)
    assert str(error).startswith("read: ")
    assert str(status) in str(error)
    assert CANARY not in str(error)


def test_a_redirect_is_called_by_its_name() -> None:
    """A redirect must be named in the message: it is the usual sign of a wrong URL."""
    assert "redirect" in str(status_error("read", answer(301)))


def test_nothing_printed_shows_headers_or_bodies() -> None:
    """Calls and replies end up in tracebacks and logs."""
    call = Call(
        operation="read",
        method="POST",
        url=f"http://vendor/?key={CANARY}",
        headers={"authorization": CANARY},
        content=CANARY.encode(),
    )

    for shown in (call, answer(200)):
        assert CANARY not in repr(shown)
        assert CANARY not in str(shown)
        assert CANARY not in str(list(shown.__rich_repr__()))


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Thu, 09 Oct 2025 08:53:20 GMT", 1_760_000_000.0),
        ("Thu, 09 Oct 2025 08:53:20 -0000", 1_760_000_000.0),
        ("Thu, 09 Oct 2025 10:53:20 +0200", 1_760_000_000.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 4_102_444_800.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("yesterday", None),
        ("1760000000", None),
        ("", None),
        (None, None),
    ],
)
def test_the_date_is_the_vendors_clock(date: str | None, seconds: float | None) -> None:
    """The vendor's clock must be read from `Date`, however wrong, and be unknown if unreadable."""
    headers = {} if date is None else {"date": date}

    assert seconds == Reply(status=200, headers=headers, body=b"").date_seconds

from __future__ import annotations

import msgspec
import pytest

from exporter.sources.redact import redacted_reply


class Part(msgspec.Struct, rename="camel"):
    part_id: int | None = None
    auth_token: msgspec.Raw = msgspec.Raw()


class Whole(msgspec.Struct, rename="camel"):
    name: str | None = None
    parts: tuple[Part, ...] | None = None
    by_key: dict[str, Part] | None = None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"name": "a"}', {"name": "a"}),
        (b'{"name": null}', {"name": None}),
        (b'{"name": {"password": "x"}}', {"name": "<not shown>"}),
        (b'{"password": "x"}', {"password": "<not shown>"}),
        (
            b'{"parts": [{"partId": 1, "authToken": "x", "more": 2}, "y"]}',
            {
                "parts": [
                    {"partId": 1, "authToken": "<secret>", "more": "<not shown>"},
                    "<not shown>",
                ]
            },
        ),
        (b'{"byKey": {"k": {"partId": 1}}}', {"byKey": {"k": {"partId": 1}}}),
        (b'{"parts": "x"}', {"parts": "<not shown>"}),
        (b"[]", "<not shown>"),
        (b"secret", "<not shown>"),
        (b'{"x": ' + b"[" * 100_000, "<not shown>"),
    ],
    ids=range(10),
)
def test_shows_only_what_is_wanted(body: bytes, expected: object) -> None:
    """Wanted fields of the right type are shown, all others are named, secrets are neither."""
    assert expected == redacted_reply(body, Whole)

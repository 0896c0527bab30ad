from __future__ import annotations

import pytest

from exporter.config.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:10871", Address("127.0.0.1", 10871)),
        ("[::]:10871", Address("::", 10871)),
        (":0", Address("", 0)),
        ("exporter.example:65535", Address("exporter.example", 65535)),
    ],
)
def test_reads_what_it_writes(text: str, expected: Address) -> None:
    """An address reads back as it was written."""
    assert expected == parse_address(text)
    assert text == str(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10871",
        "host",
        "host:",
        "host:65536",
        "host:-1",
        "host:٣",
        "::1:80",
        "[::1]",
        "[host]:80",
    ],
)
def test_refuses_all_else(text: str) -> None:
    """Text that is no address must be refused with the expected form."""
    with pytest.raises(ValueError, match="is not host:port"):
        parse_address(text)

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import CallError, Reason
from exporter.http.body import read_body


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def raw_deflate(data: bytes) -> bytes:
    """Compress without the wrapper that should be there."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


async def read(data: bytes, encoding: str, *, size: int = 7, max_bytes: int = 1000) -> bytes:
    """Read a body that comes in pieces of a size."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    return await read_body(pieces(), encoding=encoding, max_bytes=max_bytes, operation="read")


@given(data=st.binary(max_size=300), size=st.integers(1, 400))
async def test_what_was_compressed_comes_back(data: bytes, size: int) -> None:
    """Every encoding must give back every body, however it is cut into pieces."""
    forms = {
        "": data,
        "identity": data,
        "gzip": gzip.compress(data),
        " X-GZIP ": gzip.compress(data),
        "deflate": zlib.compress(data),
        "Deflate": raw_deflate(data),
    }

    for encoding, form in forms.items():
        assert data == await read(form, encoding, size=size)


async def test_several_gzip_members_are_one_body() -> None:
    """A gzip stream may consist of several members (RFC 1952, 2.2)."""
    body = gzip.compress(b"one ") + gzip.compress(b"two")

    assert b"one two" == await read(body, "gzip")


async def test_an_empty_body_needs_no_encoding() -> None:
    """Servers announce gzip for replies without a body, too."""
    assert b"" == await read(b"", "gzip")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (gzip.compress(b"x" * 100)[:-1], "gzip"),
        (gzip.compress(b"x") + b"rubbish", "gzip"),
        (gzip.compress(b"x")[:-8] + bytes(8), "gzip"),
        (zlib.compress(b"x") + b"rubbish", "deflate"),
        (b"\x78", "deflate"),
        (b"no compression at all", "gzip"),
        (b"no compression at all", "deflate"),
        (gzip.compress(gzip.compress(b"x")), "gzip, gzip"),
        (b"x", "br"),
    ],
)
async def test_what_cannot_be_decompressed_is_refused(data: bytes, encoding: str) -> None:
    """A body that is cut off, wrong or in an encoding not asked for is `decode`."""
    with pytest.raises(CallError) as caught:
        await read(data, encoding)

    assert Reason.DECODE is caught.value.reason
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"x" * 1001, ""),
        (gzip.compress(b"x" * 1001), "gzip"),
        (zlib.compress(b"x" * 1001), "deflate"),
        (gzip.compress(b"") * 60, "gzip"),
    ],
    ids=["plain", "gzip", "deflate", "empty members"],
)
async def test_both_sides_of_the_compression_are_limited(data: bytes, encoding: str) -> None:
    """The limit must apply to the compressed and to the decompressed bytes."""
    with pytest.raises(CallError, match="larger than 1000 bytes"):
        await read(data, encoding)


async def test_the_limit_itself_is_allowed() -> None:
    """A body of exactly the limit must be accepted."""
    assert 1000 == len(await read(gzip.compress(b"x" * 1000), "gzip"))

"""Reads replies that may be endless, or small and compressed from something endless."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from exporter.errors import CallError, Reason


if TYPE_CHECKING:
    from collections.abc import AsyncIterable


#: What `Accept-Encoding` offers.
ENCODINGS = "gzip, deflate"

_GZIP = 16 + zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS


async def read_body(
    chunks: AsyncIterable[bytes], *, encoding: str, max_bytes: int, operation: str
) -> bytes:
    """Read and decompress a body, counting both sides of the decompression while reading.

    Raises:
        CallError: It is too large, cannot be decompressed or has an encoding not asked for.
    """
    inflater = _inflater(encoding.strip().lower(), max_bytes, operation)
    received = 0
    parts = []
    async for chunk in chunks:
        received += len(chunk)
        # Empty gzip members expand to nothing, so the compressed side has to be counted too.
        if received > max_bytes:
            raise _too_large(operation, max_bytes)
        parts.append(inflater.feed(chunk) if inflater else chunk)
    if inflater and received and not inflater.complete:
        raise _broken(operation)
    return b"".join(parts)


def _inflater(encoding: str, max_bytes: int, operation: str) -> _Inflater | None:
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Inflater(encoding, max_bytes, operation)
    raise CallError(Reason.DECODE, f"{operation}: the reply has an encoding not asked for")


class _Inflater:
    """Decompresses up to a limit and not a byte further."""

    def __init__(self, encoding: str, max_bytes: int, operation: str) -> None:
        self._operation = operation
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._gzip = encoding != "deflate"
        self._bits = _GZIP if self._gzip else zlib.MAX_WBITS
        self._engine = zlib.decompressobj(self._bits)
        self._start = b""
        self._begun = False

    @property
    def complete(self) -> bool:
        return self._engine.eof

    def feed(self, data: bytes) -> bytes:
        try:
            return self._feed(data)
        except zlib.error:
            pass
        raise _broken(self._operation)

    def _feed(self, data: bytes) -> bytes:
        if not self._gzip and not self._begun:
            data = self._begin(data)
        parts = []
        while data:
            if self._engine.eof:
                if not self._gzip:
                    raise _broken(self._operation)
                # A gzip file may consist of several members.
                self._engine = zlib.decompressobj(self._bits)
            part = self._engine.decompress(data, self._left + 1)
            if len(part) > self._left:
                raise _too_large(self._operation, self._max_bytes)
            self._left -= len(part)
            parts.append(part)
            data = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
        return b"".join(parts)

    def _begin(self, data: bytes) -> bytes:
        # "deflate" should come in a zlib wrapper, but some servers leave it out (RFC 9110,
        # 8.4.1.2). The wrapper's two bytes are a multiple of 31 and name the method 8.
        self._start += data
        if len(self._start) < 2:
            return b""
        wrapped = self._start[0] & 15 == 8 and int.from_bytes(self._start[:2], "big") % 31 == 0
        if not wrapped:
            self._engine = zlib.decompressobj(_RAW_DEFLATE)
        self._begun = True
        return self._start


def _too_large(operation: str, max_bytes: int) -> CallError:
    return CallError(Reason.DECODE, f"{operation}: the reply is larger than {max_bytes} bytes")


def _broken(operation: str) -> CallError:
    return CallError(Reason.DECODE, f"{operation}: the reply cannot be decompressed")

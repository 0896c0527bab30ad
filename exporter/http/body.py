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
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise CallError(Reason.DECODE, f"{operation}: the reply has an encoding not asked for")
    inflater = None if encoding in ("", "identity") else _Inflater(encoding)
    received = expanded = 0
    parts = []
    broken = False
    async for chunk in chunks:
        try:
            part = inflater.feed(chunk, max_bytes - expanded + 1) if inflater else chunk
        except zlib.error:
            broken = True  # raised below, or it would be raised from the library's error
            break
        parts.append(part)
        received += len(chunk)
        expanded += len(part)
        # Empty gzip members expand to nothing, so the compressed side has to be counted too.
        if max(received, expanded) > max_bytes:
            text = f"{operation}: the reply is larger than {max_bytes} bytes"
            raise CallError(Reason.DECODE, text)
    if broken or (inflater and received and not inflater.engine.eof):
        raise CallError(Reason.DECODE, f"{operation}: the reply cannot be decompressed")
    return b"".join(parts)


class _Inflater:
    """Decompresses up to a limit and not a byte further."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding != "deflate"
        self.engine = zlib.decompressobj(_GZIP if self._gzip else zlib.MAX_WBITS)
        self._start = b""
        self._begun = self._gzip

    def feed(self, data: bytes, limit: int) -> bytes:
        """Decompress up to a limit; beyond it, the rest of the data is lost.

        Raises:
            zlib.error: It cannot be decompressed.
        """
        if not self._begun:
            data = self._begin(data)
        expanded = b""
        while data and len(expanded) < limit:
            if self.engine.eof:
                if not self._gzip:
                    raise zlib.error
                # A gzip file may consist of several members.
                self.engine = zlib.decompressobj(_GZIP)
            expanded += self.engine.decompress(data, limit - len(expanded))
            data = self.engine.unused_data if self.engine.eof else self.engine.unconsumed_tail
        return expanded

    def _begin(self, data: bytes) -> bytes:
        # "deflate" should come in a zlib wrapper, but some servers leave it out (RFC 9110,
        # 8.4.1.2). The wrapper's two bytes are a multiple of 31 and name the method 8.
        self._start += data
        if len(self._start) < 2:
            return b""
        if self._start[0] & 15 != 8 or int.from_bytes(self._start[:2], "big") % 31:
            self.engine = zlib.decompressobj(_RAW_DEFLATE)
        self._begun = True
        return self._start

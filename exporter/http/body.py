"""Reading of a reply's body within a size limit, which stops endless bodies and zip bombs."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from exporter.errors import CallError, Reason


if TYPE_CHECKING:
    from collections.abc import AsyncIterable


#: The value of the header `Accept-Encoding`.
ENCODINGS = "gzip, deflate"

_GZIP = 16 + zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS


async def read_body(
    chunks: AsyncIterable[bytes], *, encoding: str, max_bytes: int, operation: str
) -> bytes:
    """Read and decompress a body; the size limit holds for the compressed body, too.

    Args:
        chunks: The body as received.
        encoding: The value of the header `Content-Encoding`.
        max_bytes: The size limit.
        operation: The name of the call in messages.

    Returns:
        The decompressed body.

    Raises:
        CallError: The body is too large, cannot be decompressed or has an unrequested encoding.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise CallError(Reason.DECODE, f"{operation}: the reply has an unrequested encoding")
    inflater = None if encoding in ("", "identity") else _Inflater(encoding)
    received = expanded = 0
    parts = []
    broken = False
    async for chunk in chunks:
        try:
            part = inflater.feed(chunk, max_bytes - expanded + 1) if inflater else chunk
        except zlib.error:
            broken = True  # raised below, so that the library's error is not its context
            break
        parts.append(part)
        received += len(chunk)
        expanded += len(part)
        # Also the received bytes, because an endless row of empty gzip members expands to nothing.
        if max(received, expanded) > max_bytes:
            text = f"{operation}: the reply is larger than {max_bytes} bytes"
            raise CallError(Reason.DECODE, text)
    if broken or (inflater and received and not inflater.engine.eof):
        raise CallError(Reason.DECODE, f"{operation}: the reply cannot be decompressed")
    return b"".join(parts)


class _Inflater:
    """A decompressor that stops at a limit."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding != "deflate"
        self.engine = zlib.decompressobj(_GZIP if self._gzip else zlib.MAX_WBITS)
        self._start = b""
        self._begun = self._gzip

    def feed(self, data: bytes, limit: int) -> bytes:
        """Decompress up to a limit; beyond it, the rest of the data is lost.

        Raises:
            zlib.error: The data cannot be decompressed.
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
        # "deflate" should have a zlib header, but some servers omit it (RFC 9110, 8.4.1.2). The two
        # bytes of the header are a multiple of 31, and contain the method 8.
        self._start += data
        if len(self._start) < 2:
            return b""
        if self._start[0] & 15 != 8 or int.from_bytes(self._start[:2], "big") % 31:
            self.engine = zlib.decompressobj(_RAW_DEFLATE)
        self._begun = True
        return self._start

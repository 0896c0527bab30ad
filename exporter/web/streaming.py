"""Large answers, sent slice by slice: a slow reader holds a slice in memory and no copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.types import Receive, Scope, Send


#: So much waits for a client at once, beside what the system's socket takes.
SLICE_BYTES = 1 << 18


class SlicedResponse(Response):
    """An answer whose body is parts that others hold as well: none is copied as a whole.

    It ends when the client has read nearly all of it or is gone.
    """

    def __init__(self, parts: Sequence[bytes], headers: Mapping[str, str]) -> None:
        length = {"Content-Length": str(sum(map(len, parts)))}
        super().__init__(headers={**headers, **length})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and slice after slice; the server waits before each until it may."""
        del receive
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        if scope["method"] != "HEAD":
            for piece in slices(self._parts):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def slices(parts: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """Cut large parts, without copying them, and join small ones."""
    small: list[bytes] = []
    size = 0
    for part in parts:
        if small and size + len(part) > SLICE_BYTES:
            yield b"".join(small)
            small, size = [], 0
        if len(part) > SLICE_BYTES:
            view = memoryview(part)
            yield from (view[at : at + SLICE_BYTES] for at in range(0, len(part), SLICE_BYTES))
        else:
            small.append(part)
            size += len(part)
    if small:
        yield b"".join(small)

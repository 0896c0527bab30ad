"""Responses that are made once per change of the fleet and shared by all clients."""

from __future__ import annotations

import asyncio
import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

from exporter.metrics.exposition import accepts_gzip, accepts_plain


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request


#: The total size of kept responses; a response larger than this is made for each request.
KEPT_BYTES = 16 * 1024 * 1024


class Answers:
    """The responses for the newest picture of the fleet, made in a thread, one at a time.

    Args:
        kept_bytes: The limit of the total size of kept responses.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._tag = ""
        self._kept: dict[str, bytes] = {}
        self._turn = asyncio.Lock()

    async def answer(
        self,
        request: Request,
        *,
        tag: str,
        headers: Mapping[str, str],
        make: Callable[[], bytes],
        status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:
        """Return the response, or 304 if the client has it already.

        Args:
            request: The request; its path and query are part of the response's identity.
            tag: The tag of the picture.
            headers: The headers of the response; the content type is part of its identity.
            make: Returns the body; runs in a thread, so it must read immutable data only.
            status: The status of the response; only with 200 the response can be 304 instead.
        """
        asked = b"%s?%s" % (request.scope["path"].encode(), request.scope["query_string"])
        form = headers["Content-Type"]
        etag = entity_tag(tag.encode(), form.encode(), asked)
        head = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept"}
        if status is HTTPStatus.OK and unchanged(request, etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=head)
        async with self._turn:
            body = self._kept.get(etag) if self._tag == tag else None
            if body is None:
                body = await asyncio.to_thread(make)
                self._keep(tag, etag, body)
        return Response(body, status_code=status, headers={**head, **headers})

    def _keep(self, tag: str, etag: str, body: bytes) -> None:
        if self._tag != tag:
            self._tag, self._kept = tag, {}
        if len(body) > self._kept_bytes:
            return
        self._kept[etag] = body
        while sum(map(len, self._kept.values())) > self._kept_bytes:
            del self._kept[next(iter(self._kept))]


def entity_tag(*parts: bytes) -> str:
    """Return the `ETag` of a response that some parts identify."""
    digest = hashlib.sha256(b"\n".join(parts)).hexdigest()
    return f'"{digest[:32]}"'


def unchanged(request: Request, etag: str) -> bool:
    """Return whether the client has the response with this `ETag`."""
    known = ",".join(request.headers.getlist("if-none-match")).split(",")
    return any(each.strip().removeprefix("W/") in {etag, "*"} for each in known)


def takes_an_answer(request: Request) -> str:
    """Return the request's `Accept-Encoding` header.

    Raises:
        HTTPException: The header refuses both gzip and identity, the only encodings.
    """
    accepted = ", ".join(request.headers.getlist("accept-encoding"))
    if not (accepts_gzip(accepted) or accepts_plain(accepted)):
        why = "Accept-Encoding refuses both gzip and identity, and there is no other encoding"
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, why, {"Vary": "Accept-Encoding"})
    return accepted


def preferred(accept: str, types: Sequence[str]) -> str:
    """Return the media type that a client prefers.

    Of types with the same weight, the type that the client names more exactly wins, then the first
    type. If the client accepts none of the types, the first type is better than 406.

    Args:
        accept: The request's `Accept` header.
        types: The available types.
    """
    ranges: dict[str, float] = {}
    for each in accept.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        ranges[name] = _weight(parameters)

    def rank(media_type: str) -> tuple[float, int]:
        group = media_type.partition("/")[0]
        for exactness, name in ((2, media_type), (1, f"{group}/*"), (0, "*/*")):
            if name in ranges:
                return (ranges[name], exactness)
        return (0.0, 0)

    best = max(types, key=rank)
    return best if rank(best)[0] > 0 else types[0]


def _weight(parameters: Sequence[str]) -> float:
    """Return the weight of a media range, 0 if it is invalid."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0

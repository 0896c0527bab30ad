"""Probes: a poll of one known target at Prometheus' request, as with the blackbox exporter."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
import yaml
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from exporter.config.words import one_of
from exporter.errors import BlockedError, PollError, Reason
from exporter.fleet.kinds import EXPLAINED, Kind, target_of
from exporter.metrics.exposition import page_of
from exporter.overview.document import plain
from exporter.polling.looks import NoTurnError
from exporter.sources.registry import FAMILIES


if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from exporter.fleet.readings import Reading
    from exporter.fleet.store import Snapshot
    from exporter.overview.interface import View
    from exporter.sources.base import Explanation


#: The time limit of a probe if the scraper sends none.
DEFAULT_SECONDS = 30.0

#: The part of the scraper's time limit that is left for sending the response.
OFFSET_SECONDS = 0.5

#: The limit of concurrent probes, below `web.max_requests`, so that other requests are answered.
PARALLEL = 10

_TIMEOUT_HEADER = "x-prometheus-scrape-timeout-seconds"


class Probe:
    """The endpoint `/probe`."""

    def __init__(self, view: View, *, parallel: int = PARALLEL) -> None:
        self._view = view
        self._parallel = parallel
        self._in_flight = 0

    async def answer(self, request: Request) -> Response:
        """Return the response with the samples of the target `source`, `kind` and `id`, polled now.

        Only targets in the store can be probed, so that clients cannot reach other addresses. The
        response has the reading in the store if that is younger than `probe_min_age`, or if too
        many other probes are in flight. With `debug=true` the response is for people: the vendor's
        reply, the reading and the samples. That needs a poll, because the store has no replies.

        Raises:
            HTTPException: The target is unknown, or the poll failed.
        """
        source, kind, target_id = _asked(request)
        seconds = _seconds(request)
        found = self._listing(source, kind, target_id)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such target is known now")
        for_people = request.query_params.get("debug") == "true"
        age = self._view.now().monotonic - found.oldest()
        if for_people or age >= self._view.probe_min_age(source):
            try:
                explanation = await self._explain(source, kind, target_id, seconds)
            except NoTurnError as error:
                if for_people:
                    raise _busy("too many other probes are in flight, try again") from error
            else:
                about = (explanation.reading, *explanation.more)
                found = msgspec.structs.replace(found, readings=about)
                if for_people:
                    return PlainTextResponse(
                        explained(explanation, page_of(found, families=FAMILIES).body)
                    )
        page = page_of(
            found, accept=", ".join(request.headers.getlist("accept")), families=FAMILIES
        )
        return Response(page.body, headers={"Content-Type": page.content_type, "Vary": "Accept"})

    async def _explain(self, source: str, kind: str, target_id: str, seconds: float) -> Explanation:
        """Return the target's reading with the vendor's reply, if it arrives in time."""
        if self._in_flight >= self._parallel:
            raise NoTurnError
        self._in_flight += 1
        try:
            return await self._view.explain(source, kind, target_id, seconds=seconds)
        except NoTurnError:
            raise
        except TimeoutError:
            why = f"no answer within {seconds:g} s"
            raise HTTPException(HTTPStatus.GATEWAY_TIMEOUT, why) from None
        except LookupError:
            raise HTTPException(HTTPStatus.NOT_FOUND, "the target is gone") from None
        except PollError as error:
            raise _failure(error) from error
        finally:
            self._in_flight -= 1

    def _listing(self, source: str, kind: str, target_id: str) -> Snapshot | None:
        """Return the snapshot with a target, without all other targets."""
        for snapshot in self._view.snapshots():
            if snapshot.source == source:
                for reading in snapshot.readings:
                    if target_of(reading) == (kind, target_id):
                        more = _more(snapshot, Kind(kind), target_id)
                        return msgspec.structs.replace(snapshot, readings=(reading, *more))
        return None


def _more(snapshot: Snapshot, kind: Kind, target_id: str) -> Iterator[Reading]:
    """Yield a target's further readings, which the provider's own families need."""
    for reading in snapshot.readings:
        if target_of(reading) is None and getattr(reading, kind.id_field, None) == target_id:
            yield reading


def _asked(request: Request) -> tuple[str, str, str]:
    query = request.query_params
    if any(not query.get(name) for name in ("source", "kind", "id")):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "give source, kind and id")
    if query["kind"] not in EXPLAINED:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"kind {one_of(query['kind'], EXPLAINED)}")
    return query["source"], query["kind"], query["id"]


def _seconds(request: Request) -> float:
    """Return the probe's time limit: the scraper's less the offset, but at least half of it."""
    text = request.headers.get(_TIMEOUT_HEADER)
    if text is None:
        return DEFAULT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        why = f"{_TIMEOUT_HEADER} must be a number of seconds"
        raise HTTPException(HTTPStatus.BAD_REQUEST, why)
    return max(seconds - OFFSET_SECONDS, seconds / 2)


def _failure(error: PollError) -> HTTPException:
    """Return the error of a call that says nothing about the target, so that the scrape fails."""
    if isinstance(error, BlockedError):
        return _busy(f"{error.reason}: {error}")
    timed_out = error.reason is Reason.TIMEOUT
    status = HTTPStatus.GATEWAY_TIMEOUT if timed_out else HTTPStatus.BAD_GATEWAY
    return HTTPException(status, f"{error.reason}: {error}")


def _busy(message: str) -> HTTPException:
    headers = {"Retry-After": "1"}
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=headers)


def explained(explanation: Explanation, exposition: bytes) -> str:
    """Return the vendor's reply, the reading and its samples, as YAML."""
    # Not `splitlines`, which also splits at Unicode separators within a label's value.
    lines = exposition.decode().strip("\n").split("\n")
    document = {
        "reply": plain(explanation.reply),
        "reading": plain(explanation.reading),
        "samples": [line for line in lines if not line.startswith("#")],
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)
    return text

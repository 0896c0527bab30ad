"""Probes: one call about one known target, for those who want Prometheus to drive."""

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


#: The time for a probe when the scraper does not give one.
DEFAULT_SECONDS = 30.0

#: Time kept back from the scraper's for the way back.
OFFSET_SECONDS = 0.5

#: Probes at once; fewer than `web.max_requests`, so that they leave room for scrapes.
PARALLEL = 10

_TIMEOUT_HEADER = "x-prometheus-scrape-timeout-seconds"


class Probe:
    """The endpoint `/probe`."""

    def __init__(self, view: View, *, parallel: int = PARALLEL) -> None:
        self._view = view
        self._parallel = parallel
        self._under_way = 0

    async def answer(self, request: Request) -> Response:
        """Ask about the target named by `source`, `kind` and `id` and answer with its samples.

        Only what is in the store can be asked about, so that nobody reaches anything else through
        this. What is in it is the answer while it is young, and when too many others ask. With
        `debug=true` the answer is for people: reply, reading and samples. The store has no
        replies, so that a look is needed.

        Raises:
            HTTPException: There is nothing to show.
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
                    raise _busy("others are probing, try again") from error
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
        """Return the target's reading with the vendor's reply, if that comes in time."""
        if self._under_way >= self._parallel:
            raise NoTurnError
        self._under_way += 1
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
            self._under_way -= 1

    def _listing(self, source: str, kind: str, target_id: str) -> Snapshot | None:
        """Return the snapshot in which a target is, without all others."""
        for snapshot in self._view.snapshots():
            if snapshot.source == source:
                for reading in snapshot.readings:
                    if target_of(reading) == (kind, target_id):
                        more = _more(snapshot, Kind(kind), target_id)
                        return msgspec.structs.replace(snapshot, readings=(reading, *more))
        return None


def _more(snapshot: Snapshot, kind: Kind, target_id: str) -> Iterator[Reading]:
    """Yield what a snapshot has about a target for families of the provider's own."""
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
    """Return how long the probe may take: the scraper's time less the offset, or half of it."""
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
    """Make a failed scrape, not a value, of a call that says nothing about the target."""
    if isinstance(error, BlockedError):
        return _busy(f"{error.reason}: {error}")
    timed_out = error.reason is Reason.TIMEOUT
    status = HTTPStatus.GATEWAY_TIMEOUT if timed_out else HTTPStatus.BAD_GATEWAY
    return HTTPException(status, f"{error.reason}: {error}")


def _busy(message: str) -> HTTPException:
    headers = {"Retry-After": "1"}
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=headers)


def explained(explanation: Explanation, exposition: bytes) -> str:
    """Write as YAML what the vendor replied, what was read from it, and the samples of that."""
    # Not `splitlines`, which would also end a line at a separator within a label's value.
    lines = exposition.decode().strip("\n").split("\n")
    document = {
        "reply": plain(explanation.reply),
        "reading": plain(explanation.reading),
        "samples": [line for line in lines if not line.startswith("#")],
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)
    return text

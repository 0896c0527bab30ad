"""The ready page: changes are rendered in the background, and a scrape gets finished bytes."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.fleet.store import Cause, Snapshot, SnapshotChange, Store, TaskKey
from exporter.metrics.catalogue import FAMILIES, with_former_names
from exporter.metrics.exposition.body import Body, Format, Lines, finish
from exporter.metrics.exposition.lines import Rendered, render
from exporter.metrics.exposition.negotiation import accepts_gzip, negotiate
from exporter.metrics.exposition.own import OwnWriter
from exporter.metrics.own import EXPOSITION_BYTES, RENDER_DURATION


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence

    from exporter.metrics.catalogue import Family
    from exporter.metrics.telemetry import SelfMetrics


#: A format and encoding that no client requested within this time is no longer kept ready.
KEEP_READY_SECONDS = 600.0

#: Maximum age of the exporter's own metrics in a page that is otherwise unchanged. Collecting them
#: takes a thousand times as long as serving the rest.
OWN_SECONDS = 1.0

_Variant = tuple[Format, bool]


class ScrapeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a scrape.

    Attributes:
        content_encoding: `gzip` or `None`.
        parts: The parts of the body. All responses share the same large parts, so that many slow
            clients together hold one page in memory, not one each.
    """

    content_type: str
    content_encoding: str | None
    parts: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts)


class Exposition:
    """The page `/metrics`, rendered once per change of the store.

    `refresh` renders the changes and pauses every few milliseconds. `metrics` serves the newest
    complete page, and itself renders changes only if no `refresh` is running.
    """

    def __init__(
        self,
        store: Store,
        telemetry: SelfMetrics,
        *,
        families: Sequence[Family] = FAMILIES,
        pause: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0),
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._pause = pause
        self._monotonic = telemetry.clock.monotonic
        self._rendered: dict[TaskKey, Rendered] = {}
        self._dirty = {snapshot.key: Cause.PUT for snapshot in store.snapshots()}
        self._catalogue = families
        self._families = tuple(with_former_names(families))
        self._body = Body(self._families, {})
        self._own = OwnWriter(telemetry)
        # The served forms of the current page, and when the own metrics in them were collected.
        self._served: dict[_Variant, tuple[float, tuple[bytes, ...]]] = {}
        self._shown: dict[TaskKey, Rendered] = {}
        self._taken: dict[TaskKey, Cause] = {}
        self._outdated = True
        self._asked: dict[_Variant, float] = {}
        self._refreshing = asyncio.Lock()
        store.subscribe(self._changed)

    def log_former_names(self) -> None:
        """Log the deprecated names under which families are served, if there are any."""
        families = (*self._catalogue, *self._telemetry.families)
        names = [name for family in families for name, _ in family.former_names]
        if names:
            log = structlog.get_logger("exporter.metrics")
            log.warning("deprecated_metrics", names=",".join(names))

    async def refresh(self) -> None:
        """Render the changes since the last complete page."""
        async with self._refreshing:
            while self._outdated:
                for _ in self._renew():
                    await self._pause()

    def metrics(
        self,
        *,
        accept: str = "",
        accept_encoding: str = "",
        names: Collection[str] = (),
        sources: Collection[str] = (),
    ) -> ScrapeResponse:
        """Return the response to a scrape.

        Args:
            accept: The request's `Accept` header.
            accept_encoding: The request's `Accept-Encoding` header.
            names: Exact names of families or samples to keep; all if empty.
            sources: Sources to keep; all if empty. Own series without a source are always kept.
        """
        self._store.expire()
        if self._outdated and not self._refreshing.locked():
            finish(self._renew())
        form, content_type = negotiate(accept)
        packed = accepts_gzip(accept_encoding)
        if names or sources:
            body = Body(self._families, _lines(self._shown, names, sources))
            own = self._own.text(form, names=names, sources=sources)
            parts = body.gzip(form, own) if packed else (*body.texts(form), own)
        else:
            parts = self._whole(form, packed=packed)
        encoding = "gzip" if packed else None
        return ScrapeResponse(content_type=content_type, content_encoding=encoding, parts=parts)

    def _whole(self, form: Format, *, packed: bool) -> tuple[bytes, ...]:
        variant = (form, packed)
        now = self._asked[variant] = self._monotonic()
        collected, parts = self._served.get(variant, (-math.inf, ()))
        if now - collected >= OWN_SECONDS:
            own = self._own.text(form)
            body = self._body
            parts = body.gzip(form, own) if packed else (body.plain(form), own)
            self._served[variant] = (now, parts)
        return parts

    def _changed(self, change: SnapshotChange) -> None:
        self._dirty[change.key] = change.cause
        self._outdated = True

    def _renew(self) -> Generator[None, None, None]:
        seconds = 0.0
        started = self._monotonic()
        for step in self._render_changes():
            seconds += self._monotonic() - started
            yield step
            started = self._monotonic()
        seconds += self._monotonic() - started
        self._telemetry[RENDER_DURATION].observe(seconds)

    def _render_changes(self) -> Generator[None, None, None]:
        while self._dirty:
            key = next(iter(self._dirty))
            snapshot = self._store.get(*key)
            before = self._rendered.get(key)
            after = None
            if snapshot is not None:
                others = [
                    other
                    for known, other in self._rendered.items()
                    if known[:2] == key[:2] and known != key
                ]
                # Clients of the uncompressed page must not wait for decompression.
                packed = all(is_packed for _, is_packed in self._asked)
                after = yield from render(snapshot, before, others, packed=packed)
                after.repeat(self._catalogue)
            if self._store.get(*key) is snapshot:
                # Otherwise the snapshot changed during the rendering and is rendered again.
                self._taken[key] = self._dirty.pop(key)
                if after is None:
                    self._rendered.pop(key, None)
                else:
                    self._rendered[key] = after
        # Later changes are for the next page.
        shown = dict(self._rendered)
        body = Body(self._families, _lines(shown), before=self._body)
        now = self._monotonic()
        self._asked = {
            variant: at for variant, at in self._asked.items() if now - at < KEEP_READY_SECONDS
        }
        for form, packed in tuple(self._asked):
            if packed:
                yield from body.pack(form)
            else:
                body.plain(form)
        self._show(body, shown)

    def _show(self, body: Body, shown: dict[TaskKey, Rendered]) -> None:
        before, self._shown = self._shown, shown
        taken, self._taken = self._taken, {}
        self._body = body
        self._served.clear()
        self._outdated = bool(self._dirty)
        self._telemetry[EXPOSITION_BYTES].set(body.size())
        for key, cause in taken.items():
            left = [rendered for known, rendered in shown.items() if known[:2] == key[:2]]
            if self._dirty.get(key, cause) is Cause.REMOVED and not left:
                # The source was removed, and with it its own metrics.
                continue
            telemetry = self._telemetry.source(*key[:2])
            telemetry.series.set(sum(rendered.samples for rendered in left))
            if cause is Cause.EXPIRED:
                # The task may have got a new snapshot with more samples before it expired.
                ended = _samples(before.get(key)) - _samples(shown.get(key))
                telemetry.expired.inc(max(0, ended))


def page_of(
    snapshot: Snapshot, *, accept: str = "", families: Sequence[Family] = FAMILIES
) -> ScrapeResponse:
    """Return a page with a single small snapshot, without the exporter's own metrics."""
    form, content_type = negotiate(accept)
    rendered = finish(render(snapshot, None, ()))
    rendered.repeat(families)
    body = Body(tuple(with_former_names(families)), rendered.lines)
    parts = (body.plain(form), form.end.encode())
    return ScrapeResponse(content_type=content_type, content_encoding=None, parts=parts)


def _samples(rendered: Rendered | None) -> int:
    return 0 if rendered is None else rendered.samples


def _lines(
    rendered: Mapping[TaskKey, Rendered],
    names: Collection[str] = (),
    sources: Collection[str] = (),
) -> dict[str, list[Lines]]:
    found: dict[str, list[Lines]] = {}
    for key in sorted(rendered):
        if sources and key[1] not in sources:
            continue
        for name, lines in rendered[key].lines.items():
            if not names or name in names:
                found.setdefault(name, []).extend(lines)
    return found

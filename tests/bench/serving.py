"""The rows about scrapes: the time to serve and to render a page, and the memory to keep it."""

from __future__ import annotations

import gc
import time
import urllib.request
from typing import TYPE_CHECKING

from prometheus_client import generate_latest

from exporter.metrics.catalogue import FAMILIES
from exporter.metrics.exposition.body import Body, Format, finish
from exporter.metrics.exposition.lines import render
from exporter.process import YOUNG_OBJECTS
from tests.bench import peers
from tests.bench.fleet import SAMPLES_PER_AGENT, Families, snapshot
from tests.bench.harness import (
    Figure,
    Scraper,
    daemon,
    free_port,
    median,
    module,
    sample,
    source,
    until,
    vendor,
)


if TYPE_CHECKING:
    from exporter.metrics.exposition.lines import Rendered


_NEVER = 3600.0

#: The number of scrapes of one server before the other's turn.
_BLOCK = 5


def unchanged(*, quick: bool) -> list[Figure]:
    """Measure scrapes of an unchanged page, and the memory of the process that keeps it."""
    agents = _agents(quick=quick)
    scrapes = 15 if quick else 60
    with (
        vendor(agents) as (url, _),
        daemon(source(url, interval=_NEVER)) as (port, exporter),
        peers.pushgateway() as (pushed, gateway),
    ):
        page = _complete(port, agents)
        for _ in range(2):
            peers.push(pushed, _vendor_part(page))
        figures = []
        with peers.nginx(page, _body(Scraper(port, gzip=True))) as file:
            for gzip, goal in ((True, 300.0), (False, 30.0)):
                times, over_nginx = _interleaved(port, pushed, file, scrapes, gzip=gzip)
                form = "gzip" if gzip else "plain"
                figures += [
                    Figure(
                        row="unchanged",
                        what=f"pushgateway's p50 over ours, {form}",
                        value=times["pushgateway_ms"] / times["exporter_ms"],
                        goal=goal,
                        at_least=True,
                        detail=times,
                    ),
                    Figure(
                        row="unchanged",
                        what=f"our p50 over nginx's, {form}",
                        value=over_nginx,
                        goal=1.5,
                    ),
                ]
        figures.append(
            Figure(
                row="memory",
                what="our peak memory over pushgateway's",
                value=exporter.peak_mib / gateway.peak_mib,
                goal=0.75,
                detail={"exporter_mib": exporter.peak_mib, "pushgateway_mib": gateway.peak_mib},
            )
        )
    return figures


def changed(*, quick: bool) -> list[Figure]:
    """Measure scrapes after a change of every series."""
    agents = _agents(quick=quick)
    turns = 5 if quick else 12
    port = free_port()
    with (
        module("holder", "--port", port, "--agents", agents) as holder,
        peers.pushgateway() as (pushed, _),
    ):
        holder.listens(port)
        gzip, plain = Scraper(port, gzip=True), Scraper(port)
        theirs = Scraper(pushed, gzip=True)
        gzip.get()
        times: dict[str, list[float]] = {"ready": [], "at_once": [], "pushgateway": []}
        for _ in range(turns):
            # As in the daemon, which renders in the background what a poll has changed.
            _post(port, "/-/reload")
            times["ready"].append(gzip.seconds())
            peers.push(pushed, _vendor_part(plain.get()))
            times["pushgateway"].append(theirs.seconds())
            # The scrape that comes before the rendering, and has to wait for it.
            _post(port, "/-/change")
            times["at_once"].append(gzip.seconds())
    middle = {name: median(values) * 1e3 for name, values in times.items()}
    detail = {f"{name}_ms": value for name, value in middle.items()}
    return [
        Figure(
            row="changed",
            what="pushgateway's p50 over ours, gzip",
            value=middle["pushgateway"] / middle["ready"],
            goal=8.0 if _has_isal() else 4.0,
            at_least=True,
            detail=detail,
        ),
        Figure(
            row="changed",
            what="the same if the scrape has to render",
            value=middle["pushgateway"] / middle["at_once"],
        ),
    ]


def rendering(*, quick: bool) -> list[Figure]:
    """Measure the CPU time of rendering a wholly changed snapshot."""
    agents = _agents(quick=quick)
    turns = 5 if quick else 11
    snapshots = [snapshot(agents, turn) for turn in range(2)]
    families = [Families(each) for each in snapshots]
    # What was prepared must not be looked through for garbage while either side is measured, and
    # both look for it as often as the daemon does.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    before: Rendered | None = None
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(turns):
        started = time.process_time()
        before = finish(render(snapshots[turn % 2], before, ()))
        page = Body(FAMILIES, before.lines).plain(Format.TEXT)
        ours.append(time.process_time() - started)
        started = time.process_time()
        expected = generate_latest(families[turn % 2])
        theirs.append(time.process_time() - started)
        assert page == expected
    detail = {"exporter_ms": median(ours[1:]) * 1e3, "generate_latest_ms": median(theirs[1:]) * 1e3}
    figure = Figure(
        row="rendering",
        what="generate_latest's CPU over ours",
        value=detail["generate_latest_ms"] / detail["exporter_ms"],
        goal=20.0,
        at_least=True,
        detail=detail,
    )
    return [figure]


def _agents(*, quick: bool) -> int:
    return (10_000 if quick else 100_000) // SAMPLES_PER_AGENT + 1


def _complete(port: int, agents: int) -> bytes:
    """Return the page once all agents are on it."""
    scraper = Scraper(port)
    page = b""

    def whole() -> bool:
        nonlocal page
        page = _body(scraper)
        return sample(page, "loadfleet_exporter_series") >= agents * SAMPLES_PER_AGENT

    until(whole)
    scraper.get()
    return page


def _body(scraper: Scraper) -> bytes:
    return scraper.get().partition(b"\r\n\r\n")[2]


def _vendor_part(page: bytes) -> bytes:
    """Leave out the exporter's own metrics, some of which the pushgateway has as well."""
    body = page[page.find(b"# HELP") :]
    return (
        body[: body.find(b"# HELP loadfleet_exporter")] if b"loadfleet_exporter" in body else body
    )


def _interleaved(
    port: int, pushed: int, file: int, scrapes: int, *, gzip: bool
) -> tuple[dict[str, float], float]:
    """Return each server's p50 in ms, and the median over all blocks of ours over nginx's.

    The exporter and nginx take turns request by request, so that other load of the machine meets
    both.
    """
    ours, theirs, static = (Scraper(each, gzip=gzip) for each in (port, pushed, file))
    times: dict[str, list[float]] = {"exporter_ms": [], "nginx_ms": [], "pushgateway_ms": []}
    ratios = []
    for scraper in (ours, theirs, static):
        scraper.get()
    for _ in range(scrapes // _BLOCK):
        pairs = [(ours.seconds() * 1e3, static.seconds() * 1e3) for _ in range(_BLOCK)]
        for name, taken in zip(("exporter_ms", "nginx_ms"), zip(*pairs, strict=True), strict=True):
            times[name] += taken
        ratios.append(median([one for one, _ in pairs]) / median([other for _, other in pairs]))
        times["pushgateway_ms"] += [theirs.seconds() * 1e3 for _ in range(_BLOCK)]
    return {name: median(taken) for name, taken in times.items()}, median(ratios)


def _post(port: int, path: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310 - loopback
        reply.read()


def _has_isal() -> bool:
    try:
        import isal  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True

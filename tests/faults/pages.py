"""Plays of the grid of faults that check the daemon's pages as well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree as ET

import httpx

from exporter.conformance.faults.play import Play
from exporter.overview.picture import Facts
from exporter.overview.sources import source_rows
from exporter.web.app import create_app
from tests.support.markup import parse
from tests.web.fakes import ExposingView


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.clock import Moment
    from exporter.conformance.trial import Trial
    from exporter.fleet.readings import Reading
    from exporter.fleet.store import Snapshot
    from exporter.overview.sources import SourceRow


class Everything(ExposingView):
    """The daemon's pages over the engine of a trial."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial.engine.exposition)
        self._trial = trial

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the present snapshots."""
        return self._trial.engine.store.snapshots()

    def sources(self) -> Sequence[SourceRow]:
        """Return the state of each source."""
        return source_rows(self._trial.engine.pollers.values(), self._trial.engine.store)

    def now(self) -> Moment:
        """Return the trial's time."""
        return self._trial.clock.now()

    def _facts(self) -> Facts:
        engine = self._trial.engine
        return Facts.of(
            engine.pollers.values(), engine.store, judge=self._judge, ready=True, alerts=()
        )


class PlayWithPages(Play):
    """A play at whose end every page is read."""

    async def _check_pages(self, promtool: str | None) -> None:
        await super()._check_pages(promtool)
        transport = httpx.ASGITransport(create_app(Everything(self._trial)))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            for path in self._paths():
                self._check_page(path, await client.get(path))

    def _paths(self) -> Iterator[str]:
        yield from ("/", "/api/v1/status", "/api/v1/targets", "/api/v1/problems")
        yield from ("/api/v1/sources", "/sd/agents", "/sd/controllers", "/sd/recorders", "/config")
        for name, cell in self._cells.items():
            kinds: set[str] = set()
            for reading in self._trial.readings(name) if cell.fault.treatment else ():
                kind = type(reading).__name__.lower()
                if kind in kinds or kind not in cell.candidate.provider.kinds:
                    continue
                kinds.add(kind)
                asked = f"source={name}&kind={kind}&id={quote(_id_of(kind, reading), safe='')}"
                yield f"/target?{asked}"
                yield f"/badge/target.svg?{asked}"

    def _check_page(self, path: str, answer: httpx.Response) -> None:
        kind = answer.headers["content-type"].partition(";")[0]
        if answer.status_code != 200 and not (path.startswith("/target") or "badge" in path):
            self._blame(path, f"answered with {answer.status_code}")
        if answer.status_code not in (200, 400, 404):
            self._blame(path, f"answered with {answer.status_code}")
        if "html" in kind:
            tree = parse(answer.text)
            if any(each.attributes.get("id") == "planted" for each in tree.everything()):
                self._blame(path, "a text of a vendor has become a part of the page")
            if any("onmouseover" in each.attributes for each in tree.everything()):
                self._blame(path, "a text of a vendor has become an attribute")
        elif "json" in kind:
            json.loads(answer.content)
        elif "svg" in kind:
            ET.fromstring(answer.content)  # noqa: S314 - ours
        if any(secret in answer.text for secret in self._secrets):
            self._blame(path, "a secret is shown")


def _id_of(kind: str, reading: Reading) -> str:
    field = f"{kind}_id" if hasattr(reading, f"{kind}_id") else kind
    return str(getattr(reading, field))

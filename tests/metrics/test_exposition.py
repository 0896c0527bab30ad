from __future__ import annotations

import asyncio
import gzip
import itertools
import math
import subprocess
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from prometheus_client import Gauge, Metric, generate_latest, utils
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from exporter.clock import SYSTEM_CLOCK
from exporter.errors import Reason
from exporter.fleet.readings import (
    Account,
    Agent,
    AgentState,
    Reading,
    Run,
    SourceHealth,
    TaskHealth,
    Template,
)
from exporter.fleet.store import Snapshot, Store
from exporter.metrics import own
from exporter.metrics.catalogue import AGENT_UP, FAMILIES
from exporter.metrics.exposition import Exposition, accepts_gzip, accepts_plain, page_of
from exporter.metrics.exposition.body import Body, Format, Lines
from exporter.metrics.exposition.notation import encode_numbers, number_texts
from exporter.metrics.exposition.own import OwnWriter
from exporter.metrics.mapping import samples
from exporter.metrics.own import OWN_FAMILIES, OwnFamily
from exporter.metrics.telemetry import SelfMetrics
from tests.support.clock import FakeClock, settle
from tests.support.fleet import READ_AT, READINGS
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# The client leaves these without types.
generate_openmetrics: Callable[[object], bytes] = openmetrics_exposition.generate_latest
parse_openmetrics: Callable[[str], Iterable[Metric]] = (
    openmetrics_parser.text_string_to_metric_families
)
float_to_text: Callable[[float], str] = utils.floatToGoString

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
UP = 'loadfleet_agent_up{agent="a",agent_id="1",provider="realload",source="prod"} '


class Expected:
    """The same samples as prometheus-client's own families, for its own writer."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        self._snapshots = tuple(snapshots)

    def collect(self) -> Iterable[Metric]:
        """Return the families that have samples, in the catalogue's order."""
        for family in FAMILIES:
            is_info = family.kind == "info"
            name = family.name.removesuffix("_info") if is_info else family.name
            metric: Metric = (InfoMetricFamily if is_info else GaugeMetricFamily)(name, family.help)
            for snapshot in self._snapshots:
                common = {"provider": snapshot.provider, "source": snapshot.source}
                for sample in (each for r in snapshot.readings for each in samples(r)):
                    if sample.family is family:
                        own = dict(zip(family.labels, sample.labels, strict=True))
                        labels = {**snapshot.labels, **common, **own}
                        metric.add_sample(family.name, labels, sample.value)
            if metric.samples:
                yield metric


class World:
    """A store with its exposition and a clock."""

    def __init__(
        self, own_families: tuple[OwnFamily[Any], ...] = OWN_FAMILIES, **options: Any
    ) -> None:
        self.clock = FakeClock()
        self.store = Store(self.clock.clock)
        self.telemetry = SelfMetrics(clock=self.clock.clock, families=own_families)
        self.exposition = Exposition(self.store, self.telemetry, **options)

    def put(
        self,
        *readings: Reading,
        source: str = "prod",
        task: str = "agents",
        stale_after: float = 180.0,
        labels: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """Put a snapshot that is taken now."""
        snapshot = Snapshot(
            provider="realload",
            source=source,
            task=task,
            readings=readings,
            taken=self.clock.clock.now(),
            stale_after=stale_after,
            labels=labels or {},
        )
        self.store.put(snapshot)
        return snapshot

    def text(self, *, names: tuple[str, ...] = (), sources: tuple[str, ...] = ()) -> str:
        """Scrape as plain text."""
        return self.exposition.metrics(names=names, sources=sources).body.decode()

    def lines(self) -> set[str]:
        """Scrape the vendor series, without heads."""
        return {
            line
            for line in self.text().splitlines()
            if line.startswith("loadfleet_") and not line.startswith("loadfleet_exporter_")
        }

    def own(self, name: str, **labels: str) -> float | None:
        """Read one of the exporter's own metrics."""
        return self.telemetry.registry.get_sample_value(f"loadfleet_exporter_{name}", labels)


def agent(number: str = "1", **state: object) -> Agent:
    """Make an agent with a state."""
    fields = {"up": True, **state}
    return Agent(
        agent_id=number,
        agent="a",
        state=AgentState(read_at=READ_AT, **fields),  # type: ignore[arg-type]  # by the caller
    )


def vendor(page: bytes) -> bytes:
    """Cut the vendor families out of a page: all before the first own head."""
    return page[: page.index(b"# HELP process_virtual_memory_bytes ")]


# -- Byte for byte ------------------------------------------------------------------------------

LABEL_VALUES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6) | (
    st.sampled_from(["", 'say "hi"', "back\\slash", "two\nlines", "\\n", "😀", "\r", "ü", "a=b,c"])
)
NUMBERS = (
    st.none()
    | st.floats()
    | st.integers(-(2**63), 2**63)
    | st.sampled_from(
        [0.0, -0.0, math.inf, -math.inf, 1e-5, 1e-4, 999_999.0, 1e6, 1e16, 1.7e9, 5e-324, 1e308, 2]
    )
)
FLAGS = st.none() | st.booleans()
COUNTS = st.dictionaries(LABEL_VALUES, NUMBERS.filter(lambda number: number is not None))

AGENTS = st.builds(
    Agent,
    agent_id=LABEL_VALUES,
    agent=LABEL_VALUES,
    host=LABEL_VALUES,
    protected=FLAGS,
    last_up_timestamp_seconds=NUMBERS,
    state=st.none()
    | st.builds(
        AgentState,
        read_at=st.just(READ_AT),
        up=FLAGS,
        reason=st.none() | st.sampled_from(Reason),
        outdated=FLAGS,
        version=LABEL_VALUES,
        clock_delta_seconds=NUMBERS,
        users_limit=NUMBERS,
    ),
)
RUNS = st.builds(
    Run,
    run_id=LABEL_VALUES,
    run=LABEL_VALUES,
    phase=st.sampled_from(["ready", "ended", "?"]),
    engines_ratio=COUNTS,
    events=COUNTS,
    exit_code=NUMBERS,
)


def unique(readings: Iterable[Reading]) -> list[Reading]:
    """Leave out what has the identity of an earlier reading."""
    found: dict[tuple[object, ...], Reading] = {}
    for reading in readings:
        identity = (
            (reading.agent_id, reading.agent)
            if isinstance(reading, Agent)
            else (reading.run_id, reading.run, None)
            if isinstance(reading, Run)
            else ()
        )
        found.setdefault(identity, reading)
    return list(found.values())


@given(
    snapshots=st.lists(
        st.tuples(
            st.lists(AGENTS | RUNS, max_size=4).map(unique),
            st.dictionaries(st.sampled_from(["site", "a", "zone"]), LABEL_VALUES),
        ),
        min_size=2,
        max_size=2,
    )
)
@settings(deadline=None)
def test_vendor_families_equal_the_clients_own_output(
    snapshots: list[tuple[list[Reading], dict[str, str]]],
) -> None:
    """Any readings are written byte for byte as prometheus-client writes the same families.

    Each state follows upon another one, so that what is kept from it must not show.
    """
    world = World()
    page = b""
    for readings, labels in snapshots:
        put = [
            world.put(*readings, labels=labels),
            world.put(*readings, source="lab", labels=labels),
        ]

        page = world.exposition.metrics().body
        openmetrics = world.exposition.metrics(accept=OPENMETRICS).body

        # The store's order is by source.
        expected = Expected(reversed(put))
        assert generate_latest(expected) == vendor(page)
        assert generate_openmetrics(expected).removesuffix(b"# EOF\n") == vendor(openmetrics)


def test_every_family_equals_the_clients_own_output() -> None:
    """A fleet that fills the whole catalogue is written as the client writes it."""
    world = World()
    snapshot = world.put(*READINGS, labels={"site": "bern"})

    page = world.exposition.metrics().body
    openmetrics = world.exposition.metrics(accept=OPENMETRICS).body

    expected = Expected([snapshot])
    assert generate_latest(expected) == vendor(page)
    assert generate_openmetrics(expected) == vendor(openmetrics) + b"# EOF\n"
    assert {family.name for family in FAMILIES} == {
        line.split("{")[0]
        for line in vendor(page).decode().splitlines()
        if not line.startswith("#")
    }


@given(values=st.lists(NUMBERS))
def test_numbers_are_written_as_the_client_writes_them(values: list[float | None]) -> None:
    """A column of any numbers reads as if each had been written alone; no NaN comes through."""
    expected = [
        None if value is None or math.isnan(value) else float_to_text(value) for value in values
    ]

    assert expected == number_texts(values, encode_numbers(values))


@given(
    st.integers(5, 16).flatmap(
        lambda power: st.lists(
            st.floats(10.0**power, 10.0 ** (power + 1)) | st.integers(10**power).map(float),
            min_size=1,
        )
    )
    | st.lists(st.floats(1.5e9, 1.8e9), min_size=1)
)
def test_times_and_sizes_are_written_as_the_client_writes_them(values: list[float]) -> None:
    """Numbers must be written as the client library writes them, also by the fast path."""
    expected = [float_to_text(value) for value in values]

    assert expected == number_texts(values, encode_numbers(values))


@pytest.mark.parametrize("form", Format)
def test_own_metrics_equal_the_clients_output(form: Format) -> None:
    """The exporter's own families are written as the client writes them."""
    telemetry = SelfMetrics()
    for collector in tuple(telemetry.registry._collector_to_names)[:3]:
        # The process's own metrics change from one scrape to the next.
        telemetry.registry.unregister(collector)
    source = telemetry.source("realload", 'pr"od')
    source.declare_task("agents", 60.0)
    source.polled("agents", seconds=0.3, at=SYSTEM_CLOCK.now(), failures=[Reason.TIMEOUT])
    telemetry[own.EXPOSITION_BYTES].set(math.nan)
    writer = OwnWriter(telemetry)

    first, second = writer.text(form), writer.text(form)

    generate = generate_latest if form is Format.TEXT else generate_openmetrics
    assert generate(telemetry.registry) == first == second


def test_a_page_passes_promtool() -> None:
    """The whole page follows the conventions of names, types, help and order."""
    promtool = require("promtool")
    world = World()
    world.put(*READINGS)
    source = world.telemetry.source("realload", "prod")
    source.declare_task("agents", 60.0)
    with source.request("getAgents"):
        pass

    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=world.exposition.metrics().body,
        capture_output=True,
        check=False,
    )

    findings = [
        line
        for line in (checked.stdout + checked.stderr).decode().splitlines()
        # The names of the client library's own metrics cannot be changed.
        if not line.startswith(("process_", "python_"))
    ]
    assert [] == findings


# -- What is exposed ----------------------------------------------------------------------------


def test_a_target_listed_twice_is_exposed_once() -> None:
    """The first of two readings with one identity stands; the page stays valid."""
    world = World()

    world.put(agent("1", clock_delta_seconds=1.0), agent("1", clock_delta_seconds=2.0))

    lines = [line for line in world.lines() if line.startswith("loadfleet_agent_clock_delta")]
    assert ["1.0"] == [line.rsplit(" ", 1)[1] for line in lines]


def test_a_target_of_two_tasks_is_exposed_once() -> None:
    """A target that two tasks of one source list must be exposed once."""
    world = World()

    world.put(agent("1"), task="agents")
    world.put(agent("1"), agent("2"), task="more")

    ups = [line for line in world.text().splitlines() if line.startswith("loadfleet_agent_up{")]
    assert len(ups) == len(set(ups)) == 2


def test_every_task_of_a_source_is_exposed() -> None:
    """The readings of their health have no labels but the task, and none hides another."""
    world = World()
    world.put(
        TaskHealth(task="agents", up=True, targets={"agent": 3.0, "location": 1.0}),
        TaskHealth(task="runs", up=False, targets={"suite": 0.0}),
    )

    lines = world.lines()

    assert {
        'loadfleet_source_task_up{provider="realload",source="prod",task="agents"} 1.0',
        'loadfleet_source_task_up{provider="realload",source="prod",task="runs"} 0.0',
        'loadfleet_source_targets{kind="agent",provider="realload",source="prod"} 3.0',
        'loadfleet_source_targets{kind="location",provider="realload",source="prod"} 1.0',
        'loadfleet_source_targets{kind="suite",provider="realload",source="prod"} 0.0',
    } == lines


def test_a_lone_surrogate_does_not_break_the_page() -> None:
    """A label value that has no UTF-8 form is replaced."""
    world = World()

    world.put(Template(template_id="1", template="\ud800", healthy=True))

    assert 'template="?"' in world.text(names=("loadfleet_template_healthy",))


def test_static_labels_are_on_every_series_of_their_source() -> None:
    """The configuration's labels join the series of their source only."""
    world = World()

    world.put(agent(), labels={"site": "bern"})
    world.put(agent(), source="lab")

    assert all(('site="bern"' in line) == ('source="prod"' in line) for line in world.lines())


def test_changed_static_labels_replace_the_old_ones() -> None:
    """A reload that changes labels leaves no series with the old ones."""
    world = World()
    world.put(agent(), labels={"site": "bern"})
    world.text()

    world.put(agent(), labels={"site": "rome"})

    assert all('site="rome"' in line for line in world.lines())


def test_a_gone_target_leaves_no_series_and_no_memory() -> None:
    """A target that the newest snapshot lacks must leave no series and no cached text."""
    world = World()
    world.put(agent("1"), agent("2"))
    world.text()

    world.put(agent("2"))

    assert not [line for line in world.lines() if 'agent_id="1"' in line]
    kept = world.exposition._rendered["realload", "prod", "agents"]
    assert [("2", "a")] == list(kept.identities((Agent, 0)))


def test_an_empty_store_has_no_vendor_family() -> None:
    """Heads without samples are not sent."""
    assert "# HELP loadfleet_agent" not in World().text()


def test_an_exposition_starts_with_what_is_known() -> None:
    """Snapshots from before it was made are exposed too."""
    world = World()
    world.put(agent())

    late = Exposition(world.store, world.telemetry)

    assert UP.encode() + b"1.0\n" in late.metrics().body


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (math.inf, None, set()),
        (None, math.inf, {"+Inf"}),
        (math.inf, -math.inf, {"-Inf"}),
        (0.0, -0.0, {"-0.0"}),
    ],
)
def test_values_that_look_alike_are_told_apart(
    before: float | None, after: float | None, shown: set[str]
) -> None:
    """The cached text must never hide a change of a value."""
    world = World()
    world.put(agent(users_limit=before))
    world.text()

    world.put(agent(users_limit=after))

    lines = [line for line in world.lines() if line.startswith("loadfleet_agent_users_limit")]
    assert shown == {line.rsplit(" ", 1)[1] for line in lines}


# -- Age ----------------------------------------------------------------------------------------


def test_a_scrape_never_shows_what_has_expired() -> None:
    """The scrape itself looks whether something is due."""
    world = World()
    world.put(agent(), stale_after=180.0)
    assert UP + "1.0" in world.lines()

    world.clock.shift(181.0)

    assert set() == world.lines()


def test_expired_series_are_counted() -> None:
    """All series of a snapshot that expires count, and those of renewed ones never do."""
    world = World()
    world.put(agent("1"), agent("2"))
    world.put(SourceHealth(), task="source", stale_after=math.inf)
    world.text()
    world.put(agent("1"))
    world.text()

    world.clock.shift(181.0)
    world.text()

    labels = {"provider": "realload", "source": "prod"}
    assert 2.0 == world.own("series_expired_total", **labels)
    assert 2.0 == world.own("series", **labels)


def test_what_grew_and_aged_between_two_scrapes_is_shown() -> None:
    """A state that ages in a snapshot with more in it than was shown before breaks no scrape."""
    world = World()
    world.put(agent("1"))
    world.text()
    world.clock.shift(181.0)

    world.put(*map(agent, "123"))
    world.text()

    labels = {"provider": "realload", "source": "prod"}
    assert 0.0 == world.own("series_expired_total", **labels)


def test_an_expired_state_counts_its_series() -> None:
    """A carried state that ages within a fresh snapshot takes its own series with it."""
    world = World()
    world.clock.shift(100.0)
    world.put(agent(clock_delta_seconds=1.0))
    world.text()

    world.clock.shift(81.0)
    world.text()

    labels = {"provider": "realload", "source": "prod"}
    assert 2.0 == world.own("series_expired_total", **labels)
    assert 1.0 == world.own("series", **labels)


def test_a_removed_source_leaves_no_own_series() -> None:
    """Rendering after a removal does not bring a forgotten source back."""
    world = World()
    world.put(agent())
    world.text()

    world.store.remove_source("realload", "prod")
    world.telemetry.forget("realload", "prod")

    assert 'source="prod"' not in world.text()


def test_the_number_of_series_is_exact() -> None:
    """The gauge equals the lines of the source on the same page."""
    world = World()
    world.put(*READINGS)
    world.put(*READINGS, source="lab")

    lines = [line for line in world.lines() if 'source="lab"' in line]

    assert len(lines) == world.own("series", provider="realload", source="lab")


# -- Once per change ----------------------------------------------------------------------------


def test_nothing_is_rendered_by_a_scrape_while_nothing_changed() -> None:
    """Renders are observed once per change, however many scrapes follow."""
    world = World()
    world.put(agent())

    for _ in range(3):
        world.text()
    world.put(agent("2"))
    world.text()

    assert 2.0 == world.own("render_duration_seconds_count")


@pytest.mark.parametrize("accept_encoding", ["", "gzip"])
def test_own_metrics_are_collected_once_a_second(accept_encoding: str) -> None:
    """Own metrics must be collected at most once a second."""
    world = World()
    world.telemetry.source("realload", "prod").declare_task("agents", 60.0)

    def scrape() -> tuple[bytes, ...]:
        return world.exposition.metrics(accept_encoding=accept_encoding).parts

    first, second = scrape(), scrape()
    world.telemetry.source("realload", "prod").skipped("agents", "missed")
    world.clock.shift(1.0)
    third = scrape()

    assert first[-1] is second[-1]
    assert third[-1] != second[-1]


@pytest.mark.parametrize("accept_encoding", ["", "gzip"])
def test_a_changed_page_has_the_own_metrics_of_its_moment(accept_encoding: str) -> None:
    """The page must show the exporter's own metrics as they are after the change it shows."""
    world = World()
    world.exposition.metrics(accept_encoding=accept_encoding)

    world.put(agent())

    page = world.exposition.metrics(accept_encoding=accept_encoding)
    text = gzip.decompress(page.body) if accept_encoding else page.body
    assert b'loadfleet_exporter_series{provider="realload",source="prod"} 2.0\n' in text


def test_the_figures_of_the_process_are_never_older_than_a_second() -> None:
    """Metrics that change without being counted must be at most a second old."""
    world = World()
    looks = itertools.count()
    Gauge("looks", "Changes by itself.", registry=world.telemetry.registry).set_function(
        lambda: next(looks)
    )
    first = world.text()

    world.clock.shift(0.9)
    second = world.text()
    world.clock.shift(0.2)
    third = world.text()

    assert first == second
    assert ("looks 0.0" in first, "looks 1.0" in third) == (True, True)


def test_the_size_of_the_vendor_families_is_shown() -> None:
    """The gauge is the length of the text before the own metrics."""
    world = World()
    world.put(*READINGS)

    page = world.exposition.metrics().body

    assert len(vendor(page)) == world.own("exposition_bytes")


async def test_a_refresh_pauses_between_chunks() -> None:
    """Thousands of targets are rendered in slices, and the loop runs in between."""
    pauses = 0

    async def pause() -> None:
        nonlocal pauses
        pauses += 1

    world = World(pause=pause)
    world.put(*[agent(str(number)) for number in range(1_000)])

    await world.exposition.refresh()

    assert 4 == pauses
    assert 2_000.0 == world.own("series", provider="realload", source="prod")


async def test_a_scrape_during_a_refresh_gets_the_last_whole_page() -> None:
    """While a new page is being made the one before it is served, never half of each."""
    gate = asyncio.Event()
    world = World(pause=gate.wait)
    world.put(*[agent(str(number), up=True) for number in range(600)])
    world.text()
    world.put(*[agent(str(number), up=False) for number in range(600)])

    refresh = asyncio.create_task(world.exposition.refresh())
    await settle()
    during = {line[-3:] for line in world.lines() if line.startswith("loadfleet_agent_up{")}
    gate.set()
    await refresh

    after = {line[-3:] for line in world.lines() if line.startswith("loadfleet_agent_up{")}
    assert {"1.0"} == during
    assert {"0.0"} == after


async def test_what_changes_during_a_refresh_is_rendered_too() -> None:
    """A refresh ends only when the page shows the newest snapshots."""
    gate = asyncio.Event()
    world = World(pause=gate.wait)
    world.put(agent(up=True))

    refresh = asyncio.create_task(world.exposition.refresh())
    await settle()
    world.put(agent(up=False))
    gate.set()
    await refresh

    assert UP + "0.0" in world.lines()
    assert 1.0 == world.own("render_duration_seconds_count")


async def test_what_changes_while_the_page_is_packed_is_rendered_too() -> None:
    """A change that comes after the last line was written is not forgotten."""
    pauses = 0

    async def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 2:
            world.put(agent())

    world = World(pause=pause)
    world.exposition.metrics(accept_encoding="gzip")
    world.put(Template(template_id="1", template="t" * 2_000_000, healthy=True), task="large")

    await world.exposition.refresh()

    assert b"loadfleet_agent_up{" in world.exposition._body.plain(Format.TEXT)
    assert 3.0 == world.own("render_duration_seconds_count")


async def test_a_cancelled_refresh_loses_nothing() -> None:
    """The next scrape renders what a cancelled refresh left undone."""
    world = World(pause=asyncio.Event().wait)
    world.put(agent())

    refresh = asyncio.create_task(world.exposition.refresh())
    await settle()
    refresh.cancel()
    with pytest.raises(asyncio.CancelledError):
        await refresh

    assert UP + "1.0" in world.lines()


async def test_a_refresh_keeps_ready_what_is_asked_for() -> None:
    """A form that was scraped lately is packed before the next scrape, others are not."""
    world = World()
    world.put(agent())
    world.exposition.metrics(accept_encoding="gzip")

    world.put(agent("2"))
    await world.exposition.refresh()

    body = world.exposition._body
    assert {Format.TEXT} == set(body._packed)
    assert set() == set(body._plain)


async def test_a_form_nobody_asks_for_is_not_kept_ready() -> None:
    """After ten minutes without a scrape of it a form is no longer made."""
    world = World()
    world.exposition.metrics(accept_encoding="gzip")

    world.clock.shift(601.0)
    world.put(agent())
    await world.exposition.refresh()

    assert {} == world.exposition._body._packed


def test_unchanged_lines_are_neither_written_nor_packed_again() -> None:
    """Unchanged lines must be neither written nor packed again."""
    world = World()
    world.put(agent(clock_delta_seconds=1.0, users_limit=math.inf))
    world.text()
    before = world.exposition._rendered["realload", "prod", "agents"].lines

    world.put(agent(clock_delta_seconds=2.0, users_limit=math.inf))
    world.text()

    after = world.exposition._rendered["realload", "prod", "agents"].lines
    changed = [name for name in after if after[name][0] is not before[name][0]]
    assert ["loadfleet_agent_clock_delta_seconds"] == changed


# -- Former names -------------------------------------------------------------------------------

FORMER = ("loadfleet_agent_alive", "0.2")
RENAMED = [
    structs.replace(family, former_names=(FORMER,)) if family is AGENT_UP else family
    for family in FAMILIES
]
CYCLES = {own.POLLS: "cycles_total", own.POLL_DURATION: "cycle_seconds"}
RENAMED_OWN = tuple(
    structs.replace(
        family,
        former_names=((f"loadfleet_exporter_{CYCLES[family]}", "0.3"),),
    )
    if family in CYCLES
    else family
    for family in OWN_FAMILIES
)


class TestFormerNames:
    @pytest.fixture
    def world(self) -> World:
        """Make a world with two agents, and a catalogue with renamed families."""
        world = World(families=RENAMED, own_families=RENAMED_OWN)
        world.put(agent("1", up=True), agent("2", up=False))
        source = world.telemetry.source("realload", "prod")
        source.polled("agents", seconds=0.3, at=world.clock.clock.now(), failures=[])
        return world

    def test_a_family_is_served_under_both_names(self, world: World) -> None:
        """Queries with either name get the same series, and the old one's help says what to do."""
        text = world.text()

        new = [line for line in text.splitlines() if line.startswith("loadfleet_agent_up{")]
        old = [line for line in text.splitlines() if line.startswith("loadfleet_agent_alive{")]
        assert 2 == len(new)
        assert [line.replace("loadfleet_agent_up", "loadfleet_agent_alive") for line in new] == old
        assert (
            "# HELP loadfleet_agent_alive Deprecated since 0.2, use loadfleet_agent_up.\n"
            "# TYPE loadfleet_agent_alive gauge\n"
        ) in text

    def test_both_are_counted_and_change_together(self, world: World) -> None:
        """The number of series stays exact, and what is kept of a page hides no change."""
        world.text()

        world.put(agent("1", up=False))

        lines = world.lines()
        assert UP.replace("agent_up", "agent_alive") + "0.0" in lines
        assert len(lines) == world.own("series", provider="realload", source="prod") == 3

    @pytest.mark.parametrize("accept", ["", OPENMETRICS])
    def test_own_families_too(self, world: World, accept: str) -> None:
        """Counters keep their ending, histograms those of their samples."""
        text = world.exposition.metrics(accept=accept).body.decode()

        labels = 'provider="realload",source="prod",task="agents"'
        assert f"loadfleet_exporter_cycles_total{{{labels}}} 1.0\n" in text
        assert f'loadfleet_exporter_cycle_seconds_bucket{{le="0.5",{labels}}} 1.0\n' in text
        assert f"loadfleet_exporter_cycle_seconds_sum{{{labels}}} 0.3\n" in text
        assert " Deprecated since 0.3, use loadfleet_exporter_polls_total.\n" in text
        assert f"loadfleet_exporter_polls_total{{{labels}}} 1.0\n" in text

    def test_the_page_stays_valid(self, world: World) -> None:
        """The page with former names must be valid in both formats, packed or not."""
        openmetrics = gzip.decompress(
            world.exposition.metrics(accept=OPENMETRICS, accept_encoding="gzip").body
        )

        read = {family.name for family in parse_openmetrics(openmetrics.decode())}

        assert {"loadfleet_agent_up", "loadfleet_agent_alive"} <= read
        assert {"loadfleet_agent_alive", "loadfleet_exporter_cycles_total"} <= families(
            world.text()
        )

    @pytest.mark.parametrize(
        "name",
        [
            "loadfleet_agent_up",
            "loadfleet_agent_alive",
            "loadfleet_exporter_polls_total",
            "loadfleet_exporter_cycles_total",
        ],
    )
    def test_either_name_can_be_asked_for_alone(self, world: World, name: str) -> None:
        """A filter means the name that it says."""
        assert {name} == families(world.text(names=(name,)))

    def test_a_single_reading_has_both_names(self) -> None:
        """The page of a single target must have former names too."""
        snapshot = World().put(agent())

        text = page_of(snapshot, families=RENAMED).body.decode()

        assert {"loadfleet_agent_info", "loadfleet_agent_up", "loadfleet_agent_alive"} == families(
            text
        )

    def test_they_are_named_in_the_log(self, world: World) -> None:
        """Former names must be logged once at the start."""
        with capture_logs() as logs:
            world.exposition.log_former_names()
            World().exposition.log_former_names()

        names = (
            "loadfleet_agent_alive,loadfleet_exporter_cycle_seconds,loadfleet_exporter_cycles_total"
        )
        assert [{"event": "deprecated_metrics", "log_level": "warning", "names": names}] == logs


# -- Formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain",
        "text/plain;version=0.0.4",
        "text/plain;version=1.0.0",
        "text/plain;version=1.0.0;escaping=allow-utf-8",
        "application/openmetrics-text",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=1.0.0",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,text/plain;q=0.5",
        "application/openmetrics-text;version=1.0.0;escaping=underscores",
        "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.7",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily,*/*;q=0.2",
    ],
)
def test_the_format_is_negotiated_as_the_client_does(accept: str) -> None:
    """Type, end and own part of the page are those of the encoder the client would choose."""
    encoder, content_type = choose_encoder(accept)
    world = World()

    page = world.exposition.metrics(accept=accept)

    assert content_type == page.content_type
    assert encoder(world.telemetry.registry).endswith(b"# EOF\n") == page.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("escaping", ["dots", "values"])
def test_names_are_never_escaped(escaping: str) -> None:
    """A scheme that would rename what needs no escaping is not taken up, and the reply says so."""
    world = World()

    page = world.exposition.metrics(accept=f"text/plain;version=1.0.0;escaping={escaping}")

    assert page.content_type.endswith("; escaping=underscores")
    assert b"loadfleet_exporter_build_info{" in page.body


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text; version=1.1.0",
        "application/openmetrics-text;version=10.0.0;escaping=allow-utf-8",
        'application/openmetrics-text;version="1.0.0"',
        "Application/OpenMetrics-Text;Version=2.0.0",
        "application/openmetrics-text;version=2.0.0;q=0.9,application/openmetrics-text;q=0.1",
        "application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0",
    ],
)
@pytest.mark.parametrize("page_of_one", [False, True])
def test_openmetrics_is_never_labelled_as_more_than_it_is(accept: str, page_of_one: bool) -> None:
    """A request for a newer OpenMetrics version must be answered with version 1.0.0."""
    world = World()
    snapshot = world.put(*READINGS)

    page = (
        page_of(snapshot, accept=accept) if page_of_one else world.exposition.metrics(accept=accept)
    )

    assert page.content_type.startswith("application/openmetrics-text; version=1.0.0; charset=")
    assert page.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=2.0.0,text/plain;version=0.0.4;q=0.5",
        "application/openmetrics-text;version=2.0.0,*/*;q=0.1",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;version=1.0.0;q=0.000,text/plain",
        "application/openmetrics-text;version=0.0.1",
    ],
)
def test_who_does_not_want_the_version_there_is_gets_text(accept: str) -> None:
    """A version that was not asked for, or was refused, is no better than what was asked for."""
    page = World().exposition.metrics(accept=accept)

    assert "text/plain; version=0.0.4; charset=utf-8" == page.content_type
    assert not page.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=one",
        "application/openmetrics-text;version=1.0.0\x7f\xe9",
        "application/openmetrics-text;version=\u00b2.0",
        f"application/openmetrics-text;version={'9' * 5_000}.x",
    ],
)
def test_a_senseless_version_is_answered_in_plain_text(accept: str) -> None:
    """An Accept header the client's negotiation trips over gets the oldest format."""
    page = World().exposition.metrics(accept=accept)

    assert "text/plain; version=0.0.4; charset=utf-8" == page.content_type


@pytest.mark.parametrize(
    ("accept_encoding", "encoding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate, GZIP;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("br", None),
        ("identity;q=0", "gzip"),
        ("br, Identity; q=0.0", "gzip"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("gzip;q=0, *", None),
        ("gzip, *;q=0", "gzip"),
        ("identity, *;q=0", None),
        ("gzip ; Q=0", None),
    ],
)
def test_gzip_is_used_where_it_is_accepted(accept_encoding: str, encoding: str | None) -> None:
    """A weight of zero refuses."""
    page = World().exposition.metrics(accept_encoding=accept_encoding)

    assert encoding == page.content_encoding


@pytest.mark.parametrize(
    ("accept_encoding", "refused"),
    [
        ("", False),
        ("br", False),
        ("identity;q=0", False),
        ("gzip;q=0", False),
        ("identity;q=0, gzip;q=0", True),
        ("*;q=0", True),
        ("br, *;q=0", True),
        ("gzip, *;q=0", False),
        ("identity, *;q=0", False),
    ],
)
def test_a_client_may_take_neither_form(accept_encoding: str, refused: bool) -> None:
    """Only a client that refuses both gzip and the plain page may be refused."""
    taken = accepts_gzip(accept_encoding) or accepts_plain(accept_encoding)

    assert refused is not taken


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_packed_page_is_one_member_of_the_same_page(accept: str) -> None:
    """A client that reads only the first gzip member gets everything, also after changes."""
    world = World()
    for count in (3, 1_500, 1_501):
        world.put(*READINGS, *[agent(str(number)) for number in range(count)])

        plain = world.exposition.metrics(accept=accept)
        packed = world.exposition.metrics(accept=accept, accept_encoding="gzip")

        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        first = member.decompress(packed.body)
        assert member.eof
        assert b"" == member.unused_data
        cut = len(vendor(plain.body))
        assert plain.body[:cut] == first[:cut]
        assert first == gzip.decompress(packed.body)


async def test_lines_that_are_kept_packed_alone_make_the_same_page() -> None:
    """Lines that are kept packed only must make the same page."""
    world, other = World(), World()
    for seconds in (1.0, 2.0):
        agents = [agent(str(number), clock_delta_seconds=seconds) for number in range(600)]
        for each in (world, other):
            each.put(*agents)
            await each.exposition.refresh()

        packed = world.exposition.metrics(accept_encoding="gzip")

        rendered = world.exposition._rendered["realload", "prod", "agents"].lines
        long = [lines for some in rendered.values() for lines in some if lines.is_long]
        assert long
        assert {None} == {lines._text for lines in long}
        plain = vendor(other.exposition.metrics().body)
        assert plain == vendor(gzip.decompress(packed.body))

    assert vendor(other.exposition.metrics().body) == vendor(world.exposition.metrics().body)


def test_packing_pauses_now_and_then() -> None:
    """Megabytes are deflated in slices."""
    lines = [Lines(b"loadfleet_agent_up 1.0\n" * 50_000, samples=50_000) for _ in range(3)]
    body = Body(FAMILIES, {"loadfleet_agent_up": lines})

    pauses = sum(1 for _ in body.pack(Format.TEXT))

    assert pauses == 3
    assert body.plain(Format.TEXT) == gzip.decompress(b"".join(body.gzip(Format.TEXT, b"")))


# -- Filters ------------------------------------------------------------------------------------


def families(text: str) -> set[str]:
    """Return the names of the samples of a page."""
    return {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("loadfleet_agent_up",), {"loadfleet_agent_up"}),
        (("loadfleet_agent_info", "nothing"), {"loadfleet_agent_info"}),
        (
            ("loadfleet_exporter_render_duration_seconds_sum",),
            {"loadfleet_exporter_render_duration_seconds_sum"},
        ),
        (
            ("loadfleet_exporter_render_duration_seconds",),
            {
                "loadfleet_exporter_render_duration_seconds_bucket",
                "loadfleet_exporter_render_duration_seconds_count",
                "loadfleet_exporter_render_duration_seconds_sum",
            },
        ),
        (
            ("loadfleet_exporter_series_expired_total",),
            {"loadfleet_exporter_series_expired_total"},
        ),
        (("loadfleet_agent",), set()),
    ],
)
def test_names_select_families_and_samples(names: tuple[str, ...], expected: set[str]) -> None:
    """An exact name keeps a family or one of its samples, and nothing else."""
    world = World()
    world.put(agent())
    world.text()

    assert expected == families(world.text(names=names))


def test_sources_select_series() -> None:
    """Vendor and own series of other sources go; what belongs to no source stays."""
    world = World()
    world.put(agent(), Account(job_duration_limit_seconds=1.0))
    world.put(agent(), source="lab")

    text = world.text(sources=("lab",))

    assert 'source="prod"' not in text
    assert UP.replace("prod", "lab") + "1.0\n" in text
    assert 'loadfleet_exporter_series{provider="realload",source="lab"} 2.0\n' in text
    assert "loadfleet_exporter_build_info{" in text


def test_a_filtered_page_can_be_packed() -> None:
    """Filters and gzip go together, and leave the whole page as it was."""
    world = World()
    world.put(agent())
    world.exposition.metrics(accept_encoding="gzip")

    page = world.exposition.metrics(accept_encoding="gzip", names=("loadfleet_agent_up",))

    assert {"loadfleet_agent_up"} == families(gzip.decompress(page.body).decode())
    whole = gzip.decompress(world.exposition.metrics(accept_encoding="gzip").body)
    assert b"loadfleet_agent_info" in whole

"""Histories of series, evaluated by Prometheus: promtool tests without their YAML.

Every history has a source and an exporter of its own, so that hundreds share one evaluation. The
firing alerts are read from `ALERTS` by alert and source.
"""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from exporter.metrics.catalogue import COMMON_LABELS, FAMILIES, PREFIX
from exporter.metrics.own import OWN_FAMILIES
from tests.rules.support import run


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Minutes between two scrapes, as shipped, and between two evaluations.
STEP = 0.5

JOB, SITE = "loadfleet", "bern"

#: Labels whose value is the history's name; the first one present is used.
NAMED = ("source", "preflight", "instance")

#: Default labels of a history.
LABELS = {
    "provider": "realload",
    "agent_id": "46", "agent": "load-46", "host": "load46.example.com", "version": "6.1",
    "controller": "ctrl-1", "cluster_id": "3", "agent_cluster": "north", "member_id": "7",
    "recorder_id": "5", "recorder": "rec-5", "location_id": "9", "location_name": "Bern",
    "suite_id": "12", "suite": "nightly", "run_id": "81", "run": "nightly #81",
    "certificate_id": "4", "certificate": "shop", "reason": "timeout", "backend": "redis",
    "receiver": "am-1:9093", "operation": "getMeasuringAgents", "outcome": "rate_limited",
}  # fmt: skip

#: Series and their values, as promtool writes them, or some values that alternate, separated by
#: spaces. A series is a metric without its prefix, and labels: `source_targets kind=agent`.
Values = dict[str, str]

_FAMILIES = {
    name.removeprefix(PREFIX): (name, labels)
    for name, labels in (
        *((family.name, (*COMMON_LABELS, *family.labels)) for family in FAMILIES),
        *((family.series, family.labels) for family in OWN_FAMILIES),
    )
} | {name: (name, ()) for name in ("up", "process_start_time_seconds")}


# A sample as promtool writes it.
_SAMPLES = re.compile(r"\{[^}]*\} \S+(?=, \{|$)")


class Phase(NamedTuple):
    """Some minutes in which each series has one value; series without a value are lost."""

    minutes: float
    values: Values


class History(NamedTuple):
    """Events at a source, and the minutes in which its alert fires.

    Attributes:
        name: The name that, with the title, identifies the history and names its source; without
            one, its alert must be the only one.
        alert: The alert's name without the prefix.
        title: A description of the events.
        phases: The phases in order; the last one goes on to the end.
        fires: The first minute in which the alert fires; `None` if it never does.
        ends: The first minute in which it no longer fires; `None` if it fires to the end.
        labels: The alert's labels.
        gaps: Minutes in between in which it does not fire.
    """

    name: str
    alert: str
    title: str
    phases: tuple[Phase, ...]
    fires: float | None
    ends: float | None
    labels: Mapping[str, str]
    gaps: float = 0

    @property
    def source(self) -> str:
        """The source's name."""
        return f"{self.name or self.alert}: {self.title}"


def labelled(labels: str, source: str) -> dict[str, str]:
    """Return labels of a source, given as `name` or `name=value`, and those of a scrape."""
    # Each source has an exporter of its own, to tell their series apart.
    known = LABELS | dict.fromkeys(NAMED, source)
    pairs = (label.split("=", 1) for label in labels.split())
    found = {name: value[0] if value else known[name] for name, *value in pairs}
    return {"job": JOB, "site": SITE} | found


def labels_of(series: str, source: str) -> tuple[str, dict[str, str]]:
    """Return a series' metric and labels."""
    metric, _, given = series.partition(" ")
    name, labels = _FAMILIES[metric]
    usual = " ".join(label for label in labels if label in {*LABELS, *NAMED})
    return name, labelled(f"instance {usual} {given}", source)


def written(name: str, labels: Mapping[str, str]) -> str:
    """Return a series as PromQL."""
    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{pairs}}}"


def input_series(
    phases: Iterable[Phase], source: str, end: float, step: float = STEP
) -> Iterator[dict[str, str]]:
    """Yield the series of a history as promtool reads them."""
    *first, last = phases
    rest = max(end - sum(phase.minutes for phase in first), 0)
    whole = [*first, Phase(rest + step, last.values)]
    for series in dict.fromkeys(itertools.chain.from_iterable(phase.values for phase in whole)):
        values, there = [], False
        for minutes, given in whole:
            count = round(minutes / step)
            values += _values(given.get(series), count, ended=there)
            there = series in given
        yield {"series": written(*labels_of(series, source)), "values": " ".join(values)}


def _values(value: str | None, count: int, *, ended: bool) -> list[str]:
    if value is None:
        # Prometheus marks series that are no longer exposed as stale.
        marks = ["stale"] if ended else ["_"]
        return [*marks, *([f"_x{count - 1}"] if count > 1 else [])]
    if " " in value:
        return list(itertools.islice(itertools.cycle(value.split(" ")), count))
    return [value if "x" in value else f"{value}x{count - 1}"]


def group(histories: Iterable[History], end: float, step: float = STEP) -> dict[str, Any]:
    """Return a promtool test of many histories that all end at a minute.

    The first and the last firing minute, and the number in between, are queried once for all
    histories of a name.
    """
    by_name: dict[tuple[str, str], list[History]] = {}
    series: list[dict[str, str]] = []
    for history in histories:
        by_name.setdefault((history.name, history.alert), []).append(history)
        series += input_series(history.phases, history.source, end, step)
    queries = (_queries(*key, found, end, step) for key, found in by_name.items())
    return {
        "interval": duration(step),
        "input_series": series,
        "promql_expr_test": list(itertools.chain.from_iterable(queries)),
    }


def _queries(
    name: str, alert: str, histories: list[History], end: float, step: float
) -> Iterator[dict[str, Any]]:
    selector = f'ALERTS{{alertstate="firing",alertname="LoadFleet{alert}"'
    if name:
        # An alert of the exporter's own, or about a preflight, has no source.
        by = next(label for label in NAMED if label in histories[0].labels)
        selector += f",{by}=~{json.dumps(re.escape(name) + ': .*')}"
    selector += "}"
    window = duration(end + step)
    times = f"timestamp({selector})[{window}:{duration(step)}]"
    firing: list[tuple[str, tuple[float, float, float]]] = []
    for history in histories:
        if history.fires is None:
            continue
        last = end if history.ends is None else history.ends - step
        labels = {"alertstate": "firing", **history.labels}
        count = (last - history.fires - history.gaps) / step + 1
        times_of = (history.fires * 60, last * 60, count)
        firing.append((written("", labels), times_of))
    for index, query in enumerate(
        (
            f"min_over_time({times})",
            f"max_over_time({times})",
            f"count_over_time({selector}[{window}])",
        )
    ):
        samples = [{"labels": labels, "value": values[index]} for labels, values in firing]
        yield {"expr": query, "eval_time": duration(end), "exp_samples": samples}


def duration(minutes: float) -> str:
    """Return some minutes as promtool writes them."""
    return f"{round(minutes * 60)}s"


def written_to(
    folder: Path, rules: str, groups: Mapping[str, Iterable[dict[str, Any]]], *, texts: bool = False
) -> list[Path]:
    """Write promtool tests with the rules that they need, and return the files in order.

    Args:
        folder: The folder of the files.
        rules: A file of rules.
        groups: promtool tests by alert, without its prefix. Only that alert is evaluated, with its
            recording rules, to save time.
        texts: Whether alerts have their annotations, which need queries at each evaluation.
    """
    document = yaml.load(rules, Loader=_loader())  # noqa: S506 - one of the safe ones
    every = [rule for each in document["groups"] for rule in each["rules"]]
    files = []
    for alert, tests in groups.items():
        of_alert = [rule for rule in every if rule.get("alert") == f"LoadFleet{alert}"]
        conditions = " ".join(rule["expr"] for rule in of_alert)
        recorded = [rule for rule in every if _needed(rule, conditions)]
        for rule in () if texts else of_alert:
            rule.pop("annotations", None)
        some = {"groups": [{"name": alert, "rules": [*recorded, *of_alert]}]}
        _write(folder / f"{alert}.rules.yml", some)
        for interval, same in itertools.groupby(tests, itemgetter("interval")):
            files.append(folder / f"{alert}.{interval}.yml")
            test = {
                "rule_files": [f"{alert}.rules.yml"],
                "evaluation_interval": interval,
                "tests": list(same),
            }
            _write(files[-1], test)
    return files


def failures(
    folder: Path, rules: str, groups: Mapping[str, Iterable[dict[str, Any]]], *, texts: bool = False
) -> dict[str, str]:
    """Return promtool's failures by alert, empty for an alert without any.

    The arguments are those of `written_to`.
    """
    files = written_to(folder, rules, groups, texts=texts)
    result = run("promtool", "test", "rules", *files)
    assert f"{files[-1]}" in result.stdout, result.stderr
    # promtool prints the failures in the files' order, apart from their names.
    told = dict.fromkeys(groups, "")
    wrong = iter(result.stderr.split("  FAILED:\n")[1:])
    for part in result.stdout.split("Unit Testing:  ")[1:]:
        name, *rest = part.splitlines()
        if "  SUCCESS" not in rest:
            told[Path(name).name.split(".")[0]] += _differences(next(wrong))
    return told


def _needed(rule: dict[str, Any], conditions: str) -> bool:
    """Return whether conditions read what is recorded, or read what is made of it."""
    labels = "".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
    selector = f"{rule.get('record')}{{{labels}}}" if labels else rule.get("record", "")
    read_by_others = selector.startswith(("source_task:", "job:"))
    return "record" in rule and (selector in conditions or read_by_others)


def _differences(text: str) -> str:
    """Return the sets of series in promtool's output that differ."""
    lines = []
    for line in text.splitlines():
        what, _, samples = line.strip().partition(": ")
        if what == "exp":
            expected = _SAMPLES.findall(samples)
        elif what == "got":
            got = _SAMPLES.findall(samples)
            lines += [f"    expected: {each}" for each in expected if each not in got]
            lines += [f"    found: {each}" for each in got if each not in expected]
        elif line.strip():
            lines.append(line)
    return "\n".join(lines)


def _write(path: Path, document: Any) -> None:
    path.write_text(yaml.dump(document, Dumper=_dumper(), sort_keys=False, width=10**6))


@cache
def _loader() -> Any:
    # The loader in C is many times as fast, if it is there.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _dumper() -> Any:
    return getattr(yaml, "CSafeDumper", yaml.SafeDumper)

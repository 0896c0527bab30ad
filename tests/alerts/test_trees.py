"""The exporter's reading of conditions against Prometheus', over random conditions and samples."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import math
import random
import subprocess
import time
import urllib.parse
from typing import TYPE_CHECKING, get_args

from exporter.alerts import expression as e
from exporter.alerts.samples import Labels, identity
from exporter.alerts.values import evaluated
from tests.support.alerts import view_of
from tests.support.prometheus import Prometheus, prometheus
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from exporter.alerts.samples import Sample
    from tests.support.alerts import Samples


#: The number of trees compared in a play, unless the time is over before.
TREES = 2000
SECONDS = 20.0

#: The number of sets of samples, which are an hour apart.
WORLDS = 10
BEGIN = 1_700_000_000

METRICS = ("a", "b", "c", "d")

#: Every label has a few values, so that series find partners, and some of them are awkward.
LABELS = {
    "job": ("", "x", "y"),
    "id": ("", "1", "2", 'say "3"'),
    "phase": ("", "back\\slash", "zwei\nZeilen", "x|y.*", "ü {{ }} %"),
}

#: Values that are exact in binary, so that sums do not depend on the order.
VALUES = (0.0, -0.0, 1.0, 1.0, -1.0, 2.5, -7.25, 5.0, 2e12, math.inf, -math.inf, math.nan)

NUMBERS = (0.0, 0.0, 1.0, -1.0, 0.5, 5.0, 1e12, 1_700_000_000.0)

#: The way conditions are written for Prometheus, and the shortest way.
WRITINGS = (e.Writing(lookback=60.0, without=("pod",)), e.PLAIN)


class Failed:
    """The stand-in for the result of a condition that is refused."""


REFUSED = Failed()

Vector = dict[Labels, float]


def world(dice: random.Random) -> Samples:
    """Make up samples; an empty label is there or not, which is the same."""
    view: dict[str, list[Sample]] = {}
    combinations = dice.sample(list(itertools.product(*LABELS.values())), 9)
    for metric in METRICS[: dice.randrange(2, len(METRICS) + 1)]:
        for values in dice.sample(combinations, dice.randrange(1, len(combinations))):
            labels = {
                name: text
                for name, text in zip(LABELS, values, strict=True)
                if text or dice.random() < 0.5
            }
            view.setdefault(metric, []).append((labels, dice.choice(VALUES)))
        # In the order of Prometheus' database: of 0 and -0, the first counts as the greatest.
        view[metric].sort(key=lambda sample: identity(sample[0]))
    return view


class Trees:
    """Makes random conditions of all nodes but `Over`, which only Prometheus can judge."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def tree(  # noqa: PLR0911 - a case per node
        self, depth: int, *, strict: bool = True
    ) -> e.Expression:
        """Return a condition.

        Args:
            depth: The greatest depth.
            strict: Whether the exporter always evaluates the condition. It skips conditions that
                decide nothing, so that only Prometheus would refuse one in there.
        """
        if depth == 0 or self._dice.random() < 0.1:
            return self._leaf()
        one = self.tree(depth - 1, strict=strict)
        kind = self._dice.randrange(10 if strict else 9)
        match kind:
            case 0:
                return self._dice.choice((e.Age(of=one), e.Remaining(of=one), e.Abs(of=one)))
            case 1:
                return self._dice.choice((one.times, one.plus))(self._dice.choice(NUMBERS))
            case 2 | 3:
                by = self._dice.choice(get_args(e.Aggregation))
                # Without labels, it would only merge processes, and there is one.
                return one.merged(by, *self._names(least=1))
            case 4:
                return one.compared(self._comparison(), self._dice.choice(NUMBERS))
            case 5:
                return one.compared(self._comparison(), self.tree(depth - 1, strict=strict))
            case 6:
                return one.divided_by(self.tree(depth - 1, strict=strict))
            case 7:
                return one.either(self.tree(depth - 1, strict=strict))
            case 8:
                operation = self._dice.choice(get_args(e.Operation))
                return one.where(operation, self.tree(depth - 1, strict=False), *self._names())
            case _:
                return one.plus_one_of(self.tree(depth - 1, strict=False), *self._names())

    def _leaf(self) -> e.Expression:
        kind = self._dice.random()
        if kind < 0.05:
            return e.Always()
        selected = e.Select(
            metric=self._dice.choice(METRICS),
            matches=tuple(self._match() for _ in range(self._dice.choice((0, 0, 0, 1, 2)))),
            share=self._dice.choice((1.0, 0.5)),
        )
        # Prometheus' `absent` takes labels from matchers, so only selections without any.
        if kind < 0.15 and not selected.matches:
            return e.Absent(of=selected)
        return selected

    def _match(self) -> e.Match:
        label = self._dice.choice(list(LABELS))
        negated = self._dice.random() < 0.4
        if self._dice.random() < 0.2:
            return e.Match(label=label, pattern=".*[xy3].*", negated=negated)
        texts = tuple(self._dice.sample(LABELS[label], self._dice.randrange(1, 3)))
        return e.Match(label=label, values=texts, negated=negated)

    def _names(self, *, least: int = 0) -> list[str]:
        return self._dice.sample(list(LABELS), self._dice.randrange(least, len(LABELS)))

    def _comparison(self) -> e.Comparison:
        return self._dice.choice(get_args(e.Comparison))


def fill(folder: Path, worlds: list[Samples]) -> None:
    """Make a database of the samples, each world an hour after the one before."""
    lines = []
    for metric in METRICS:
        lines.append(f"# TYPE {metric} gauge")
        lines += [
            f"{metric}{block(labels)} {go(value)} {BEGIN + number * 3600}"
            for number, view in enumerate(worlds)
            for labels, value in view.get(metric, ())
        ]
    (folder / "samples.txt").write_text("\n".join([*lines, "# EOF\n"]))
    subprocess.run(
        [require("promtool"), "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "tsdb"],
        cwd=folder,
        capture_output=True,
        check=True,
    )


def block(labels: object) -> str:
    assert isinstance(labels, dict)
    inner = ",".join(
        f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in labels.items()
    )
    return f"{{{inner}}}"


def go(value: float) -> str:
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(str(value), repr(value))


class Client:
    """Asks Prometheus over one connection."""

    def __init__(self, server: Prometheus) -> None:
        address = urllib.parse.urlsplit(server.url)
        assert address.hostname is not None
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)

    def query(self, promql: str, now: float) -> Vector | Failed:
        body = urllib.parse.urlencode({"query": promql, "time": now})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", "/api/v1/query", body, headers)
        reply = json.loads(self._connection.getresponse().read())
        if reply["status"] == "error":
            assert "execution" == reply["errorType"], (reply, promql)
            return REFUSED
        assert "vector" == reply["data"]["resultType"], reply
        found: Vector = {}
        for series in reply["data"]["result"]:
            series["metric"].pop("__name__", None)
            found[identity(series["metric"])] = float(series["value"][1])
        return found

    def close(self) -> None:
        self._connection.close()


def ours(tree: e.Expression, view: Samples, now: float) -> Vector | Failed:
    try:
        return evaluated(tree, view_of(view), now)
    except ValueError:
        return REFUSED


def same(one: Vector | Failed, other: Vector | Failed) -> bool:
    """Compare values as numbers, but NaN is NaN and 0 is not -0."""
    if isinstance(one, Failed) or isinstance(other, Failed):
        return one is other
    return one.keys() == other.keys() and all(
        go(value) == go(other[labels]) or (value and math.isclose(value, other[labels]))
        for labels, value in one.items()
    )


def compared(server: Prometheus, worlds: list[Samples], seed: int, plays: int) -> Iterator[str]:
    """Yield the differences, and count what was compared."""
    dice = random.Random(seed)  # noqa: S311 - not for secrets
    trees = Trees(dice)
    client = Client(server)
    outcomes = {"refused": 0, "empty": 0, "series": 0}
    end = time.monotonic() + SECONDS * plays
    for number in range(TREES * plays):
        if time.monotonic() > end:
            break
        place = dice.randrange(WORLDS)
        now = BEGIN + place * 3600 + dice.choice((0, 7))
        tree, writing = trees.tree(dice.randrange(5)), dice.choice(WRITINGS)
        promql = tree.promql(writing)
        told, said = client.query(promql, now), ours(tree, worlds[place], now)
        if not same(told, said):
            yield f"seed {seed}, tree {number}, world {place}: {promql}\n  {told}\n  {said}"
        kind = "refused" if isinstance(said, Failed) else "series" if said else "empty"
        outcomes[kind] += 1
    client.close()
    if min(outcomes["refused"], outcomes["series"]) < 20:
        yield f"seed {seed}: too little was compared: {outcomes}"


async def test_random_conditions_come_to_what_prometheus_says(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Prometheus and the exporter must agree on random conditions, and refuse the same ones."""
    seed, plays = request.config.getoption("--seed"), request.config.getoption("--plays")
    worlds = [world(random.Random(f"{seed} {place}")) for place in range(WORLDS)]  # noqa: S311
    fill(tmp_path, worlds)
    keep = "--storage.tsdb.retention.time=100y"

    async with prometheus(tmp_path, {}, keep) as server:
        found = await asyncio.to_thread(lambda: list(compared(server, worlds, seed, plays)))

    assert [] == found, "\n".join([f"{len(found)} differences", *found[:10]])

"""Texts read twice: by Prometheus as templates, and by the exporter itself."""

from __future__ import annotations

import json
import random
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from exporter.alerts.expression import Writing
from exporter.alerts.samples import Partners
from exporter.alerts.texts import Detail, Text
from tests.support.alerts import view_of
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from exporter.alerts.samples import Sample
    from tests.support.alerts import Samples


WRITING = Writing(lookback=180.0)

#: Characters with a meaning in Prometheus' templates, PromQL, printf, YAML or Python.
AWKWARD = (
    'say "hello"',
    "back\\slash\\n",
    "100% of %s %q %!d(MISSING)",
    "{{ $labels.agent }} {{ end }}",
    "{} {agent} {{",
    "zwei\nZeilen\tTab\r",
    "Zürich 東京 🚀 e\u0301",
    "it's `quoted` <b>&amp;</b>",
    " around ",
    "#: - [a]|x~y?*+.$^(",
    "a/b?c=d&e=f;g,h",
    "\u00a0\u200b\u2028\x7f\x01",
)

ON = ("source", "agent_id")

#: A text with every kind of detail.
TEXT = Text(
    "Agent {agent} (id {agent_id:urlquery}) of {source} {nothing}: {value:humanizePercentage}.",
    (
        Detail(text=" Host: {}.", metric="info", on=ON, label="host"),
        Detail(text=" Reason: {}.", metric="failure", on=ON, label="reason"),
        Detail(text=" Note: {}.", metric="info", on=ON, label="note"),
        Detail(
            text=" Since {}.", metric="changed", on=ON, form="humanizeTimestamp", function="floor"
        ),
        Detail(
            text=" It is {} off.", metric="delta", on=ON, form="humanizeDuration", function="abs"
        ),
        Detail(
            text=" They are: {}.",
            metric="up",
            on=("source",),
            only=("==", 0.0),
            label="agent",
            listed=True,
        ),
    ),
)


def random_text(dice: random.Random) -> str:
    """Return some characters of everything that is awkward."""
    return "".join(dice.choices("".join(AWKWARD), k=dice.randrange(1, 12)))


def series_of(source: str, agents: Mapping[str, str], dice: random.Random) -> Samples:
    """Return some agents' series; each kind is missing for some of them."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {
        name: [] for name in ("up", "info", "failure", "changed", "delta")
    }
    for place, (agent_id, name) in enumerate(agents.items()):
        same = {"source": source, "agent_id": agent_id}
        found["up"].append(({**same, "agent": name}, 0.0))
        info = {**same, "host": random_text(dice), "note": AWKWARD[place % len(AWKWARD)]}
        others = {
            "info": (info, 1.0),
            "failure": ({**same, "reason": random_text(dice)}, 1.0),
            "changed": (same, dice.choice([0.0, 1_700_000_000.75, 1.0])),
            "delta": (same, dice.choice([-0.25, -3725.5, 90061.0, 1e-7])),
        }
        for metric, sample in others.items():
            if dice.random() < 0.8:
                found[metric].append(sample)
    found["up"].append(({"source": source, "agent_id": "well", "agent": "well"}, 1.0))
    return found


def document(content: object) -> str:
    """Write JSON that is YAML, too, which has fewer characters and no surrogates."""
    text = json.dumps(content, ensure_ascii=False)
    return re.sub("[\x7f-\xa0\u2028]", lambda found: f"\\u{ord(found[0]):04x}", text)


def block(labels: Mapping[str, str]) -> str:
    inner = ", ".join(
        f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in labels.items()
    )
    return f"{{{inner}}}"


def promtool(folder: Path, view: Samples, *, late: str = "") -> str:
    """Return what Prometheus has against the texts of all agents that are down."""
    rule = {
        "alert": "Down",
        "expr": "up == 0",
        "annotations": {"text": TEXT.prometheus(WRITING)},
    }
    (folder / "rules.yml").write_text(document({"groups": [{"name": "g", "rules": [rule]}]}))
    partners = Partners(view_of(view))
    expected: list[dict[str, Any]] = [
        {
            "exp_labels": labels,
            "exp_annotations": {"text": TEXT.render(labels, value, partners) + late},
        }
        for labels, value in view["up"]
        if value == 0
    ]
    inputs = [
        {"series": f"{metric}{block(labels)}", "values": f"{value!r}x3"}
        for metric, samples in view.items()
        for labels, value in samples
    ]
    test = {
        "interval": "1m",
        "input_series": inputs,
        "alert_rule_test": [{"eval_time": "2m", "alertname": "Down", "exp_alerts": expected}],
    }
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "tests.yml").write_text(document(tests))
    done = subprocess.run(
        [require("promtool"), "test", "rules", "tests.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[:4000] or "it failed"


def test_prometheus_fills_texts_in_the_same(tmp_path: Path) -> None:
    """Prometheus and the exporter must write the same alert texts, also for awkward names."""
    dice = random.Random(1)  # noqa: S311 - not for secrets
    view: dict[str, list[Sample]] = {}
    for source in AWKWARD:
        names = [*AWKWARD, *(random_text(dice) for _ in range(5))]
        agents = {f"{place} {name}": name for place, name in enumerate(names)}
        for metric, samples in series_of(source, agents, dice).items():
            view.setdefault(metric, []).extend(samples)

    assert "" == promtool(tmp_path, view)


@pytest.mark.parametrize(("count", "end"), [(1, "a0."), (10, "a9."), (11, "a9 and 1 more.")])
def test_a_list_has_ten_names(tmp_path: Path, count: int, end: str) -> None:
    """A page is short; the first ten in alphabetical order, and how many more there are."""
    names = [*(f"a{place}" for place in range(10)), "b"][:count]
    dice = random.Random(count)  # noqa: S311 - not for secrets
    view = series_of("prod", dict(zip(names, names, strict=True)), dice)

    assert TEXT.render(*view["up"][0], Partners(view_of(view))).endswith(end)
    assert "" == promtool(tmp_path, view)


def test_details_that_are_missing_leave_nothing_behind(tmp_path: Path) -> None:
    """A page has no empty `Host: .`."""
    view: Samples = {"up": [({"source": "prod", "agent_id": "1", "agent": "a"}, 0.0)]}

    text = TEXT.render(*view["up"][0], Partners(view_of(view)))

    assert "Agent a (id 1) of prod : 0%. They are: a." == text
    assert "" == promtool(tmp_path, view)


def test_prometheus_disagrees_with_another_text(tmp_path: Path) -> None:
    """The comparison itself must notice a difference, or it proves nothing."""
    view: Samples = {"up": [({"source": "prod", "agent_id": "1", "agent": "a"}, 0.0)]}

    assert "FAILED" in promtool(tmp_path, view, late=" ")

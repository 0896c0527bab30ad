"""The table of what is wrong: each problem with its reason in a few words, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.overview.format import signed, words
from exporter.overview.problems import WRONG, Problem, same_alert
from exporter.overview.rows import ClusterRow, MemberRow, TargetRow


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.overview.rows import AlertView


# What the names of alerts end with that are about the state a target is in.
_STATES = ("Unreachable", "Unusable", "WithoutAgents", "Unhealthy")


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A problem that people should do something about.

    Attributes:
        reason: Why it is so, in a few words.
        phase: Of the built-in alert, `pending` or `firing`; empty where nobody evaluates it.
    """

    problem: Problem
    reason: str
    phase: str = ""


def troubles(
    problems: Iterable[Problem],
    rows: Iterable[TargetRow],
    alerts: Sequence[AlertView] | None = None,
) -> list[Trouble]:
    """Return what needs attention in the order of the problems; what is only of interest does not.

    Args:
        problems: All that hold.
        rows: All targets, for their reasons.
        alerts: What the built-in evaluation has found.
    """
    known: dict[tuple[str, str, str], TargetRow] = {row.target: row for row in rows if row.problems}
    phases = {same_alert(alert.labels): alert.state for alert in alerts or ()}
    found = []
    for problem in problems:
        if problem.severity not in WRONG:
            continue
        target = _about(problem, known.get(problem.target))
        found.append(
            Trouble(
                problem=problem,
                reason=_reason(problem, target),
                phase=phases.get(same_alert(problem.labels), ""),
            )
        )
    return found


def _about(problem: Problem, row: TargetRow | None) -> TargetRow | MemberRow | None:
    member_id = problem.labels.get("member_id")
    if member_id is None or not isinstance(row, ClusterRow):
        return row
    return next((member for member in row.members if member.id == member_id), None)


def _reason(problem: Problem, target: TargetRow | MemberRow | None) -> str:
    title = problem.title
    if target is not None:
        if title.endswith("ClockSkew") and target.clock_delta_seconds is not None:
            return f"clock {signed(target.clock_delta_seconds)}"
        if title.endswith("Outdated"):
            oldest = target.minimum_version if isinstance(target, TargetRow) else None
            parts = (target.version or "", f"needs {oldest}" if oldest else "")
            return f"outdated: {', '.join(filter(None, parts))}".removesuffix(": ")
        if title.endswith(_STATES) and target.reason is not None:
            return words(target.reason)
    return _first_sentence(problem)


def _first_sentence(problem: Problem) -> str:
    """Return what the alert says first, without what stands in the other columns."""
    said = problem.description
    for told in (
        f" (id {problem.id})",
        f" of source {problem.source} ({problem.provider})",
        f" of source {problem.source}",
    ):
        said = said.replace(told, "")
    return said.partition(". ")[0].removesuffix(".")

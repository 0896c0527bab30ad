"""The table of problems that need attention, each with a short reason and its beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.overview.format import signed, words
from exporter.overview.problems import WRONG, Problem, same_alert
from exporter.overview.rows import ClusterRow, MemberRow, TargetRow


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.overview.rows import AlertView


# The endings of alerts' names about the state of a target.
_STATES = ("Unreachable", "Unusable", "WithoutAgents", "Unhealthy")


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A problem that needs attention.

    Attributes:
        reason: The reason in a few words.
        phase: The phase of the built-in alert, `pending` or `firing`; empty if there is none.
    """

    problem: Problem
    reason: str
    phase: str = ""


def troubles(
    problems: Iterable[Problem],
    rows: Iterable[TargetRow],
    alerts: Sequence[AlertView] | None = None,
) -> list[Trouble]:
    """Return the problems that need attention in their order, without those of severity `info`.

    Args:
        problems: All problems.
        rows: All targets, for their reasons.
        alerts: The alerts of the built-in evaluation.
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
    """Return the description's first sentence, without the content of other columns."""
    text = problem.description
    for shown in (
        f" (id {problem.id})",
        f" of source {problem.source} ({problem.provider})",
        f" of source {problem.source}",
    ):
        text = text.replace(shown, "")
    return text.partition(". ")[0].removesuffix(".")

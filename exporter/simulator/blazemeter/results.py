"""BlazeMeter's replies about the verdict and the numbers of one run, without envelope."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from exporter.simulator.blazemeter.account import USER_ID
from exporter.simulator.blazemeter.replies import Json, run_name


if TYPE_CHECKING:
    from exporter.simulator.blazemeter.account import Account
    from exporter.simulator.blazemeter.runs import Run


def ci_status(account: Account, run: Run) -> Json:
    """Return a run's verdict in the form for build servers."""
    moment = account.timeline.moment()
    verdict = run.verdict(moment)
    ended = run.ended(moment)
    failure = {
        "code": 61_000,
        "message": "Threshold violated",
        "details": "ALL: responseTime.percentile.90 gt 500 failed with: 812",
    }
    errors: list[Json] = []
    if verdict in ("error", "abort", "noData"):
        text = "Session ended without load report data"
        errors = [{"code": 70_404, "message": text, "details": None}]
    elif ended is not None and run.test.exit_code:
        errors = [{"code": 61_700, "message": "JMeter runtime errors", "details": None}]
    failed = verdict == "fail"
    return {
        "masterId": run.master_id,
        "userId": USER_ID,
        "name": run_name(account, run),
        "created": int(account.timeline.unix(run.started)),
        "ended": None if ended is None else int(account.timeline.unix(ended)),
        "progress": run.least_phase(moment).code,
        "status": "failure" if failed else "error" if errors else "success",
        "failures": [failure] if failed else [],
        "errors": errors,
    }


def summary(account: Account, run: Run) -> Json:
    """Return the numbers of a run so far: one row for all labels together, or none without data."""
    moment = account.timeline.moment()
    began, ended = run.data_from, run.ended(moment)
    seconds = min(moment - began, run.test.hold_seconds)
    if not run.has_data or seconds <= 0:
        return {"summary": [], "maxUsers": None, "functional": None}
    row = {
        "id": "ALL",
        "lb": "ALL",
        "first": int(account.timeline.unix(began)),
        "last": int(account.timeline.unix(began + seconds)),
        **_numbers(run, seconds),
        "duration": 0 if ended is None else round(seconds),
        "durationIsNotConfigured": False,
        "interval": 1,
    }
    if not run.test.kpis:
        row = {key: value if isinstance(value, str) else None for key, value in row.items()}
    return {"summary": [row], "maxUsers": row["maxUsers"], "functional": None}


def _numbers(run: Run, seconds: float) -> Json:
    chance = random.Random(run.master_id)  # noqa: S311 - not secret
    users = run.test.users
    hits = round(users * 0.3 * seconds)
    median = chance.uniform(80, 120)
    return {
        "hits": hits,
        "failed": hits // 25 if run.result == "fail" else 0,
        "avg": median * 1.3,
        "min": 12,
        "max": round(median * 40),
        "median": round(median),
        "std": median * 0.9,
        "tp90": round(median * 2.5),
        "tp95": round(median * 3.4),
        "tp99": round(median * 7.3),
        "hits_avg": hits / seconds,
        "concurrency": users,
        "maxUsers": users,
        "bytes": hits * 1238,
        "size_avg": 1237.7,
        "size_std": 210.4,
        "latency_avg": median,
        "latency_std": median * 0.6,
        "histogram": {"mean": round(median)},
    }

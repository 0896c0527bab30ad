"""The same of preflights, suites, runs, sources, and of the exporter itself."""

from __future__ import annotations

from tests.rules.case import EPOCH, LATE, Case


_PAGE = "target?source=prod&kind="

_RUN, _SUITE = "run_id run", "suite_id suite"
_OF_SUITES, _OF_RUNS, _OF_SOURCES = ("suites", "suite"), ("runs", "run"), ("", "")

RUNS = (
    Case(
        "SuiteFailed", "warning", _SUITE, *_OF_SUITES,
        {"suite_last_run_passed": "0", "suite_running": "0"},
        {"suite_last_run_passed": "1", "suite_running": "0"},
        "Suite nightly (id 12) of source prod did not pass in its newest run with a verdict. Its"
        f" newest finished run: incomplete. That run ended at {EPOCH}.",
        f"{_PAGE}suite&id=12",
        details={
            "suite_last_run_outcome outcome=failed": "0",
            "suite_last_run_outcome outcome=incomplete": "1",
            "suite_last_run_end_timestamp_seconds": "0",
        },
        hold=0,
        keep=0,
    ),
    Case(
        "SuiteUnhealthy", "warning", _SUITE, *_OF_SUITES,
        {"suite_healthy": "0", "suite_running": "0"}, {"suite_healthy": "1", "suite_running": "0"},
        "Suite nightly (id 12) of source prod is not runnable: the vendor reports a fault in its"
        " configuration or in a resource that it needs.",
        f"{_PAGE}suite&id=12",
    ),
    Case(
        "SuiteOverdue", "warning", _SUITE, *_OF_SUITES,
        {"suite_last_run_start_timestamp_seconds": "-86401", "suite_running": "0"},
        {"suite_last_run_start_timestamp_seconds": "6000", "suite_running": "0"},
        "Suite nightly (id 12) of source prod has not run for too long, and no run is in flight."
        " Its newest run started at 1969-12-30 23:59:59 +0000 UTC.",
        f"{_PAGE}suite&id=12",
        silent={
            "running": {"suite_running": "1"},
            "not yet": {"suite_last_run_start_timestamp_seconds": f"{LATE - 86_400}"},
        },
    ),
    Case(
        "SuiteSlower", "warning", _SUITE, *_OF_SUITES,
        {
            "suite_last_run_duration_seconds": "1261",
            "suite_last_run_outcome outcome=passed": "1",
            "suite_baseline_duration_seconds": "720",
            "suite_running": "0",
        },
        {
            "suite_last_run_duration_seconds": "1080",
            "suite_last_run_outcome outcome=passed": "1",
            "suite_baseline_duration_seconds": "720",
            "suite_running": "0",
        },
        "Suite nightly (id 12) of source prod passed, but took much longer than usual. It took 21m"
        f" 1s. Usually it takes 12m 0s. That run ended at {EPOCH}.",
        f"{_PAGE}suite&id=12",
        silent={
            "failed": {
                "suite_last_run_outcome outcome=passed": "0",
                "suite_last_run_outcome outcome=failed": "1",
            },
            "short": {
                "suite_last_run_duration_seconds": "50",
                "suite_baseline_duration_seconds": "20",
            },
        },
        also={
            "short, but not that short": {
                "suite_last_run_duration_seconds": "51",
                "suite_baseline_duration_seconds": "20",
            },
        },
        details={"suite_last_run_end_timestamp_seconds": "0"},
        hold=0,
        keep=0,
        suffices=True,
    ),
    Case(
        "SuiteTooLong", "warning", _SUITE, *_OF_SUITES,
        {
            "suite_current_run_start_timestamp_seconds": "-1441",
            "suite_baseline_duration_seconds": "720",
            "suite_running": "1",
        },
        {
            "suite_current_run_start_timestamp_seconds": "6000",
            "suite_baseline_duration_seconds": "720",
            "suite_running": "1",
        },
        "A run of suite nightly (id 12) of source prod is in flight for much longer than usual."
        " Usually it takes 12m 0s. That run started at 1969-12-31 23:35:59 +0000 UTC.",
        f"{_PAGE}suite&id=12",
        silent={
            "over": {"suite_running": "0"},
            "short": {
                "suite_current_run_start_timestamp_seconds": "2300",
                "suite_baseline_duration_seconds": "20",
            },
            "not begun": {
                "run_info suite_id=12": "1",
                "run_phase phase=booting": "1",
            },
        },
        also={
            "begun": {
                "run_info suite_id=12": "1",
                "run_phase phase=booting": "0",
                "run_phase phase=running": "1",
            },
        },
        hold=0,
    ),
    Case(
        "RunFailed", "warning", _RUN, *_OF_RUNS,
        {"run_passed": "0", "run_info": "1"}, {"run_passed": "1", "run_info": "1"},
        "Run nightly #81 (id 81) of source prod did not pass. Outcome: no_data. It was started at"
        f" {EPOCH}.",
        f"{_PAGE}run&id=81",
        silent={"told by its suite": {"suite_last_run_passed": "0"}},
        also={"of another suite": {"suite_last_run_passed suite_id=13": "0"}},
        details={"run_outcome outcome=no_data": "1", "run_start_timestamp_seconds": "0"},
        hold=0,
        keep=0,
    ),
    Case(
        "RunEngineErrors", "warning", _RUN, *_OF_RUNS,
        {"run_engine_errors": "1", "run_info": "1"}, {"run_engine_errors": "0", "run_info": "1"},
        "Run nightly #81 (id 81) of source prod has not failed, but one of its engines was lost or"
        " ended in an error. The run may have had less load than planned, so its response times"
        f" look too good. It was started at {EPOCH}.",
        f"{_PAGE}run&id=81",
        silent={"failed": {"run_passed": "0"}, "aborted": {"run_outcome outcome=aborted": "1"}},
        also={"passed": {"run_passed": "1", "run_outcome outcome=aborted": "0"}},
        details={"run_start_timestamp_seconds": "0"},
        suffices=True,
    ),
    Case(
        "RunInternalError", "warning", _RUN, *_OF_RUNS,
        {"run_internal_error": "1", "run_info": "1"}, {"run_internal_error": "0", "run_info": "1"},
        "The newest log line of run nightly #81 (id 81) of source prod reports an internal error,"
        f" whatever the run's state. It was started at {EPOCH}.",
        f"{_PAGE}run&id=81",
        silent={"failed": {"run_passed": "0"}},
        details={"run_start_timestamp_seconds": "0"},
        suffices=True,
    ),
    Case(
        "RunStuck", "warning", _RUN, *_OF_RUNS,
        {
            "run_start_timestamp_seconds": "-1801",
            "run_phase phase=booting": "1",
            "run_info": "1",
        },
        {
            "run_start_timestamp_seconds": "-1801",
            "run_phase phase=booting": "0",
            "run_phase phase=running": "1",
            "run_info": "1",
        },
        "Run nightly #81 (id 81) of source prod generates no load: it is still being prepared, or"
        " no engine executes it. It was started at 1969-12-31 23:29:59 +0000 UTC.",
        f"{_PAGE}run&id=81",
        silent={
            "to start later": {"run_delayed_start": "1"},
            "not yet": {"run_start_timestamp_seconds": f"{LATE - 1_800}"},
            "told by its error": {
                "run_start_timestamp_seconds": "6000",
                "run_phase phase=stuck": "1",
                "run_internal_error": "1",
            },
        },
        also={
            "idle": {
                "run_start_timestamp_seconds": "6000",
                "run_phase phase=booting": "0",
                "run_phase phase=stuck": "1",
            },
        },
        suffices=True,
    ),
)  # fmt: skip

_WINDOW = {
    "preflight_window_start_timestamp_seconds": "0",
    "preflight_window_end_timestamp_seconds": "6000",
}

PREFLIGHTS = (
    Case(
        "NotFit", "critical", "preflight", *_OF_SOURCES,
        _WINDOW | {"preflight_due": "1", "preflight_ready": "0"},
        _WINDOW | {"preflight_due": "1", "preflight_ready": "1"},
        "Preflight prod does not pass: a check fails, or it is not known whether all pass. The test"
        " begins at 1970-01-01 01:40:00 +0000 UTC. Checks that fail: agents, clock.",
        "#preflights",
        silent={"not due": {"preflight_due": "0"}},
        details={
            "preflight_check_passed check=clock": "0",
            "preflight_check_passed check=agents": "0",
            "preflight_check_passed check=users": "1",
        },
        hold=2,
        suffices=True,
    ),
)  # fmt: skip

SOURCES = (
    Case(
        "CredentialsRefused", "critical", "", *_OF_SOURCES,
        {"source_auth_failed": "1", "source_up": "0", "source_task_up task=suites": "0"},
        {"source_auth_failed": "0", "source_up": "1", "source_task_up task=suites": "1"},
        "realload refuses the credentials of source prod. The exporter holds its calls back so"
        " that its address is not blocked. Nothing of this source is watched. Reason: timeout."
        " The newest poll without a failure ended at 1970-01-01 00:00:01 +0000 UTC.",
        "?source=prod",
        details={
            "source_task_failure task=suites": "1",
            "exporter_poll_last_success_timestamp_seconds task=suites": "1.9",
        },
    ),
    Case(
        "SourceDown", "critical", "", *_OF_SOURCES,
        {"source_up": "0", "source_task_up task=suites": "0"},
        {"source_up": "1", "source_task_up task=suites": "1"},
        "No poll of source prod (realload) returns readings. Nothing new is known about its agents,"
        " suites and runs.",
        "?source=prod",
        silent={"refused": {"source_auth_failed": "1"}},
        # A poll that never succeeded.
        details={"exporter_poll_last_success_timestamp_seconds task=runs": "0"},
    ),
    *(
        Case(
            "TaskFailing", severity, f"task={task}", *_OF_SOURCES,
            {f"source_task_up task={task}": "0"}, {f"source_task_up task={task}": "1"},
            f"The polls of task {task} of source prod (realload) return no readings, or only a part"
            " of the list. Changes go unnoticed now; firing alerts keep firing."
            " Reason: timeout. The newest poll without a failure ended at"
            " 1970-01-01 00:00:02 +0000 UTC.",
            "?source=prod",
            silent={
                "source down": {"source_up": "0"},
                "refused": {"source_auth_failed": "1"},
                "told by NothingKnown": {
                    f"exporter_targets_expected task={task} kind=x": "1",
                    "source_targets kind=x": "0",
                },
            },
            also={
                "known": {
                    f"exporter_targets_expected task={task} kind=x": "1",
                    "source_targets kind=x": "2",
                },
                "other task's": {
                    "exporter_targets_expected task=other kind=x": "1",
                    "source_targets kind=x": "0",
                },
            },
            details={
                f"source_task_failure task={task}": "1",
                f"exporter_poll_last_success_timestamp_seconds task={task}": "2",
            },
        )
        for severity, task in (("critical", "agents"), ("warning", "runs"))
    ),
    Case(
        "NothingKnown", "critical", "kind=agent", *_OF_SOURCES,
        {"source_targets kind=agent": "0"}, {"source_targets kind=agent": "1"},
        "Source prod (realload) has no target of kind agent: the vendor lists none, or `include`"
        " and `exclude` leave none. No target of that kind is watched; firing alerts keep firing.",
        "?source=prod",
        silent={"without locations": {"source_targets kind=location": "0"}},
        also={"with locations": {"source_targets kind=location": "2"}},
    ),
    Case(
        "NothingKnown", "critical", "kind=recorder", *_OF_SOURCES,
        {
            "source_targets kind=recorder": "0",
            "exporter_targets_expected task=recorders kind=recorder": "1",
        },
        {
            "source_targets kind=recorder": "1",
            "exporter_targets_expected task=recorders kind=recorder": "1",
        },
        "Source prod (realload) has no target of kind recorder: the vendor lists none, or `include`"
        " and `exclude` leave none. No target of that kind is watched; firing alerts keep firing.",
        "?source=prod",
        silent={
            "never had any": {"exporter_targets_expected task=recorders kind=recorder": "0"},
        },
    ),
    Case(
        "VendorSlow", "warning", "", *_OF_SOURCES,
        {"exporter_vendor_slow": "1"}, {"exporter_vendor_slow": "0"},
        "Many calls to source prod (realload) time out or nearly do, so the exporter blames the"
        " vendor and not the targets. Targets whose calls time out keep their last reading until it"
        " expires.",
        "?source=prod",
        suffices=True,
    ),
    Case(
        "VendorCertificateExpiring", "warning", "", *_OF_SOURCES,
        {"exporter_vendor_certificate_not_after_timestamp_seconds": "0"},
        {"exporter_vendor_certificate_not_after_timestamp_seconds": "9e9"},
        "The certificate that the API of source prod (realload) presents expires soon. After that"
        f" the exporter refuses to call it, and so do other clients. It ends at {EPOCH}.",
        "?source=prod",
        silent={
            "later": {
                "exporter_vendor_certificate_not_after_timestamp_seconds":
                f"{LATE + 1_209_600}",
            },
        },
    ),
)  # fmt: skip

EXPORTER = (
    *(
        Case(
            alert, "warning", label, None, "",
            {f"exporter_{metric}": bad}, {f"exporter_{metric}": well},
            text, "",
        )
        for alert, metric, label, bad, well, text in (
            (
                "ReloadFailed", "config_last_reload_successful", "", "0", "1",
                ("Exporter prod refused the newest configuration and keeps the one before. A"
                " restart would fail."),
            ),
            (
                "WebConfigRefused", "web_config_last_reload_successful", "", "0", "1",
                ("Exporter prod refused the newest web configuration (users, TLS) and keeps the one"
                " before. A restart would fail, or admit users that the one before refuses."),
            ),
            (
                "StateDown", "state_up", "backend", "0", "1",
                ("Exporter prod keeps its state in memory, as the store (redis) cannot be used. A"
                " restart loses the state, and each process counts refused calls by itself."),
            ),
            (
                "NotificationsFailing", "notifications_failing", "receiver", "1", "0",
                (
                    "Exporter prod cannot deliver alerts to am-1:9093 and keeps trying. Until it"
                    " succeeds, this receiver notifies nobody of them."
                ),
            ),
            (
                "WebCertificateExpiring", "web_certificate_not_after_timestamp_seconds", "",
                "86700", f"{LATE + 1_209_600}",
                ("The certificate that exporter prod presents expires in 1d 0h 0m 0s. After that"
                " Prometheus refuses to scrape it."),
            ),
        )
    ),
    Case(
        "PollsStale", "warning", "provider source task=agents", None, "",
        {
            "exporter_poll_last_success_timestamp_seconds task=agents": "1",
            "exporter_poll_interval_seconds task=agents": "60",
        },
        {
            "exporter_poll_last_success_timestamp_seconds task=agents": f"{LATE - 300}",
            "exporter_poll_interval_seconds task=agents": "60",
        },
        "Task agents of source prod (realload) has had no poll without a failure for 10m 29s."
        " Its readings may be missing or out of date.",
        "",
        silent={
            "told by TaskFailing": {"source_task_up task=agents": "0"},
            "told by SourceUnreachable": {
                "source_up": "0",
                "source_up instance=b": "1",
                "source_task_up task=agents": "0",
                "source_task_up task=agents instance=b": "1",
            },
            "new": {
                "exporter_poll_last_success_timestamp_seconds task=agents": "0",
                "exporter_config_last_reload_success_timestamp_seconds": f"{LATE - 300}",
            },
        },
        also={
            "never": {
                "exporter_poll_last_success_timestamp_seconds task=agents": "0",
                "exporter_config_last_reload_success_timestamp_seconds": "1",
            },
            "other task fails": {"source_task_up task=suites": "0"},
            # Another exporter reads the task, so no other alert fires for it.
            "fails here alone": {
                "source_task_up task=agents": "0",
                "source_task_up task=agents instance=b": "1",
            },
        },
        # The poll is too old after five minutes and a second.
        hold=10.5,
    ),
    Case(
        "SourceUnreachable", "warning", "provider source", None, "",
        {"source_up": "0", "source_up instance=b": "1"},
        {"source_up": "1", "source_up instance=b": "1"},
        "Exporter prod cannot reach source prod (realload); another exporter can.",
        "",
        silent={"nobody reaches it": {"source_up instance=b": "0"}},
    ),
)  # fmt: skip

OTHERS = (*PREFLIGHTS, *RUNS, *SOURCES, *EXPORTER)

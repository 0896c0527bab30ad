"""The reply with the detail of one run, reduced to the needed fields like those of `replies`.

The full reply has hundreds of fields even for a few jobs. Free text, a person's name, and the jobs'
arguments and signatures are among them and are not declared here.
"""

from __future__ import annotations

from exporter.sources.realload.replies import Envelope, Id, Part, RunResult, SuiteInfo, TemplateInfo


class LogEntry(Part, frozen=True, kw_only=True):
    """One entry of the executor's log, without its text."""

    log_level: float | None = None


class ExecutorLog(Part, frozen=True, kw_only=True):
    """The log of the run."""

    log_entries_array: tuple[LogEntry, ...] | None = None


class GroupResult(Part, frozen=True, kw_only=True):
    """The result of a group of jobs."""

    num_testjob_templates_execution_passed: float | None = None
    num_testjob_templates_execution_failed: float | None = None


class JobResult(Part, frozen=True, kw_only=True):
    """The result of one job; it has no verdict. Times are in milliseconds.

    Attributes:
        testjob_template_element_id: Identifies the job; two jobs may have the same template.
    """

    test_execution_suite_id: Id | None = None
    test_run_id: Id | None = None
    testjob_template_element_id: Id | None = None
    testjob_template: TemplateInfo | None = None
    execution_start_timestamp: float | None = None
    execution_end_timestamp: float | None = None
    job_start_timestamp: float | None = None
    job_end_timestamp: float | None = None
    total_samples_passed: float | None = None
    total_samples_failed: float | None = None


class DetailedRun(RunResult, frozen=True, kw_only=True):
    """A run with its groups, jobs and log."""

    test_execution_suite: SuiteInfo | None = None
    testjob_templates_array: tuple[TemplateInfo, ...] | None = None
    executor_log: ExecutorLog | None = None
    test_run_execution_group_result_array: tuple[GroupResult, ...] | None = None
    test_run_testjob_result_array: tuple[JobResult, ...] | None = None


class RunDetail(Part, frozen=True, kw_only=True):
    """The detail of a run."""

    test_run_result: DetailedRun | None = None


class RunDetailReply(Envelope, frozen=True, kw_only=True):
    """The reply of getTestExecutionSuiteTestRunResultDetail."""

    test_run_result_detail: RunDetail | None = None

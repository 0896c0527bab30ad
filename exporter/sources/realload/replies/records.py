"""What the portal keeps besides machines: account, certificates, jobs, templates, suites."""

from __future__ import annotations

from exporter.sources.realload.replies.envelope import ABSENT, Envelope, Flag, Hidden, Part, Whole


# -- Versions and account (sections 3.1, 3.3 to 3.5) ----------------------------------------------


class AccountInfo(Envelope, frozen=True, kw_only=True):
    """The reply of getUserAccountInfo: personal data, so nothing but the envelope."""


class PricePlan(Envelope, frozen=True, kw_only=True):
    """The reply of getPricePlanInfo, whose shape is not documented."""


class MinAgentVersion(Envelope, frozen=True, kw_only=True):
    """The reply of getMinRequiredMeasuringAgentVersion."""

    min_required_measuring_agent_version: str | None = None


class MinControllerVersion(Envelope, frozen=True, kw_only=True):
    """The reply of getMinRequiredClusterControllerVersion."""

    min_required_cluster_controller_version: str | None = None


class MinRecorderVersion(Envelope, frozen=True, kw_only=True):
    """The reply of getMinRequiredProxyRecorderVersion."""

    min_required_proxy_recorder_version: str | None = None


# -- Certificates (section 3.5) -------------------------------------------------------------------


class CertificateItem(Part, frozen=True, kw_only=True):
    """A client certificate: the container with the private key, and the password to it."""

    certificate_id: Whole | None = None
    cert_description: str | None = None
    cert_active: Flag = None
    apply_for_host: str | None = None
    cert_file_data_b64: Hidden = ABSENT
    cert_password: Hidden = ABSENT


class CertificateList(Envelope, frozen=True, kw_only=True):
    """The reply of getProxyRecordersClientCertificates."""

    client_certificates_array: tuple[CertificateItem, ...] | None = None


# -- Jobs and templates (section 3.6) -------------------------------------------------------------


class JobProperties(Part, frozen=True, kw_only=True):
    """Properties of a job, of which all values are strings."""

    testjob_state: str | None = None


class Job(Part, frozen=True, kw_only=True):
    """A job an agent keeps."""

    testjob_properties: JobProperties | None = None


class JobInfo(Part, frozen=True, kw_only=True):
    """The jobs of an agent."""

    all_testjobs_array: tuple[Job, ...] | None = None


class JobList(Envelope, frozen=True, kw_only=True):
    """The reply of getMeasuringAgentTestjobs."""

    agent_response: JobInfo | None = None


class TemplateInfo(Part, frozen=True, kw_only=True):
    """A job template."""

    template_id: Whole | None = None
    template_name: str | None = None


class TemplateItem(Part, frozen=True, kw_only=True):
    """A job template with its verdict."""

    testjob_template: TemplateInfo | None = None
    test_is_healthy: bool | None = None


class TemplateList(Envelope, frozen=True, kw_only=True):
    """The reply of getTestjobTemplates."""

    testjob_templates_array: tuple[TemplateItem, ...] | None = None


# -- Suites (section 3.7) -------------------------------------------------------------------------


class SuiteInfo(Part, frozen=True, kw_only=True):
    """A test execution suite."""

    test_execution_suite_id: Whole | None = None
    test_execution_suite_name: str | None = None
    total_number_of_testjobs: float | None = None
    is_test_execution_suite_healthy: bool | None = None


class RunResult(Part, frozen=True, kw_only=True):
    """The summary of a run; times in milliseconds."""

    test_run_id: Whole | None = None
    execution_state: float | None = None
    test_run_start_timestamp: float | None = None
    test_run_last_updated_timestamp: float | None = None
    num_testjob_templates_to_execute: float | None = None
    num_testjob_templates_execution_passed: float | None = None
    num_testjob_templates_execution_failed: float | None = None
    total_sessions_passed: float | None = None
    total_sessions_failed: float | None = None
    total_sessions_passed_time_sum: float | None = None
    total_samples_passed: float | None = None
    total_samples_failed: float | None = None
    max_concurrent_users: float | None = None
    max_pending_samples: float | None = None


class SuiteItem(Part, frozen=True, kw_only=True):
    """A suite with the runs the vendor keeps."""

    test_execution_suite: SuiteInfo | None = None
    test_run_results_array: tuple[RunResult, ...] | None = None


class SuiteList(Envelope, frozen=True, kw_only=True):
    """The reply of getTestExecutionSuites."""

    test_execution_suites_array: tuple[SuiteItem, ...] | None = None


class RunningSuites(Envelope, frozen=True, kw_only=True):
    """The reply of getCurrentlyRunningTestExecutionSuiteIds."""

    test_execution_suite_id_array: tuple[Whole, ...] | None = None

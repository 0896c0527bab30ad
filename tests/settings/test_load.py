"""The whole way from files, environment and flags to settings, message for message."""

from __future__ import annotations

import io
import json
from datetime import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.alerts.settings import AlertmanagerSettings
from exporter.alerts.thresholds import RUNBOOK_URL
from exporter.config.secret import UNRESOLVED
from exporter.config.yaml_file import parse
from exporter.errors import ConfigurationError
from exporter.logging import configure
from exporter.settings.load import Loaded, Settings, from_data, load, redacted
from exporter.sources.blazemeter.settings import BlazeMeterSettings
from exporter.sources.calls import http_options
from exporter.sources.eggplant.settings import EggplantSettings
from exporter.sources.realload.settings import RealLoadSettings
from exporter.sources.registry import PROVIDERS
from exporter.sources.settings import SourceSettings


CONFIGS = Path(__file__).parents[1] / "configs"

DURATION = "write one such as 90s, 5m or 1h30m"
OWN_LABEL = "is a label that the exporter or Prometheus sets; rename it"
LABEL_NAME = "is not a label name; use letters, digits and _, and do not begin with a digit"
ADDRESS = "is not an address; write host:port, [IPv6 address]:port or :port"
WEB_URL = "is not an http or https URL; write it as https://host/path"
NO_SOURCES = (
    "sources: none is given; list one in the configuration file, or set LOADFLEET_REALLOAD_URL"
    " and LOADFLEET_REALLOAD_AUTH_TOKEN, or try `loadfleet-exporter demo`"
)

UNREADABLE = "a date, number or tag that cannot be read; put text in quotes"
UNUSABLE = "holds a NUL or half of a character; write the character"

#: Each file with its messages; `{0}` is the folder, `{1}` the file.
INVALID = {
    "alias": [
        (
            "{1}: line 2, column 17: an alias has no anchor, or an anchor has two;"
            " put text that begins with * in quotes"
        )
    ],
    "bomb": ["{1}: has more than 100000 values, aliases expanded; shorten it"],
    "control": [
        "{1}: line 1: holds a character that YAML does not allow; remove control characters"
    ],
    "cross-field": [
        "defaults.auth_retry: must be at least 60s; the vendor may block callers that retry sooner",
        f"defaults.labels.job: {OWN_LABEL}",
        "sharding.shard: must be less than total_shards, 2; shards count from 0",
        (
            "defaults.timeout: 1m is not shorter than the interval of agents, controllers,"
            " clusters, recorders, suites; lower the timeout or poll less often"
        ),
        "sources[1].client_key_file: has no certificate; give client_cert_file too",
        (
            "sources[1].timeout: 20s is not shorter than the interval of agents;"
            " lower the timeout or poll less often"
        ),
        (
            "sources[1].stale_after: 59s is shorter than the interval 1m,"
            " so that series would come and go; raise it"
        ),
        "sources[1].name: is already the name of sources[0]; give each its own",
    ],
    "date": [f"{{1}}: line 1, column 7: {UNREADABLE}"],
    "doubled-keys": [
        "{1}: line 7, column 20: the key level is given for the second time; remove one",
        "{1}: line 8, column 1: the key retries is given for the second time; remove one",
    ],
    "durations": [
        "defaults.interval: has no unit; write a duration such as 90s, 5m or 1h30m",
        f"defaults.timeout: is not a duration; {DURATION}",
        "defaults.read_timeout: must be longer than 0",
        f"defaults.auth_retry: is not a duration; {DURATION}",
        f"sources[0].stale_after: is not a duration; {DURATION}",
        f"sources[0].tasks.agents: is not a duration; {DURATION}",
        "sources[0].tasks.suites: must be longer than 0; write off to switch it off",
        "sources[0].tasks.jobs: must be a duration such as 60s, or off",
        "sources[0].tasks.clusters: is longer than 100 years; write a shorter duration",
    ],
    "encoding": ["{1}: byte 10 is not UTF-8; save the file as UTF-8"],
    "endless-alias": [
        "{1}: line 1, column 10: an alias refers to a value that contains it; remove it"
    ],
    "labels": [
        f"sources[0].labels.agent: {OWN_LABEL}",
        f"sources[0].labels.provider: {OWN_LABEL}",
        f"sources[0].labels.le: {OWN_LABEL}",
        f"sources[0].labels.__hidden: {OWN_LABEL}",
        f"sources[0].labels.9x: {LABEL_NAME}",
        f"sources[0].labels.in-side: {LABEL_NAME}",
        (
            "sources[0].labels.empty: is empty, which Prometheus treats as absent;"
            " give a value or remove the label"
        ),
    ],
    "no-sources": [NO_SOURCES],
    "preflights": [
        "preflights[0]: must be a mapping of keys to values",
        "preflights[1].name: is missing; give the preflight a name",
        (
            "preflights[2]: checks nothing; give one of agents, clusters, suites, clock,"
            " users, idle, max_age"
        ),
        (
            "preflights[3]: checks nothing; give one of agents, clusters, suites, clock,"
            " users, idle, max_age"
        ),
        "preflights[3].name: another preflight has this name; give each its own",
        (
            "preflights[4].agents.include: is not a regular expression; escape literal"
            " characters with \\"
        ),
        "preflights[4].agents.min_up: must be at least 0",
        "preflights[4].agents.max_down: must be a whole number",
        "preflights[4].agents.max_dwn: unknown key; did you mean max_down?",
        "preflights[4].suites.slower_than_usual: must be at least 1",
        "preflights[4].suites.min_up: unknown key; remove it",
        "preflights[4].clock: has no unit; write a duration such as 90s, 5m or 1h30m",
        "preflights[4].users: must be at least 1",
        "preflights[4].idle: must be true or false",
        "preflights[4].max_age: must be longer than 0",
        "preflights[4].usres: unknown key; did you mean users?",
        "preflights[4].agents.source: no source has this name; did you mean prod?",
        (
            "preflights[4].clusters.source[0]: prod lists no clusters; name another source,"
            " or enable the task that lists them"
        ),
        (
            "preflights[4].clusters.source[1]: lab lists no clusters; name another source,"
            " or enable the task that lists them"
        ),
        'preflights[5].window.before: must be a time of day in quotes, such as "02:00"',
        "preflights[5].window.time_zone: is no time zone; did you mean Europe/Zurich?",
        "preflights[5].window.days: names no day; leave it out for every day",
        "preflights[5].window.for: is longer than a day; windows of two days must not overlap",
        'preflights[6].window.before: must be a time of day in quotes, such as "02:00"',
        (
            "preflights[6].window.days[0]: must be 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'"
            " or 'sun'; did you mean mon?"
        ),
        "preflights[7].window.for: must be longer than 0",
        'preflights[7].window.before: is missing; write the start of the test, such as "02:00"',
    ],
    "secrets": [
        "sources[0].auth_token_file: is given as well as auth_token; remove one of the two",
        "sources[1].auth_token: is missing; give it, or auth_token_file",
        (
            "sources[2].auth_token_file: cannot use the secret file {0}/secrets/nowhere:"
            " No such file or directory; correct the path or its rights"
        ),
        (
            "sources[3].auth_token_file: cannot use the secret file {0}/secrets/empty:"
            " it is empty; write the secret into it"
        ),
        (
            "sources[4].auth_token_file: cannot use the secret file {0}/secrets:"
            " it is a directory and not a regular file; name a file"
        ),
        "sources[5].auth_token: is empty; give it, or auth_token_file",
    ],
    "sources": [
        "sources[0].provider: unknown provider; did you mean realload?",
        "sources[1].provider: is missing; write one of {2}",
        "sources[2]: must be a mapping with a provider and its keys",
        "sources[3].name: must be printable text without spaces at its ends",
        "sources[4].provider: unknown provider; write one of {2}",
    ],
    "sources-mapping": ["sources: must be a list; begin each source with a dash"],
    "tab": ["{1}: line 2, column 1: is not valid YAML; the line contains a tab, use spaces"],
    "tag": [
        (
            "{1}: line 2, column 17: a tag, or a key that is no text;"
            " put text that begins with ! in quotes"
        )
    ],
    "tls": [
        "sources[0].ca_file: must hold certificates in PEM format",
        (
            "sources[1].ca_file: cannot read {0}/secrets/nowhere (No such file or directory);"
            " correct the path or its rights"
        ),
        (
            "sources[2].client_cert_file: must contain a certificate in PEM format that"
            " matches its unencrypted key"
        ),
        (
            "sources[3].client_cert_file: cannot read {0}/secrets/nowhere"
            " (No such file or directory); correct the path or its rights"
        ),
    ],
    "top": ["{1}: must be a mapping of keys to values at its top"],
    "top-key": ["{1}: a key at its top is not text; put it in quotes"],
    "two-documents": ["{1}: line 2, column 1: a second document begins; keep one"],
    "types": [
        "log: must be a mapping of keys to values",
        "sources[0].concurrency: must be a whole number",
        "sources[0].retries: must be a whole number",
        "sources[0].max_reply_bytes: is not a size; write bytes, or a unit as in 16MiB",
        "sources[0].labels.rack: must be text; put it in quotes",
        "sources[0].ca_file: must be a path; put it in quotes",
        "sources[0].insecure_skip_verify: must be true or false",
        "sources[0].name: must be text; put it in quotes",
        "sources[0].url: must be text; put it in quotes",
        "sources[0].tasks: must be a mapping of keys to values",
        "sources[0].include.agents: must be a regular expression; put it in quotes",
        (
            "sources[0].include.suites: is not a regular expression;"
            " escape literal characters with \\"
        ),
        "sources[0].auth_token: must be text; put it in quotes",
    ],
    "unknown-keys": [
        "sorces: unknown key; did you mean sources?",
        "web.xyz: unknown key; remove it",
        "alerting.thresholds.clock_skw: unknown key; did you mean clock_skew?",
        "sources[0].tsks: unknown key; did you mean tasks?",
        "sources[0].enabled: unknown key; remove it",
        "sources[0].tasks.agnts: unknown task; did you mean agents?",
        "sources[0].include.agent: unknown kind; did you mean agents?",
    ],
    "urls": [
        f"web.listen_address[0]: {ADDRESS}",
        f"web.listen_address[1]: {ADDRESS}",
        "web.route_prefix: is not a path; write one such as /fleet, of plain characters",
        f"alerting.alertmanagers[0]: {WEB_URL}",
        f"sources[0].url: {WEB_URL}",
        "sources[1].url: holds a user or password; give credentials in their own keys",
        "sources[2].url: holds a query or fragment; end it before the ? or #",
        f"sources[3].url: {WEB_URL}",
        "sources[4].url: is not a URL; write it as https://host/path",
        "sources[5].url: is missing; give the URL of the vendor's API",
        "sources[6].proxy_url: is not an http or https URL; write it as http://host:port",
    ],
    "yaml": [
        (
            "{1}: line 4, column 1: is not valid YAML;"
            " check the indentation, colons and quotes here and above"
        )
    ],
}

SOURCE = {
    "provider": "realload",
    "name": "prod",
    "url": "https://portal.example/RemoteUserAPI",
    "auth_token": "CANARY-token",
}

VARIABLES = {
    "LOADFLEET_REALLOAD_URL": "https://portal.example/RemoteUserAPI",
    "LOADFLEET_REALLOAD_AUTH_TOKEN": "CANARY-token",
}


def problems(data: dict[str, Any], **layers: Any) -> list[str]:
    """Return what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        from_data(data, **layers)
    return list(caught.value.problems)


def load_file(name: str) -> Loaded:
    """Load one of the files beside this test."""
    return load(CONFIGS / name, environ={})


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_file_gets_all_its_messages(name: str) -> None:
    """An invalid file must have all its messages, word for word and without any value."""
    file = CONFIGS / f"invalid-{name}.yml"
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ={})

    expected = [text.format(CONFIGS, file, ", ".join(PROVIDERS)) for text in INVALID[name]]
    assert expected == list(caught.value.problems)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("alerting", "web", "expected"),
    [
        ({}, {}, RUNBOOK_URL),
        ({}, {"external_url": "https://x/fleet"}, "https://x/fleet/runbooks/"),
        ({}, {"external_url": "https://x/"}, "https://x/runbooks/"),
        ({"runbook_url": "https://wiki"}, {"external_url": "https://x"}, "https://wiki"),
        ({"runbook_url": RUNBOOK_URL}, {"external_url": "https://x"}, RUNBOOK_URL),
    ],
    ids=["nowhere", "with a path", "without one", "elsewhere", "at the project"],
)
def test_runbooks_are_our_own_where_we_are_reached(
    alerting: dict[str, str], web: dict[str, str], expected: str
) -> None:
    """Alerts link to what the exporter serves, unless others are named, be it by the default."""
    settings = from_data({"sources": [SOURCE], "alerting": alerting, "web": web})

    assert expected == settings.alerting.runbook_url
    assert expected == redacted(settings)["alerting"]["runbook_url"]


def test_every_invalid_file_has_its_messages() -> None:
    """No file beside this test goes untested."""
    assert {f"invalid-{name}.yml" for name in INVALID} == {
        path.name for path in CONFIGS.glob("invalid-*.yml")
    }


class TestFile:
    def test_a_full_file_is_read_in_every_part(self) -> None:
        """A file with all settings must be read whole, and sources inherit the defaults."""
        settings = load_file("full.yml").settings

        prod, test = settings.sources
        assert (12.0, 10.0) == (prod.timeout, test.timeout)
        assert (3, 4) == (prod.concurrency, test.concurrency)
        assert {"region": "ch", "site": "bern"} == prod.labels
        assert {"region": "us"} == test.labels
        assert 4 << 20 == test.max_reply_bytes
        assert ("127.0.0.1:9", "[::1]:9") == settings.web.listen_address
        assert "/fleet" == settings.web.route_prefix
        assert (10.0, None, 1_209_600.0) == (
            settings.alerting.thresholds.clock_skew,
            settings.alerting.thresholds.run_stuck,
            settings.alerting.thresholds.certificate_expiry,
        )
        assert ("warn", "json") == (settings.log.level, settings.log.format)
        assert (0, 1) == (settings.sharding.shard, settings.sharding.total_shards)
        nightly, smoke = settings.preflights
        assert nightly.agents is not None
        assert (("prod",), 10, 1) == (
            nightly.agents.source,
            nightly.agents.needed,
            nightly.agents.tolerated,
        )
        assert (1.0, 5000, True, 180.0) == (
            nightly.clock,
            nightly.users,
            nightly.idle,
            nightly.max_age,
        )
        assert nightly.suites is not None
        assert 1.5 == nightly.suites.slower_than_usual
        assert nightly.window is not None
        assert (time(2), 7200.0, "Europe/Zurich", 5) == (
            nightly.window.before,
            nightly.window.seconds,
            nightly.window.time_zone,
            len(nightly.window.days),
        )
        assert (smoke.window, smoke.clock) == (None, None)

    def test_relative_paths_count_from_the_files_folder(self) -> None:
        """A configuration can be moved with its secrets, whatever the current folder is."""
        source = load_file("full.yml").settings.sources[0]

        assert CONFIGS / "secrets" / "token" == source.model_dump()["auth_token_file"]
        assert ["token-from-a-file"] == [
            secret.reveal() for secret in source.secrets() if secret.path
        ]

    def test_aliases_and_merged_keys_are_allowed(self) -> None:
        """YAML's own ways to write a thing once work."""
        settings = load_file("aliases.yml").settings

        assert [("prod", 300.0), ("test", 300.0)] == [
            (source.name, source.intervals()["jobs"]) for source in settings.sources
        ]

    def test_keys_that_yaml_reads_as_truth_values_are_words(self) -> None:
        """`off` is a key here, and quotes around it are not to be asked for."""
        written = b"alerting: {alerts: {AgentFlapping: {off: yes}}}"

        given = parse(written, name="loadfleet.yml")

        assert {"alerting": {"alerts": {"AgentFlapping": {"off": True}}}} == given

    def test_a_key_without_a_value_counts_as_not_given(self) -> None:
        """A section of which everything is commented out is no mistake."""
        text = b"web:\nsources:\n- {provider: realload, url: 'http://a', auth_token: b, tasks: }"

        settings = load(None, content=text, environ={}).settings

        assert ("0.0.0.0:10871",) == settings.web.listen_address

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("nowhere.yml", "No such file or directory"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_named(self, name: str, why: str) -> None:
        """The message says which file and why."""
        with pytest.raises(ConfigurationError) as caught:
            load_file(name)

        text = f"{CONFIGS / name}: cannot be read ({why}); correct the path or its rights"
        assert (text,) == caught.value.problems

    def test_a_huge_file_is_refused(self, tmp_path: Path) -> None:
        """A wrong path must not fill the memory."""
        path = tmp_path / "huge.yml"
        path.write_bytes(b"#" * ((1 << 20) + 1))

        with pytest.raises(ConfigurationError, match="larger than 1MiB"):
            load(path, environ={})

    def test_deep_nesting_is_refused(self) -> None:
        """No file brings the parser's stack down."""
        with pytest.raises(ConfigurationError, match="nested too deeply"):
            load(None, content=b"a: " + b"[" * 100_000, environ={})

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            ("1" * 5_000, UNREADABLE),
            ("2001-99-99", UNREADABLE),
            ("!!float ''", UNREADABLE),
            ("!!int some", UNREADABLE),
            ("!!timestamp soon", UNREADABLE),
            (r'"\0"', UNUSABLE),
            (r'"\ud800"', UNUSABLE),
        ],
    )
    @pytest.mark.parametrize("key", ["key: ", "? "])
    def test_a_value_that_is_none_is_named_by_its_line(
        self, key: str, value: str, why: str
    ) -> None:
        """A value that no setting can have must be reported with its line."""
        with pytest.raises(ConfigurationError) as caught:
            parse(f"first: 1\n{key}{value}\n".encode(), name="file")

        assert (f"file: line 2, column {len(key) + 1}: {why}",) == caught.value.problems

    @pytest.mark.parametrize(
        ("setting", "why"),
        [
            ("defaults: {concurrency: 1000000000000000}", "has more than 15 digits"),
            ("defaults: {concurrency: 0x" + "f" * 5_000 + "}", "has more than 15 digits"),
            ("defaults: {concurrency: 1e999}", "must be a whole number"),
            ("defaults: {concurrency: .nan}", "must be a whole number"),
            ("defaults: {timeout: 99999999999999d}", "is longer than 100 years"),
            ("defaults: {timeout: 1e400s}", "is not a duration"),
            ("defaults: {timeout: .inf}", "is not a duration"),
            ("history: {max_bytes: 999999999999GiB}", "is larger than any disk"),
            ("web: {listen_address: ':99999999999999999999'}", "is not an address"),
        ],
    )
    def test_absurd_numbers_are_mistakes(self, setting: str, why: str) -> None:
        """Absurd numbers must be refused at the start."""
        with pytest.raises(ConfigurationError) as caught:
            load(None, content=setting.encode(), environ=VARIABLES)

        (problem,) = caught.value.problems
        assert problem.partition(": ")[2].startswith(why)

    def test_references_to_variables_are_resolved(self) -> None:
        """References to variables must be resolved in every value, whatever its type."""
        data = {
            "sources": [SOURCE | {"auth_token": "${REALLOAD_TOKEN}", "concurrency": "${PLACES}"}],
            "web": {"enable_lifecycle": "${lifecycle}"},
            "defaults": {"labels": {"site": "${LOADFLEET_SITE}"}},
        }
        environ = {
            "REALLOAD_TOKEN": "invented${PLACES}",
            "PLACES": "2",
            "lifecycle": "true",
            "LOADFLEET_SITE": "basel",
        }

        settings = from_data(data, environ=environ)

        (source,) = settings.sources
        assert ["invented${PLACES}"] == [secret.reveal() for secret in source.secrets()]
        assert (2, {"site": "basel"}) == (source.concurrency, source.labels)
        assert settings.web.enable_lifecycle

    @pytest.mark.parametrize("environ", [{}, {"REALLOAD_TOKEN": ""}])
    def test_a_reference_to_nothing_is_a_mistake(self, environ: dict[str, str]) -> None:
        """Sent literally it would be refused, and refusals can lock an address out."""
        data = {
            "sources": [SOURCE | {"auth_token": "${REALLOAD_TOKEN}", "url": "${PORTAL}"}],
            "web": {"max_requests": "${MANY}"},
        }

        assert [
            "sources[0].url: PORTAL is not set in the environment; set it",
            "sources[0].auth_token: REALLOAD_TOKEN is not set in the environment; set it",
            "web.max_requests: MANY is not set in the environment; set it",
        ] == problems(data, environ=environ)

    def test_other_dollars_are_text(self) -> None:
        """A password may hold them, and a file of another program's placeholders too."""
        texts = ("a${REALLOAD_TOKEN}", "$REALLOAD_TOKEN", "${REALLOAD-TOKEN}", "${}", "$$")
        environ = {"REALLOAD_TOKEN": "invented"}

        found = [
            from_data({"sources": [SOURCE | {"labels": {"some": text}}]}, environ=environ)
            for text in texts
        ]

        assert list(texts) == [settings.sources[0].labels["some"] for settings in found]

    def test_a_placeholder_from_elsewhere_is_no_secret(self, tmp_path: Path) -> None:
        """Sent literally it would be refused, and refusals can lock an address out."""
        path = tmp_path / "token"
        path.write_text("${TOKEN}\n")
        by_file = {key: value for key, value in SOURCE.items() if key != "auth_token"}

        assert [
            [f"sources[0].auth_token_file: {UNRESOLVED}"],
            [f"LOADFLEET_REALLOAD_AUTH_TOKEN: {UNRESOLVED}"],
        ] == [
            problems({"sources": [by_file | {"auth_token_file": str(path)}]}),
            problems({}, environ=VARIABLES | {"LOADFLEET_REALLOAD_AUTH_TOKEN": "${TOKEN}"}),
        ]


class TestPrecedence:
    def test_flags_go_over_environment_over_file_over_defaults(self) -> None:
        """Flags must take precedence over environment, file and defaults, key by key."""
        data = {
            "sources": [SOURCE],
            "log": {"level": "warn", "format": "json"},
            "web": {"max_requests": 1, "enable_lifecycle": True},
        }
        environ = {"LOADFLEET_LOG__LEVEL": "error", "LOADFLEET_WEB__MAX_REQUESTS": "2"}

        settings = from_data(data, environ=environ, overrides={"web": {"max_requests": 3}})

        assert ("error", "json") == (settings.log.level, settings.log.format)
        assert (3, True, "") == (
            settings.web.max_requests,
            settings.web.enable_lifecycle,
            settings.web.route_prefix,
        )

    def test_mistakes_are_named_where_they_were_made(self) -> None:
        """A variable is called by its name, a flag's value by its place."""
        environ = {"LOADFLEET_LOG__LEVEL": "CANARY", "LOADFLEET_WEB__MAX_REQUESTS": "2"}

        found = problems(
            {"sources": [SOURCE]}, environ=environ, overrides={"web": {"max_requests": 0}}
        )

        assert [
            "web.max_requests: must be at least 1",
            "LOADFLEET_LOG__LEVEL: must be 'debug', 'info', 'warn' or 'error'",
        ] == found

    @pytest.mark.parametrize("word", ["wran", "WARN", "warning"])
    def test_a_mistyped_choice_gets_the_nearest(self, word: str) -> None:
        """A mistyped choice must be answered with the nearest one, upper or lower case."""
        assert [
            "log.level: must be 'debug', 'info', 'warn' or 'error'; did you mean warn?"
        ] == problems({"sources": [SOURCE], "log": {"level": word}})

    @pytest.mark.parametrize(
        ("overrides", "named"),
        [
            ({"sharding": {"shard": "x"}}, "--shard or LOADFLEET_SHARD: must be a whole number"),
            (
                {"web": {"listen_address": ["x"]}},
                f"--web.listen-address or LOADFLEET_WEB_LISTEN_ADDRESS: {ADDRESS}",
            ),
        ],
    )
    def test_a_flag_is_named_with_its_twin(self, overrides: dict[str, Any], named: str) -> None:
        """A mistake in a flag must name the flag and its variable."""
        environ = {"LOADFLEET_WEB__LISTEN_ADDRESS": ":1", "LOADFLEET_SHARDING__SHARD": "0"}

        assert [named] == problems({"sources": [SOURCE]}, environ=environ, overrides=overrides)

    def test_the_process_environment_is_not_looked_at(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only the environment that is handed over counts."""
        # There is no parameter: the variable must have no effect.
        monkeypatch.setenv("LOG", '{"level": "error"}')
        monkeypatch.setenv("LOADFLEET_LOG__LEVEL", "error")

        assert "info" == from_data({"sources": [SOURCE]}).log.level

    @pytest.mark.parametrize(
        ("own", "inherited"),
        [("proxy_url", "proxy_url_file"), ("proxy_url_file", "proxy_url")],
    )
    def test_a_secret_by_file_hides_an_inherited_value_and_the_reverse(
        self, tmp_path: Path, own: str, inherited: str
    ) -> None:
        """A source that says it in one way does not inherit the other."""
        path = tmp_path / "proxy"
        path.write_text("http://by-file:1")
        values = {"proxy_url": "http://by-value:1", "proxy_url_file": str(path)}

        settings = from_data(
            {
                "defaults": {inherited: values[inherited]},
                "sources": [SOURCE | {own: values[own]}],
            }
        )

        proxy = settings.sources[0].proxy
        assert proxy is not None
        assert ("http://by-file:1" if own.endswith("_file") else "http://by-value:1") == (
            proxy.reveal()
        )


class TestEnvironment:
    def test_one_source_can_come_wholly_from_the_environment(self) -> None:
        """`docker run -e` is enough; the name is the provider's unless given."""
        environ = VARIABLES | {
            "LOADFLEET_REALLOAD_TASKS__JOBS": "5m",
            "LOADFLEET_REALLOAD_TASKS__SUITES": "off",
            "LOADFLEET_REALLOAD_LABELS": '{"site": "bern"}',
            "LOADFLEET_REALLOAD_LABELS__RACK": "12",
            "LOADFLEET_REALLOAD_CONCURRENCY": "2",
            "LOADFLEET_REALLOAD_INSECURE_SKIP_VERIFY": "1",
            "LOADFLEET_DEFAULTS__TIMEOUT": "9s",
            "LOADFLEET_ALERTING__THRESHOLDS__CLOCK_SKEW": "7s",
        }

        settings = load(None, environ=environ).settings

        (source,) = settings.sources
        assert ("realload", "realload") == (source.provider, source.name)
        assert {"jobs": 300.0, "suites": None} == source.tasks
        assert {"site": "bern", "rack": "12"} == source.labels
        assert (2, True, 9.0) == (source.concurrency, source.insecure_skip_verify, source.timeout)
        assert 7.0 == settings.alerting.thresholds.clock_skew
        assert "CANARY-token" == next(source.secrets()).reveal()

    def test_it_stands_after_the_files_sources(self) -> None:
        """The environment adds a source, it replaces none."""
        environ = VARIABLES | {"LOADFLEET_REALLOAD_NAME": "test"}

        settings = from_data({"sources": [SOURCE]}, environ=environ)

        assert ["prod", "test"] == [source.name for source in settings.sources]

    def test_a_name_of_the_file_is_refused_for_it(self) -> None:
        """A source of the environment must not have the name of a source in the file."""
        environ = VARIABLES | {"LOADFLEET_REALLOAD_NAME": "prod"}

        assert [
            "LOADFLEET_REALLOAD_NAME: is already the name of sources[0]; give each its own"
        ] == problems({"sources": [SOURCE]}, environ=environ)

    def test_its_mistakes_are_named_by_their_variables(self) -> None:
        """A mistake must be named by its variable."""
        environ = {
            "LOADFLEET_REALLOAD_URL": "CANARY",
            "LOADFLEET_REALLOAD_TASKS__JOBS": "CANARY",
            "LOADFLEET_REALLOAD_EXCLUDE": "CANARY",
        }

        assert [
            (
                "LOADFLEET_REALLOAD_EXCLUDE: is not a JSON object;"
                " write one, or set a variable per key, joined by __"
            ),
            f"LOADFLEET_REALLOAD_URL: {WEB_URL}",
            f"LOADFLEET_REALLOAD_TASKS__JOBS: is not a duration; {DURATION}",
            (
                "LOADFLEET_REALLOAD_AUTH_TOKEN: is missing;"
                " give it, or LOADFLEET_REALLOAD_AUTH_TOKEN_FILE"
            ),
        ] == problems({}, environ=environ)

    def test_a_path_in_a_message_stays_as_it_is(self) -> None:
        """The path of a file must be quoted unchanged."""
        environ = {
            "LOADFLEET_REALLOAD_URL": "http://portal",
            "LOADFLEET_REALLOAD_AUTH_TOKEN_FILE": "/nowhere/auth_token_file",
        }

        (found,) = problems({}, environ=environ)

        assert "the secret file /nowhere/auth_token_file:" in found

    @pytest.mark.parametrize("text", [":1,[::1]:2", ":1, [::1]:2,", '[":1", "[::1]:2"]'])
    def test_lists_are_separated_by_commas_or_json(self, text: str) -> None:
        """Both ways of writing give the same."""
        environ = {"LOADFLEET_WEB__LISTEN_ADDRESS": text}

        settings = from_data({"sources": [SOURCE]}, environ=environ)

        assert (":1", "[::1]:2") == settings.web.listen_address

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("LOADFLEET_LGO__LEVEL", "unknown variable; did you mean LOADFLEET_LOG__LEVEL?"),
            (
                "LOADFLEET_REALLOAD_TOKEN",
                "unknown variable; did you mean LOADFLEET_REALLOAD_AUTH_TOKEN?",
            ),
            ("LOADFLEET_CONFIG_FIL", "unknown variable; did you mean LOADFLEET_CONFIG_FILE?"),
            ("LOADFLEET_QQQ", "unknown variable; remove it"),
            ("LOADFLEET_LOG", "unknown variable; remove it"),
            (
                "LOADFLEET_WEB__LISTEN_ADDRESS__0",
                "elements have no variables of their own; give a whole list, separated by commas",
            ),
            ("LOADFLEET_LOG__LEVEL__X", "unknown variable; did you mean LOADFLEET_LOG__LEVEL?"),
        ],
    )
    def test_an_unknown_variable_is_a_mistake(self, name: str, why: str) -> None:
        """A misspelt variable is not ignored."""
        found = problems(
            {"sources": [SOURCE]},
            environ={name: "CANARY"},
        )

        assert [f"{name}: {why}"] == found

    @pytest.mark.parametrize(
        "name",
        [
            "LOADFLEET_CONFIG_FILE",
            "LOADFLEET_SERVICE_HOST",
            "LOADFLEET_PORT",
            "LOADFLEET_EXPORTER_SERVICE_PORT_HTTP",
            "LOADFLEET_EXPORTER_PORT_10871_TCP_ADDR",
            "OTHER_REALLOAD_URL",
        ],
    )
    def test_variables_of_others_are_left_alone(self, name: str) -> None:
        """Variables of flags, and those that Kubernetes sets, must be ignored."""
        settings = from_data(
            {"sources": [SOURCE]},
            environ={name: "x", "LOADFLEET_LOG__LEVEL": ""},
        )

        assert "info" == settings.log.level


class TestEcho:
    def test_a_wrong_value_does_not_make_others_look_wrong(self) -> None:
        """A timeout is not compared with an interval that could not be read."""
        source = SOURCE | {"interval": "CANARY", "timeout": "2m"}

        assert [f"sources[0].interval: is not a duration; {DURATION}"] == problems(
            {"sources": [source]}
        )

    def test_a_wrong_default_is_reported_once(self) -> None:
        """Sources that inherit it do not repeat it."""
        data = {
            "defaults": {"timeout": "CANARY", "ca_file": "/nowhere/CANARY", "labels": {"job": "x"}},
            "sources": [SOURCE, SOURCE | {"name": "test"}],
        }

        places = [text.split(":")[0] for text in problems(data)]

        assert ["defaults.timeout", "defaults.labels.job", "defaults.ca_file"] == places

    def test_a_wrong_default_does_not_make_a_sources_own_value_look_wrong(self) -> None:
        """A source's timeout is not compared with what stands in for an unreadable default."""
        data = {
            "defaults": {"interval": "CANARY"},
            "sources": [SOURCE | {"timeout": "2m"}],
        }

        assert [f"defaults.interval: is not a duration; {DURATION}"] == problems(data)

    def test_a_default_that_does_not_fit_several_sources_is_one_mistake(self) -> None:
        """A mistake in the defaults must be reported once, however many sources inherit it."""
        data = {
            "defaults": {"timeout": "2m"},
            "sources": [SOURCE, SOURCE | {"name": "test"}],
        }

        assert ["defaults.timeout"] == [text.split(":")[0] for text in problems(data)]


class TestWeb:
    @pytest.mark.parametrize("name", ["nowhere.yml", "secrets"])
    def test_a_web_configuration_file_that_cannot_be_read_is_named_with_its_setting(
        self, name: str
    ) -> None:
        """A `config_file` that cannot be read must be reported with its setting and path."""
        data = {"sources": [SOURCE], "web": {"config_file": name}}

        (found,) = problems(data, folder=CONFIGS)

        why = f"cannot read the file {CONFIGS / name}; correct the path or its rights"
        assert f"web.config_file: {why}" == found

    def test_a_wrong_external_url_is_one_mistake(self) -> None:
        """A wrong `external_url` must be one mistake, not another one for its prefix."""
        data = {"sources": [SOURCE], "web": {"external_url": "foo"}}

        assert [f"web.external_url: {WEB_URL}"] == problems(data)


class TestLists:
    @pytest.mark.parametrize(
        ("section", "place"),
        [
            ({"web": {"listen_address": 10871}}, "web.listen_address"),
            ({"alerting": {"alertmanagers": "http://am"}}, "alerting.alertmanagers"),
        ],
    )
    def test_a_single_value_is_told_how_to_be_a_list(
        self, section: dict[str, Any], place: str
    ) -> None:
        """YAML's brackets are not what comes to mind first."""
        assert [f"{place}: must be a list; write it in brackets"] == problems(
            {"sources": [SOURCE]} | section
        )


class TestHash:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A file that names a secret file."""
        (tmp_path / "token").write_text("CANARY-1")
        source = {key: SOURCE[key] for key in ("provider", "url")} | {"auth_token_file": "token"}
        path = tmp_path / "loadfleet.yml"
        path.write_text(yaml.safe_dump({"sources": [source]}))
        return path

    def test_it_stays_while_nothing_changes(self, path: Path) -> None:
        """An unchanged configuration is not loaded again."""
        assert load(path, environ={}).hash == load(path, environ={}).hash

    def test_it_changes_with_the_file(self, path: Path) -> None:
        """Even a comment is a change."""
        before = load(path, environ={}).hash

        path.write_text(path.read_text() + "#\n")

        assert before != load(path, environ={}).hash

    def test_it_changes_with_a_secret(self, path: Path) -> None:
        """A rotated secret is a change of the configuration."""
        before = load(path, environ={}).hash

        (path.parent / "token").write_text("CANARY-2")

        assert before != load(path, environ={}).hash

    @pytest.mark.parametrize(
        ("model", "fields"),
        [
            (RealLoadSettings, {"auth_token_file": "a"}),
            (BlazeMeterSettings, {"api_key_file": "a"}),
            (BlazeMeterSettings, {"api_key_id": "x", "api_key_secret_file": "a"}),
            (EggplantSettings, {"auth": {"access_token_file": "a"}}),
            (EggplantSettings, {"auth": {"token_url": "/t", "client_secret_file": "a"}}),
            (EggplantSettings, {"auth": {"login_url": "/t", "password_file": "a"}}),
            (AlertmanagerSettings, {"bearer_token_file": "a"}),
            (AlertmanagerSettings, {"basic_auth": {"username": "x", "password_file": "a"}}),
        ],
    )
    def test_every_file_that_is_named_counts(
        self, model: type[SourceSettings | AlertmanagerSettings], fields: dict[str, Any]
    ) -> None:
        """A certificate or secret that changes under its path is a change of the configuration."""
        tls = {"ca_file": "b", "client_cert_file": "c", "client_key_file": "d"}
        proxy = {"proxy_url_file": "e"} if issubclass(model, SourceSettings) else {}

        section = model.model_validate(fields | tls | proxy)

        assert {Path(name) for name in ("a", *tls.values(), *proxy.values())} == set(
            section.files()
        )

    def test_settings_of_the_same_content_are_equal(self, path: Path) -> None:
        """Settings of the same content must be equal, also after secrets were read."""
        first = load(path, environ={}).settings
        for source in first.sources:
            _ = [secret.reveal() for secret in source.secrets()]

        assert first == load(path, environ={}).settings


class TestSecrets:
    @pytest.mark.parametrize("token", ["CANARY\nCANARY", " CANARY", "CANARY\t", "CANÄRY"])
    def test_what_no_header_can_carry_is_refused(self, tmp_path: Path, token: str) -> None:
        """A token that was pasted badly is found before the first call is refused."""
        (tmp_path / "token").write_text(f"{token}\n")
        by_file = {key: SOURCE[key] for key in ("provider", "url")} | {
            "auth_token_file": str(tmp_path / "token")
        }

        found = problems({"sources": [SOURCE | {"auth_token": token}, by_file]})

        assert ["sources[0].auth_token", "sources[1].auth_token_file"] == [
            text.partition(": has characters that no HTTP header can carry")[0] for text in found
        ]

    def test_a_password_may_hold_what_a_header_may_not(self) -> None:
        """A password may hold any characters: it is encoded before it is sent."""
        auth = {"login_url": "/auth", "username": "x", "password": "pass wörd\n"}
        source = {"provider": "eggplant", "url": "https://dai.example", "auth": auth}

        (found,) = from_data({"sources": [source]}).sources

        assert "pass wörd\n" == next(found.secrets()).reveal()

    @pytest.mark.parametrize("name", ["REALLOAD_AUTH_TOKEN", "DEFAULTS__PROXY_URL"])
    def test_bytes_that_are_no_text_are_refused(self, name: str) -> None:
        """A value that is not UTF-8 must be refused at the start."""
        broken = b"CANARY\xe4".decode(errors="surrogateescape")

        found = problems({}, environ=VARIABLES | {f"LOADFLEET_{name}": broken})

        assert [f"LOADFLEET_{name}: is not valid UTF-8; set it as UTF-8"] == found

    @pytest.fixture
    def settings(self) -> Settings:
        """Settings with a secret in every place for one."""
        return load_file("full.yml").settings

    def test_the_log_of_the_settings_library_shows_no_layer(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before the settings are read, no secret is known that could be taken out of its texts."""
        # The library reads this variable from the process's environment and nowhere else.
        monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
        stream = io.StringIO()
        configure(level="debug", log_format="logfmt", stream=stream)

        load(None, environ=VARIABLES)

        assert "CANARY" not in stream.getvalue()
        assert "Resolving settings" not in stream.getvalue()

    def test_no_printed_form_shows_a_secret(self, settings: Settings) -> None:
        """No printed form of the settings may show a secret."""
        shown = [repr(settings), str(settings), yaml.safe_dump(redacted(settings))]
        shown += [repr(list(source.secrets())) for source in settings.sources]
        shown += [repr(http_options(settings.sources[0])), json.dumps(redacted(settings))]

        assert [] == [text for text in shown if "CANARY" in text or "token-from-a-file" in text]

    def test_the_redacted_form_is_the_effective_configuration(self, settings: Settings) -> None:
        """The redacted form must show inherited values and defaults, as people write them."""
        prod = redacted(settings)["sources"][0]

        assert ["provider", "name", "url"] == list(prod)[:3]
        assert {
            "timeout": "12s",
            "interval": "1m30s",
            "auth_retry": "10m",
            "max_reply_bytes": "4MiB",
            "proxy_url": "<secret>",
            "tasks": {"agents": "30s", "suites": "off", "jobs": "5m"},
            "include": {"agents": "ubuntu.*"},
        }.items() <= prod.items()

    def test_the_redacted_form_can_be_read_again(self, settings: Settings) -> None:
        """The redacted form must mean the same when it is read, but for the secrets."""
        data = redacted(settings)
        for part in (data["defaults"], *data["sources"]):
            part["proxy_url"] = "http://user:CANARY-proxy@proxy.example:3128"
        data["sources"][1]["auth_token"] = "CANARY-token"

        assert settings == from_data(data)


class TestLockout:
    """Shards that know nothing of each other, at a vendor that blocks addresses."""

    @pytest.mark.parametrize("total", [4, 50])
    def test_more_than_three_shards_are_a_mistake(self, total: int) -> None:
        """The message names the source, what a block is, and both ways out."""
        (found,) = problems({"sources": [SOURCE], "sharding": {"total_shards": total}})

        assert found.startswith("sharding.total_shards: with a wrong token, each of")
        block = "block the address for 15 to 30 minutes"
        for part in (f"each of {total} shards", SOURCE["name"], block, "use at most 3 shards"):
            assert part in found
        assert "--accept-lockout-risk" in found

    def test_three_are_none(self) -> None:
        """Three shards must be no risk: the vendor tolerates one refusal of each."""
        settings = from_data({"sources": [SOURCE], "sharding": {"total_shards": 3}})

        assert 3 == settings.sharding.total_shards

    def test_the_risk_can_be_accepted(self) -> None:
        """The risk of many shards can be accepted, and is then a warning."""
        sharding = {"total_shards": 9, "accept_lockout_risk": True}

        settings = from_data({"sources": [SOURCE], "sharding": sharding})

        assert 9 == settings.sharding.total_shards
        (risk,) = settings.risks()
        assert risk.startswith("with a wrong token, each of 9 shards without shared state")

    def test_a_vendor_without_a_lockout_has_no_limit(self) -> None:
        """A provider whose vendor locks nobody out must allow any number of shards."""
        source = {
            "provider": "blazemeter",
            "api_key_id": "i",
            "api_key_secret": "s",
            "workspaces": [1],
        }

        settings = from_data({"sources": [source], "sharding": {"total_shards": 9}})

        assert 9 == settings.sharding.total_shards


class TestRisks:
    """Settings that work but may do harm."""

    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_what_is_safe_is_none(self, concurrency: int) -> None:
        """A safe concurrency must be no risk."""
        source = {**SOURCE, "url": "https://portal/", "concurrency": concurrency}

        assert [] == list(from_data({"sources": [source]}).risks())

    def test_more_calls_at_once_can_cost_a_block(self) -> None:
        """The sentence says what a revoked token costs."""
        source = {**SOURCE, "url": "https://portal/", "concurrency": 8}

        (risk,) = from_data({"sources": [source]}).risks()

        assert risk.startswith(f"concurrency of {SOURCE['name']} is 8: ")
        assert "up to 9 refused calls" in risk
        assert "3 or less is safe" in risk

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("http://portal.example/", 1),
            ("http://10.0.0.1/", 1),
            ("http://localhost:80/", 0),
            ("http://127.9.9.9/", 0),
            ("http://[::1]:80/", 0),
            ("https://portal.example/", 0),
        ],
    )
    def test_credentials_in_the_clear(self, url: str, expected: int) -> None:
        """A URL without encryption must be a risk, unless it is of this machine."""
        found = list(from_data({"sources": [{**SOURCE, "url": url}]}).risks())

        assert expected == len(found)
        assert all(
            risk.startswith(f"url of {SOURCE['name']} begins with http://") for risk in found
        )

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from exporter.errors import ConfigurationError
from exporter.web.access.config import WebConfig, parse


HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
PAIR = {"cert_file": "server.crt", "key_file": "server.key"}
PATH = Path("/etc/loadfleet/web.yml")


def read(data: dict[str, Any]) -> WebConfig:
    return parse(yaml.safe_dump(data).encode(), path=PATH)


def problems(data: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong, by place."""
    with pytest.raises(ConfigurationError) as caught:
        read(data)
    split = [problem.split(": ", 2) for problem in caught.value.problems]
    assert {str(PATH)} == {path for path, _, _ in split}
    return {place: text for _, place, text in split}


def test_takes_everything_the_format_has() -> None:
    """Files that other exporters use must do here as they are."""
    config = read(
        {
            "tls_server_config": {
                **PAIR,
                "client_auth_type": "RequireAndVerifyClientCert",
                "client_ca_file": "/ca.pem",
                "client_allowed_sans": ["prometheus.example"],
                "min_version": "TLS12",
                "max_version": "TLS13",
                "cipher_suites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
                "prefer_server_cipher_suites": True,
                "curve_preferences": ["X25519"],
            },
            "http_server_config": {
                "http2": True,
                "headers": {
                    "Strict-Transport-Security": "max-age=31536000",
                    "X-Frame-Options": "deny",
                    "X-Content-Type-Options": "nosniff",
                    "X-XSS-Protection": "1",
                    "Content-Security-Policy": "default-src 'none'",
                },
            },
            "basic_auth_users": {"alice": HASH, "bob": HASH.replace("$2b$", "$2y$")},
            "rate_limit": {"interval": "1s", "burst": 20},
        }
    )

    assert config.tls is not None
    assert {
        "cert_file": Path("/etc/loadfleet/server.crt"),
        "key_file": Path("/etc/loadfleet/server.key"),
        "client_ca_file": Path("/ca.pem"),
    } == dict(config.tls.files())
    assert {"alice", "bob"} == config.users.keys()
    assert 5 == len(config.headers)
    assert (1.0, 20) == (config.rate_limit.interval, config.rate_limit.burst)


def test_an_empty_mapping_demands_nothing() -> None:
    """An empty mapping must be accepted, and demand neither TLS nor a password."""
    config = parse(b"# nobody else is in this network\n{}\n", path=PATH)

    assert (None, {}, {}) == (config.tls, config.users, config.headers)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n \n", b"# rate_limit: {burst: 1}\n", b"---\n", b"null\n", b"rate_limit:\n"],
)
def test_a_file_that_says_nothing_has_lost_its_content(content: bytes) -> None:
    """An empty file must be refused with the remedy: it may have lost its content."""
    remedy = "write rules for clients, or {} to let everybody in over plain HTTP"

    with pytest.raises(ConfigurationError) as caught:
        parse(content, path=PATH)

    (problem,) = caught.value.problems
    assert f"{PATH}: says nothing, and may have lost its content; {remedy}" == problem


@pytest.mark.parametrize("part", ["tls_server_config", "basic_auth_users"])
def test_a_part_that_was_only_begun_is_a_mistake(part: str) -> None:
    """A file cut behind a key, or a template without values, must not open the door."""
    with pytest.raises(ConfigurationError, match=f"{PATH}: {part}"):
        parse(f"rate_limit: {{interval: 1s, burst: 1}}\n{part}:\n".encode(), path=PATH)


def test_tells_all_mistakes_at_once() -> None:
    """All mistakes in the file must be reported at once."""
    found = problems(
        {
            "tls_server_config": {"cert_file": "a", "min_version": "SSL3", "cipher_suite": []},
            "http_server_config": {"headers": {"X-Frame-Option": "deny"}},
            "basic_auth_users": {"alice": "plain"},
            "rate_limit": {"interval": "1s"},
            "basic_auth_user": {},
        }
    )

    assert {
        "basic_auth_user": "unknown key; did you mean basic_auth_users?",
        "tls_server_config.cipher_suite": "unknown key; did you mean cipher_suites?",
        "tls_server_config.min_version": "must be one of: TLS12, TLS13",
        "tls_server_config.key_file": "is missing; TLS needs certificate and key",
        "http_server_config.headers.X-Frame-Option": (
            "this header cannot be set; did you mean X-Frame-Options?"
        ),
        "rate_limit.burst": "must be at least 1, or no request would pass",
        "basic_auth_users.alice": ("is not a bcrypt hash; make one with `htpasswd -nBC 10 NAME`"),
    } == found


@pytest.mark.parametrize(
    ("tls", "place"),
    [
        ({}, "cert_file"),
        ({"cert_file": "", "key_file": ""}, "cert_file"),
        ({"cert_file": None, "key_file": None}, "key_file"),
        ({**PAIR, "cert": "PEM"}, "cert_file"),
        ({**PAIR, "client_auth_type": "RequireAndVerifyClientCert"}, "client_ca_file"),
        ({**PAIR, "client_auth_type": "RequireAnyClientCert"}, "client_auth_type"),
        ({**PAIR, "client_auth_type": "Sometimes"}, "client_auth_type"),
        ({**PAIR, "client_ca_file": "ca.pem"}, "client_auth_type"),
        ({**PAIR, "client_allowed_sans": ["a"]}, "client_allowed_sans"),
        ({**PAIR, "min_version": "TLS13", "max_version": "TLS12"}, "min_version"),
        ({**PAIR, "min_version": "TLS10"}, "min_version"),
        ({**PAIR, "cipher_suites": ["TLS_RSA_WITH_RC4_128_SHA"]}, "cipher_suites[0]"),
        ({**PAIR, "curve_preferences": ["X25519", "CurveP256"]}, "curve_preferences"),
        ({**PAIR, "curve_preferences": ["CurveP255"]}, "curve_preferences[0]"),
    ],
)
def test_refuses_tls_that_would_not_do_what_it_says(tls: dict[str, Any], place: str) -> None:
    """TLS that was begun must never silently become weaker, or none."""
    assert f"tls_server_config.{place}" in problems({"tls_server_config": tls})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Frame-Options", "allow"),
        ("X-Content-Type-Options", "sniff"),
        ("Content-Security-Policy", "default-src\r\nX-Evil: 1"),
        ("Server", "mine"),
    ],
)
def test_refuses_headers_that_are_none_of_the_five(name: str, value: str) -> None:
    """A header has to be one of the five, with a value that it can have."""
    found = problems({"http_server_config": {"headers": {name: value}}})

    assert [f"http_server_config.headers.{name}"] == list(found)


@pytest.mark.parametrize(
    "users",
    [{}, {"alice": None}, {"alice": ""}, {"a:b": HASH}, {"": HASH}, {7: HASH}, ["alice"]],
)
def test_refuses_users_who_could_not_log_in(users: Any) -> None:
    """A template that was not filled in must not open the door to everybody."""
    assert problems({"basic_auth_users": users})


@pytest.mark.parametrize("cost", ["03", "19", "31"])
def test_refuses_costs_that_no_request_can_wait_for(cost: str) -> None:
    """A hash that takes hours to compare would stop all logins."""
    users = {"alice": HASH.replace("$04$", f"${cost}$")}

    assert ["basic_auth_users.alice"] == list(problems({"basic_auth_users": users}))


def test_never_quotes_what_may_be_secret() -> None:
    """Hashes and keys stay out of messages and out of what is printed of the settings."""
    mistaken = problems({"basic_auth_users": {"alice": "hunter2"}})
    config = read(
        {
            "tls_server_config": {"cert": "PEM", "key": "hunter2"},
            "basic_auth_users": {"alice": HASH},
        }
    )

    assert "hunter2" not in str(mistaken)
    assert "hunter2" not in repr(config)
    assert HASH not in repr(config)

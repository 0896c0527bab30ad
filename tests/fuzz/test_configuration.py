"""A configuration file of any content must be valid, or refused with a message of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import ConfigurationError
from exporter.settings.load import load, redacted
from exporter.web.access.config import parse
from tests.fuzz.mutations import mutated


if TYPE_CHECKING:
    from collections.abc import Callable


#: A value that no message about the configuration may quote.
SECRET = "canary-7f3a"
HASH = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()

PATH = Path("/etc/loadfleet/loadfleet.yml")

WEB: dict[str, Any] = {
    "tls_server_config": {
        "cert": "PEM",
        "key": SECRET,
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": "ca.pem",
        "client_allowed_sans": ["prometheus.example"],
        "min_version": "TLS12",
        "cipher_suites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        "curve_preferences": ["X25519"],
    },
    "http_server_config": {"http2": True, "headers": {"X-Frame-Options": "deny"}},
    "basic_auth_users": {"alice": HASH},
    "rate_limit": {"interval": "1s", "burst": 20},
}

SETTINGS: dict[str, Any] = {
    "defaults": {"interval": "30s", "timeout": "5s", "labels": {"site": "bern"}},
    "sources": [
        {
            "provider": "realload",
            "name": "prod",
            "url": "https://portal.example/RemoteUserAPI",
            "auth_token": SECRET,
            "tasks": {"agents": "1m", "jobs": False},
            "include": {"agents": "ubuntu.*"},
            "proxy_url": f"http://user:{SECRET}@proxy:3128",
        },
        {
            "provider": "blazemeter",
            "api_key_id": "id",
            "api_key_secret": SECRET,
            "workspaces": [1],
        },
        {
            "provider": "eggplant",
            "url": "http://dai.example:8000",
            "auth": {"token_url": "/t", "client_id": "c", "client_secret": SECRET},
            "expected_agents": ["a"],
        },
    ],
    "web": {"listen_address": ["127.0.0.1:0"], "external_url": "https://x.example/fleet"},
    "alerting": {
        "alertmanagers": [{"url": "http://am:9093", "bearer_token": SECRET}],
        "thresholds": {"clock_skew": "5s"},
    },
    "log": {"level": "info"},
    "sharding": {"shard": 0, "total_shards": 2},
}

# The machine's speed is not what is tested.
patient = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**30, max_value=10**400)
    | st.floats()
    | st.dates()
    | st.binary(max_size=6)
    | st.text(max_size=12)
    | st.sampled_from(
        ["off", "1s", "-1s", "1e9d", "0", "", " ", "~", "/", "http://", "http://[", "\x7f"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6) | st.integers(0, 9) | st.none(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [path, *(place for key, part in items for place in _places(part, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    head, *rest = path
    part = _replaced(value[head], tuple(rest), by)
    if isinstance(value, dict):
        return {**value, head: part}
    return [*value[:head], part, *value[head + 1 :]]


@st.composite
def odd(draw: Callable[[st.SearchStrategy[Any]], Any], right: dict[str, Any]) -> bytes:
    """Draw a right file with odd values in it."""
    data: Any = right
    for _ in range(draw(st.integers(1, 3))):
        data = _replaced(data, draw(st.sampled_from(_places(data))), draw(_VALUES))
    return yaml.safe_dump(data, allow_unicode=draw(st.booleans())).encode()


def files(right: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Draw a file: a right one with odd values or broken bytes, or anything at all."""
    signs = st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,?\n \t<~01.", max_size=60)
    broken = mutated(yaml.safe_dump(right).encode())
    return odd(right) | odd(right) | broken | signs.map(str.encode) | st.binary(max_size=300)


def _is_fit_to_be_said(error: ConfigurationError) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.strip()
        assert SECRET not in problem
        assert HASH not in problem


@patient
@given(files(WEB))
def test_the_web_configuration_file(content: bytes) -> None:
    """Any file is taken, or refused with its mistakes and none of its secrets."""
    try:
        config = parse(content, path=PATH)
    except ConfigurationError as error:
        _is_fit_to_be_said(error)
    else:
        assert SECRET not in repr(config)
        assert HASH not in repr(config)


@patient
@given(files(SETTINGS))
def test_the_configuration_file(content: bytes) -> None:
    """Any file is taken, and can be shown, or is refused with its mistakes, secrets left out."""
    try:
        loaded = load(PATH, content=content, environ={})
    except ConfigurationError as error:
        _is_fit_to_be_said(error)
    else:
        assert SECRET not in yaml.safe_dump(redacted(loaded.settings))


def test_what_is_broken_is_right_at_first() -> None:
    """Mutations of a file that is refused anyway would find little."""
    parse(yaml.safe_dump(WEB).encode(), path=PATH)
    load(PATH, content=yaml.safe_dump(SETTINGS).encode(), environ={})

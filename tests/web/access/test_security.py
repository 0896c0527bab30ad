"""Following the web configuration file, the way files change in the field."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import bcrypt
import msgspec
import pytest
import structlog
import yaml
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from exporter.errors import ConfigurationError
from exporter.web.access.security import WebSecurity, identity, read_files
from tests.config.test_files import KINDS
from tests.support.certificates import Authority
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.web.access.security import LoadedFiles


def users(*names: str) -> dict[str, Any]:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    return {"basic_auth_users": dict.fromkeys(names, hashed)}


def write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(data))


def locked(key: bytes) -> bytes:
    """Put a passphrase on a private key."""
    private = serialization.load_pem_private_key(key, password=None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )


async def admits(security: WebSecurity, name: str) -> bool:
    found = security.rules().users
    assert found is not None
    return await found.admit(name, b"right")


class TestUsers:
    async def test_are_read_again_when_the_file_changes(self, tmp_path: Path) -> None:
        """A change of users must apply from the next request on."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))
        security = WebSecurity(path)
        before = await admits(security, "alice"), await admits(security, "bob")

        write(path, users("bob"))
        after = await admits(security, "alice"), await admits(security, "bob")

        assert ((True, False), (False, True)) == (before, after)

    async def test_a_swapped_link_is_a_change(self, tmp_path: Path) -> None:
        """Kubernetes replaces a folder behind a symbolic link, not the file."""
        for name in ("alice", "bob"):
            (tmp_path / name).mkdir()
            write(tmp_path / name / "web.yml", users(name))
        (tmp_path / "data").symlink_to("alice")
        security = WebSecurity(tmp_path / "data" / "web.yml")
        before = await admits(security, "bob")

        (tmp_path / "new").symlink_to("bob")
        (tmp_path / "new").rename(tmp_path / "data")

        assert (False, True) == (before, await admits(security, "bob"))

    async def test_a_time_that_was_set_back_hides_no_change(self, tmp_path: Path) -> None:
        """Tools that copy a file with its times are no exception."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))
        os.utime(path, (1, 1))
        clock = FakeClock(unix=path.stat().st_ctime + 10)
        security = WebSecurity(path, clock=clock.clock)
        write(path, users("carol"))
        os.utime(path, (1, 1))

        assert await admits(security, "carol")

    async def test_a_change_within_a_tick_of_the_clock_is_noticed(self, tmp_path: Path) -> None:
        """A young file that looks as before may have changed, and is read again."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))

        def overtaken(file: Path) -> LoadedFiles:
            found = read_files(file)
            write(file, users("carol"))
            return msgspec.structs.replace(found, seen={file: identity(file)})

        security = WebSecurity(path, read=overtaken)

        assert await admits(security, "carol")

    def test_an_unchanged_file_is_not_read_again(self, tmp_path: Path) -> None:
        """Requests cost a look at the file, not its reading and parsing."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))
        clock = FakeClock(unix=path.stat().st_ctime + 10)
        readings: list[Path] = []

        def counting(file: Path) -> LoadedFiles:
            readings.append(file)
            return read_files(file)

        security = WebSecurity(path, clock=clock.clock, read=counting)
        for _ in range(10):
            security.rules()

        assert [path] == readings

    async def test_what_did_not_change_keeps_its_memory(self, tmp_path: Path) -> None:
        """A new header must not empty the bucket or forget who was admitted."""
        path = tmp_path / "web.yml"
        demands = users("alice") | {"rate_limit": {"interval": "1s", "burst": 1}}
        write(path, demands)
        security = WebSecurity(path)
        first = security.rules()

        headers = {"headers": {"X-Frame-Options": "deny"}}
        write(path, demands | {"http_server_config": headers})
        second = security.rules()

        assert {"X-Frame-Options": "deny"} == second.config.headers
        assert (first.users, first.bucket) == (second.users, second.bucket)


class TestMistakes:
    def test_at_the_start_are_all_told(self, tmp_path: Path) -> None:
        """A configuration that cannot be served safely must end the start, with all mistakes."""
        path = tmp_path / "web.yml"
        write(path, {"tls_server_config": {"cert_file": "no.crt", "key_file": "no.key"}})

        with pytest.raises(ConfigurationError) as caught:
            WebSecurity(path)

        assert 2 == len(caught.value.problems)
        place = f"{path}: tls_server_config.cert_file: {tmp_path}/no.crt"
        assert caught.value.problems[0].startswith(f"{place}: cannot be read")

    async def test_later_on_change_nothing_and_are_told_once(self, tmp_path: Path) -> None:
        """A broken file must neither open the door nor close it, nor fill the log."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))
        security = WebSecurity(path, log=structlog.get_logger("test"))

        with capture_logs() as logs:
            path.write_text("basic_auth_users: [")
            admitted = [await admits(security, "alice") for _ in range(3)]
            path.unlink()
            admitted += [await admits(security, "alice") for _ in range(3)]
            write(path, users("bob"))
            bob = await admits(security, "bob")

        assert [True] * 6 == admitted
        assert bob
        assert ["web_config_refused", "web_config_refused", "web_config_changed"] == [
            entry["event"] for entry in logs
        ]

    @pytest.mark.parametrize("has_tls", [True, False])
    async def test_tls_is_not_switched_while_running(self, tmp_path: Path, has_tls: bool) -> None:
        """Sockets are TLS or not for their whole life; the rest of such a file waits as well."""
        authority = Authority(tmp_path)
        authority.issue()
        path = authority.configure(**users("alice"))
        demands = yaml.safe_load(path.read_text())
        plain = {name: part for name, part in demands.items() if name != "tls_server_config"}
        write(path, demands if has_tls else plain)
        security = WebSecurity(path)

        write(path, (plain if has_tls else demands) | users("bob"))
        with capture_logs() as logs:
            admitted = await admits(security, "bob")

        assert not admitted
        assert "restart to switch TLS" in logs[0]["message"]
        assert has_tls is (security.context is not None)


class TestFailClosed:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b" \n\n",
            b"\0" * 64,
            b"# users are elsewhere\n",
            b"---\n",
            b"{}\n",
            b"basic_auth_users:\n",
            b"basic_auth_users: {}\n",
            b"basic_auth_users: {alice: }\n",
            b"http_server_config: {headers: {X-Frame-Options: deny}}\n",
        ],
    )
    async def test_users_who_vanish_while_running_stay(
        self, tmp_path: Path, content: bytes
    ) -> None:
        """If a running daemon loses its users, it must keep the old ones, and log once where."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))
        security = WebSecurity(path)

        path.write_bytes(content)
        with capture_logs() as logs:
            admitted = [await admits(security, name) for name in ("alice", "bob") * 3]

        assert [True, False] * 3 == admitted
        assert security.refused
        assert ["web_config_refused"] == [entry["event"] for entry in logs]
        assert logs[0]["message"].startswith(f"{path}: ")

    async def test_a_file_cut_anywhere_lets_nobody_in(self, tmp_path: Path) -> None:
        """A file that is cut anywhere must admit nobody new: an editor may write it in place."""
        path = tmp_path / "web.yml"
        headers = {"http_server_config": {"headers": {"X-Frame-Options": "deny"}}}
        path.write_text(yaml.safe_dump(headers | users("alice"), sort_keys=False))
        content = path.read_bytes()
        security = WebSecurity(path)
        admitted = set()

        with capture_logs():
            for length in range(len(content)):
                path.write_bytes(content[:length])
                admitted.add(await admits(security, "bob"))

        assert {False} == admitted

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", ["web.yml", "server.crt", "server.key", "ca.pem"])
    def test_what_is_no_file_changes_nothing(self, tmp_path: Path, name: str, kind: str) -> None:
        """No request waits for it, and what was demanded is demanded on."""
        authority = Authority(tmp_path)
        authority.issue()
        tls = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
        security = WebSecurity(authority.configure(tls=tls, **users("alice")))
        before = security.rules()
        make, why = KINDS[kind]

        (tmp_path / name).unlink()
        make(tmp_path / name)
        with capture_logs() as logs:
            after = security.rules()

        assert before is after
        assert security.refused
        (told,) = logs
        assert f"{tmp_path / name}: " in told["message"]
        assert told["message"].startswith(f"{tmp_path / 'web.yml'}: ")
        assert why in told["message"] or "is a pipe" in told["message"]

    @pytest.mark.parametrize("name", ["server.crt", "server.key", "ca.pem"])
    def test_a_file_it_names_that_is_emptied_changes_nothing(
        self, tmp_path: Path, name: str
    ) -> None:
        """An emptied CA or certificate must change nothing."""
        authority = Authority(tmp_path)
        authority.issue()
        tls = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
        security = WebSecurity(authority.configure(tls=tls))
        before = security.rules()

        (tmp_path / name).write_bytes(b"")
        with capture_logs() as logs:
            after = security.rules()

        assert before is after
        assert ["web_config_refused"] == [entry["event"] for entry in logs]

    def test_users_who_vanished_are_named_with_the_remedy(self, tmp_path: Path) -> None:
        """The log must say how to remove all users on purpose."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))
        security = WebSecurity(path)

        write(path, {"rate_limit": {"interval": "1s", "burst": 1}})
        with capture_logs() as logs:
            security.refresh()

        remedy = "is gone; put users back, or restart to let everybody in"
        assert [f"{path}: basic_auth_users: {remedy}"] == [entry["message"] for entry in logs]

    async def test_a_wrong_file_after_an_empty_one_keeps_the_users(self, tmp_path: Path) -> None:
        """The newest valid file must stay in use, however many wrong ones follow."""
        path = tmp_path / "web.yml"
        write(path, users("alice"))
        security = WebSecurity(path)
        admitted = []

        with capture_logs():
            for content in ("", "basic_auth_users: [", "{}"):
                path.write_text(content)
                admitted.append(await admits(security, "alice"))
            refused = security.refused
            write(path, users("alice"))
            admitted.append(await admits(security, "alice"))

        assert [True] * 4 == admitted
        assert (True, False) == (refused, security.refused)

    def test_a_restart_lets_users_go(self, tmp_path: Path) -> None:
        """A restart with an empty mapping must admit everybody."""
        path = tmp_path / "web.yml"
        write(path, {})

        assert WebSecurity(path).rules().users is None

    @pytest.mark.parametrize(
        ("tls", "place"),
        [
            ({}, "client_auth_type"),
            ({"client_auth_type": "RequestClientCert"}, "client_auth_type"),
            (
                {"client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "ca.pem"},
                "client_auth_type",
            ),
            (
                {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"},
                "client_allowed_sans",
            ),
        ],
    )
    def test_demands_on_clients_that_vanish_stay(
        self, tmp_path: Path, tls: dict[str, Any], place: str
    ) -> None:
        """A certificate that was demanded is demanded on, and so is its name."""
        authority = Authority(tmp_path)
        authority.issue()
        demands = {
            "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": "ca.pem",
            "client_allowed_sans": ["prometheus.example"],
        }
        path = authority.configure(tls=demands)
        security = WebSecurity(path)
        before = security.rules()

        authority.configure(tls=tls)
        with capture_logs() as logs:
            after = security.rules()

        assert before is after
        assert [f"{path}: tls_server_config.{place}"] == [
            entry["message"].rsplit(": ", 1)[0] for entry in logs
        ]

    def test_stricter_demands_are_taken_up(self, tmp_path: Path) -> None:
        """Only what opens waits for a restart."""
        authority = Authority(tmp_path)
        authority.issue()
        path = authority.configure()
        security = WebSecurity(path)

        tls = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
        authority.configure(tls=tls, **users("alice"))
        with capture_logs() as logs:
            rules = security.rules()

        assert rules.users is not None
        assert ["web_config_changed"] == [entry["event"] for entry in logs]


class TestKeys:
    @pytest.mark.parametrize(
        ("cert", "key", "why"),
        [
            ("server.crt", "other.key", "do not belong together"),
            ("server.key", "server.crt", "key or key_file holds no private key"),
            ("server.crt", "server.crt", "key or key_file holds no private key"),
            ("empty", "server.key", "cert or cert_file holds no certificate"),
            ("broken.crt", "server.key", "cannot be used"),
            ("server.crt", "locked.key", "has a passphrase"),
        ],
    )
    def test_that_do_not_fit_are_refused(
        self, tmp_path: Path, cert: str, key: str, why: str
    ) -> None:
        """A key that does not fit must be refused, without asking for a passphrase."""
        authority = Authority(tmp_path)
        authority.issue()
        authority.issue(name="other")
        (tmp_path / "empty").touch()
        (tmp_path / "broken.crt").write_text(
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
        )
        (tmp_path / "locked.key").write_bytes(locked((tmp_path / "server.key").read_bytes()))
        path = authority.configure(tls={"cert_file": cert, "key_file": key})

        with pytest.raises(ConfigurationError, match=why):
            WebSecurity(path)

    def test_can_stand_in_the_file_itself(self, tmp_path: Path) -> None:
        """Certificate, key and client CA may be given inline, as the format has it."""
        authority = Authority(tmp_path)
        authority.issue()
        path = tmp_path / "web.yml"
        write(
            path,
            {
                "tls_server_config": {
                    "cert": (tmp_path / "server.crt").read_text(),
                    "key": (tmp_path / "server.key").read_text(),
                    "client_ca": authority.path.read_text(),
                    "client_auth_type": "RequireAndVerifyClientCert",
                }
            },
        )

        assert WebSecurity(path).context is not None

    def test_a_client_ca_without_a_certificate_is_refused(self, tmp_path: Path) -> None:
        """A client CA without a certificate must be refused."""
        authority = Authority(tmp_path)
        authority.issue()
        (tmp_path / "empty").touch()
        path = authority.configure(
            tls={"client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "empty"}
        )

        with pytest.raises(ConfigurationError, match="the client CA has no certificate"):
            WebSecurity(path)

"""The state on a server that is flushed, restarted, full, silent or somebody else's."""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import exceptions
from structlog.testing import capture_logs

from exporter.clock import SYSTEM_CLOCK
from exporter.errors import StateError
from exporter.metrics.telemetry import SelfMetrics
from exporter.state import scripts
from exporter.state.base import RETRY_SECONDS, Fence, salt
from exporter.state.database import KEPT_SECONDS
from exporter.state.fallback import FallbackState
from exporter.state.redis import CLOCK, DOCUMENT, INDEX, RedisState
from exporter.state.server import LOOK_SECONDS, _reason
from exporter.state.settings import StateSettings
from tests.support.certificates import Authority
from tests.support.clock import FakeClock, settle
from tests.support.redis import PROGRAMS, SERVICE, RedisServer
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from exporter.state.base import State


pytestmark = pytest.mark.slow

CANARY = "canary-3f8a51"
DOCUMENTS = Path(__file__).parents[2] / "deploy" / "docs" / "reference" / "configuration.md"


@pytest.fixture(params=PROGRAMS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start servers, which end with the test."""
    servers: list[RedisServer] = []

    def run(*options: str, tls: Path | None = None) -> RedisServer:
        folder = tmp_path / f"server{len(servers)}"
        servers.append(RedisServer(request.param, folder, *options, tls=tls))
        return servers[-1]

    yield run
    for server in servers:
        server.stop(kill=True)  # otherwise a primary would wait for its replica


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Callable[[RedisServer], RedisServer]]:
    """Start Sentinels, of the same program as the servers."""
    sentinels: list[RedisServer] = []

    def run(primary: RedisServer) -> RedisServer:
        folder = tmp_path / f"sentinel{len(sentinels)}"
        sentinels.append(RedisServer.sentinel(primary.program, folder, primary))
        return sentinels[-1]

    yield run
    for each in sentinels:
        each.stop()


@pytest.fixture
def server(start: Callable[..., RedisServer]) -> RedisServer:
    return start()


@asynccontextmanager
async def opened(state: RedisState) -> AsyncIterator[RedisState]:
    try:
        yield state
    finally:
        await state.aclose()


def to(value: bytes) -> Callable[[bytes | None, float], tuple[bytes, None]]:
    """Make a change to a value, whatever was there."""
    return lambda _, __: (value, None)


async def value_of(state: State, key: str) -> bytes | None:
    found = await state.get(key)
    return None if found is None else found.value


async def failure_of(state: State) -> str:
    """Return why a write fails."""
    with pytest.raises(StateError) as failed:
        await state.put("key", b"value")
    return str(failed.value)


async def test_new_data_are_whole_after_a_minute(server: RedisServer) -> None:
    """New data must count as whole after a minute, also for processes that join later."""
    async with opened(server.state()) as first, opened(server.state()) as second:
        unreached = first.whole
        await first.put("key", b"value")
        young = first.whole
        server.age()
        await second.get("key")

        assert not unreached
        assert not young
        assert second.whole


async def test_a_flush_is_told_once(server: RedisServer) -> None:
    """A flush must be reported once to each process, and its changes be written again."""
    async with opened(server.state()) as first, opened(server.state()) as second:
        await first.update("ledger", to(b"1"))
        server.age()
        await second.get("ledger")
        assert second.whole
        server.command("FLUSHALL")

        told = [await failure_of(state) for state in (first, second)]

        assert all("lost its data" in message for message in told)
        assert b"1" == await value_of(first, "ledger")
        assert b"1" == await value_of(second, "ledger")
        assert None is await value_of(second, "key")
        assert not second.whole


async def test_what_somebody_wrote_later_stays(server: RedisServer) -> None:
    """After a loss, the newest of all processes' documents must win."""
    async with opened(server.state()) as old, opened(server.state()) as new:
        await old.update("ledger", to(b"old"))
        await new.update("ledger", to(b"new"))
        server.command("FLUSHALL")

        for state in (new, old):
            await failure_of(state)

        assert b"new" == await value_of(old, "ledger")


async def test_the_salt_outlives_a_flush(server: RedisServer) -> None:
    """The salt must outlive a flush."""
    async with opened(server.state()) as first, opened(server.state()) as second:
        made = await salt(first)
        server.command("FLUSHALL")
        await failure_of(first)

        assert made == await salt(second)


async def test_a_restart_that_keeps_the_data_is_no_loss(start: Callable[..., RedisServer]) -> None:
    """A restart that keeps the data must be no loss, but not be trusted for a minute."""
    server = start("--appendonly", "yes")
    async with opened(server.state()) as state:
        await state.put("a", b"1")
        server.age()
        async with opened(server.state()) as late:
            await late.get("a")
            assert late.whole
            server.stop()
            server.start()

            found = await value_of(late, "a")

            assert b"1" == found
            assert not late.whole


async def test_a_restart_that_goes_back_is_made_up_for(start: Callable[..., RedisServer]) -> None:
    """A change that the server lost in a restart must be written again."""
    server = start()
    async with opened(server.state()) as state:
        await state.update("ledger", to(b"1"))
        server.command("SAVE")
        await state.update("ledger", to(b"2"))
        server.stop(kill=True)
        server.start()

        await state.get("other")

        assert b"2" == await value_of(state, "ledger")


async def test_a_restart_that_keeps_nothing_is_a_loss(server: RedisServer) -> None:
    """A restart without data must be reported once."""
    async with opened(server.state()) as state:
        await state.put("a", b"1")
        server.stop()
        away = await failure_of(state)
        server.start()

        back = await failure_of(state)

        assert "cannot be reached (Connection refused); start it" in away
        assert "lost its data" in back
        assert None is await value_of(state, "a")
        assert not state.whole


async def test_a_server_that_evicts_is_refused(start: Callable[..., RedisServer]) -> None:
    """A server that evicts keys must be refused: it would forget refused calls."""
    server = start("--maxmemory-policy", "allkeys-lru")
    async with opened(server.state()) as state:
        message = await failure_of(state)

        assert (
            f"127.0.0.1:{server.port}: it evicts keys of the state (allkeys-lru); set"
            " maxmemory-policy to noeviction" == message
        )
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert await state.put("key", b"value")


async def test_a_server_that_begins_to_evict_is_noticed(server: RedisServer) -> None:
    """Within a minute, on a connection that stands."""
    clock = FakeClock()
    async with opened(server.state(clock.clock)) as state:
        await state.put("key", b"value")
        server.command("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        await state.put("key", b"value")

        clock.shift(LOOK_SECONDS)

        assert "volatile-ttl" in await failure_of(state)


async def test_the_size_is_that_of_the_server(server: RedisServer) -> None:
    """The size must be the one the server gave last."""
    clock = FakeClock()
    async with opened(server.state(clock.clock)) as state:
        before = state.size()
        await state.put("key", b"x" * 1_000_000)
        small = state.size()
        clock.shift(LOOK_SECONDS)
        await state.get("key")

        assert 0 == before
        assert small > 0
        assert small + 900_000 < state.size()


async def test_who_may_not_log_in_is_told(start: Callable[..., RedisServer]) -> None:
    """A wrong password, none, and a user that does not exist; never the password itself."""
    server = start("--requirepass", "right")
    text = "it refuses the login; correct state.username and state.password_file"
    cases: tuple[dict[str, Any], ...] = (
        {},
        {"password": CANARY},
        {"password": "right", "username": "nobody"},
    )
    for credentials in cases:
        async with opened(server.state(**credentials)) as state:
            assert f"127.0.0.1:{server.port}: {text}" == await failure_of(state)


async def test_a_password_is_read_for_every_connection(
    start: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """The password must be read again for every connection."""
    server = start("--requirepass", "first")
    file = tmp_path / "password"
    file.write_text("wrong\n")
    async with opened(server.state(password_file=file)) as state:
        await failure_of(state)
        file.write_text("first\n")
        assert await state.put("key", b"value")
        server.stop()
        server.start()
        file.unlink()

        message = await failure_of(state)
        file.write_text("first\n")

        assert f"cannot use the secret file {file}: No such file or directory" in message
        assert "lost its data" in await failure_of(state)
        assert await state.put("key", b"value")


async def test_the_documented_rights_suffice(server: RedisServer) -> None:
    """For all that the state does, with a user that can do nothing else."""
    (line,) = (line for line in DOCUMENTS.read_text().splitlines() if line.startswith("user "))
    _, name, *rules = line.split()
    rules = [">pass" if rule.startswith(">") else rule for rule in rules]
    server.command("ACL", "SETUSER", name, "reset", *rules)
    async with opened(server.state(username=name, password="pass")) as state:
        await salt(state)
        assert await state.put("a", b"1")
        assert await state.put("a", b"2", fence=Fence(key="a", prefix=b"1"))
        await state.update("a", to(b"3"))
        await state.update("b", lambda _, __: (None, None))
        await state.delete("b")
        await state.documents("")
        server.command("HSET", CLOCK, "last", str(int(2e15)))
        assert b"3" == await value_of(state, "a")
        assert state.size() > 0
    with pytest.raises(ValueError, match="NOPERM"):
        server.command("GET", "other", login=(name, "pass"))


@pytest.mark.parametrize("rules", [["+info"], ["+eval", "+info", "+time", "~other*"]])
async def test_missing_rights_are_told(server: RedisServer, rules: list[str]) -> None:
    """A missing right to a command or to a key must be reported with its remedy."""
    server.command("ACL", "SETUSER", "weak", "reset", "on", ">pass", *rules)
    async with opened(server.state(username="weak", password="pass")) as state:
        message = await failure_of(state)

        assert message.endswith(
            "the user lacks rights; grant those that the reference lists under Redis or Valkey"
        )


async def test_tls_is_verified(start: Callable[..., RedisServer], tmp_path: Path) -> None:
    """The server's certificate must be verified, and the client's be presented."""
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    authority.issue()
    authority.issue("client", name="client")
    server = start(tls=authority.folder)
    url = server.url(scheme="rediss")
    shown: dict[str, Any] = {
        "client_cert_file": authority.folder / "client.crt",
        "client_key_file": authority.folder / "client.key",
    }

    async with opened(server.state(url=url, ca_file=authority.path, **shown)) as state:
        assert await state.put("key", b"value")
    async with opened(server.state(url=url, ca_file=stranger.path, **shown)) as state:
        assert "TLS fails (self-signed certificate" in await failure_of(state)
    async with opened(server.state(url=url, ca_file=authority.path)) as state:
        assert await failure_of(state)
    async with opened(server.state()) as state:
        assert await failure_of(state)


async def test_a_certificate_of_another_name_is_refused(
    start: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """The right authority is not enough."""
    authority = Authority(tmp_path / "ca")
    authority.issue("elsewhere.example.com")
    server = start("--tls-auth-clients", "no", tls=authority.folder)
    url = server.url(scheme="rediss")
    async with opened(server.state(url=url, ca_file=authority.path)) as state:
        message = await failure_of(state)

        assert "TLS fails" in message
        assert "check its certificate and state.ca_file" in message


async def test_a_full_server_is_told_and_still_read(server: RedisServer) -> None:
    """A full server must be reported, still be read, and recover by itself."""
    async with opened(server.state()) as state:
        await state.update("key", to(b"old"))
        server.command("CONFIG", "SET", "maxmemory", "1")

        message = await failure_of(state)

        assert "it is full; raise its maxmemory" in message
        with pytest.raises(StateError):
            await state.delete("key")
        assert b"old" == await value_of(state, "key")
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert await state.put("key", b"new")


async def test_a_server_that_cannot_save_is_told(start: Callable[..., RedisServer]) -> None:
    """A server that cannot save must be reported."""
    server = start("--save", "3600 1")
    async with opened(server.state()) as state:
        await state.put("key", b"value")
        shutil.rmtree(server.folder)
        server.command("BGSAVE")
        await until(lambda: b"rdb_last_bgsave_status:err" in server.command("INFO", "persistence"))

        message = await failure_of(state)
        server.stop(kill=True)  # otherwise it would try to save first

        assert "it cannot save to its disk" in message


async def test_a_replica_is_refused(start: Callable[..., RedisServer]) -> None:
    """A replica must be refused, at a new connection and during one."""
    primary = start()
    replica = start("--replicaof", "127.0.0.1", str(primary.port))
    clock = FakeClock()
    text = "it is a replica and accepts no writes; name the primary in state.url"
    async with opened(replica.state()) as state:
        assert f"127.0.0.1:{replica.port}: {text}" == await failure_of(state)
    async with opened(primary.state(clock.clock)) as state:
        await state.put("key", b"value")
        primary.command("REPLICAOF", "127.0.0.1", str(replica.port))

        assert text in await failure_of(state)


async def test_a_replica_that_takes_over_goes_on(start: Callable[..., RedisServer]) -> None:
    """A replica that takes over must go on from the newest stamp."""
    primary = start()
    replica = start("--replicaof", "127.0.0.1", str(primary.port))
    async with opened(primary.state()) as state:
        await state.put("key", b"value")
        ahead = int(SYSTEM_CLOCK.time() + 3600) * 1_000_000
        primary.command("HSET", CLOCK, "last", str(ahead))
        await until(
            lambda: b"%d" % ahead == (replica.command("HGET", CLOCK, "last") or b"").strip()
        )
    primary.stop(kill=True)
    replica.command("REPLICAOF", "NO", "ONE")

    async with opened(replica.state()) as state:
        assert b"value" == await value_of(state, "key")
        now = state.now()
        assert now is not None
        assert now >= ahead / 1e6


async def test_a_sentinel_tells_which_server_is_the_primary(
    start: Callable[..., RedisServer], sentinel: Callable[[RedisServer], RedisServer]
) -> None:
    """When that dies its replica is found, with what is in it, and relied on a minute later."""
    primary = start()
    replica = start("--replicaof", "127.0.0.1", str(primary.port))
    watcher = sentinel(primary)
    await until(lambda: watcher.command("SENTINEL", "replicas", SERVICE))
    sentinels = ("127.0.0.1:1", f"127.0.0.1:{watcher.port}")
    settings = StateSettings(url=f"redis://{SERVICE}/0", sentinels=sentinels)
    async with opened(RedisState(settings, clock=SYSTEM_CLOCK)) as state:
        await state.put("key", b"value")
        primary.age()
        async with opened(RedisState(settings, clock=SYSTEM_CLOCK)) as late:
            await until(lambda: replica.command("HGET", f"{DOCUMENT}key", "value"))
            await late.get("key")
            before = late.whole
            primary.stop(kill=True)
            away = await failure_of(late)

            async def found() -> bytes | None:
                try:
                    return await value_of(late, "key")
                except StateError:
                    return None

            await until(found)

            assert before
            assert f"{SERVICE} (by Sentinel): " in away
            assert b"value" == await found()
            assert not late.whole
            assert b"master" in replica.command("ROLE")


async def test_sentinels_that_know_nothing_are_told(
    server: RedisServer, sentinel: Callable[[RedisServer], RedisServer]
) -> None:
    """Sentinels that know no primary must be reported."""
    watcher = sentinel(server)
    for url, address in (
        ("redis://other", f"127.0.0.1:{watcher.port}"),
        (f"redis://{SERVICE}", "127.0.0.1:1"),
    ):
        settings = StateSettings(url=url, sentinels=(address,))
        async with opened(RedisState(settings, clock=SYSTEM_CLOCK)) as state:
            assert "no Sentinel knows a primary; check the Sentinels" in await failure_of(state)


@pytest.mark.parametrize("known", [True, False])
async def test_a_silent_server_is_given_up_and_found_again(
    server: RedisServer, known: bool
) -> None:
    """A silent server must be given up by all callers at once, and be found again."""
    async with opened(server.state()) as other:
        await other.put("a", b"1")
    async with opened(server.state()) as state:
        if known:
            await state.get("a")
        server.send(signal.SIGSTOP)
        began = SYSTEM_CLOCK.monotonic()

        results = await asyncio.gather(*(state.get("a") for _ in range(20)), return_exceptions=True)
        took = SYSTEM_CLOCK.monotonic() - began
        server.send(signal.SIGCONT)

        assert {StateError} == {type(result) for result in results}
        assert "it does not answer within 2 s" in str(results[-1])
        assert took < 6
        assert b"1" == await value_of(state, "a")


async def test_a_silent_server_is_waited_for_once() -> None:
    """A silent server must be waited for once, not by each caller."""
    tried = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        settings = StateSettings(url=f"redis://127.0.0.1:{port}")
        state = RedisState(settings, clock=SYSTEM_CLOCK)

        answers = await asyncio.gather(*map(state.get, "abcdef"), return_exceptions=True)
        await state.aclose()

    assert {StateError} == set(map(type, answers))
    assert 1 == tried


async def test_a_cancelled_caller_leaves_nothing_behind(server: RedisServer) -> None:
    """The next one gets its own answer, and all places are free."""
    async with opened(server.state()) as state:
        for key in ("a", "b"):
            await state.put(key, key.encode())
        server.send(signal.SIGSTOP)
        for _ in range(10):
            task = asyncio.create_task(state.get("a"))
            await settle()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        server.send(signal.SIGCONT)

        assert [b"b"] * 8 == await asyncio.gather(*(value_of(state, "b") for _ in range(8)))


async def test_who_is_cancelled_ends(server: RedisServer) -> None:
    """At whichever step of an operation that comes; otherwise loops would go on for ever."""
    async with opened(server.state()) as state:
        await state.put("key", b"value")
        ends = []

        for steps in range(12):
            caller = asyncio.create_task(state.get("key"))
            for _ in range(steps):
                await asyncio.sleep(0)
            if caller.cancel():
                await asyncio.wait([caller])
                ends.append(caller.cancelled())

        assert len(ends) >= 4
        assert all(ends)


async def test_a_caller_cancelled_while_it_connects_leaves_nothing_unseen(
    start: Callable[..., RedisServer],
) -> None:
    """A connection that was not looked at is not used."""
    server = start("--maxmemory-policy", "allkeys-lru")
    async with opened(server.state()) as state:
        server.send(signal.SIGSTOP)
        task = asyncio.create_task(state.get("a"))
        await until(lambda: bool(state.server._pool._in_use_connections))
        await until(lambda: next(iter(state.server._pool._in_use_connections)).is_connected)
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.send(signal.SIGCONT)

        assert "evicts" in await failure_of(state)


async def test_the_clock_never_goes_back(server: RedisServer) -> None:
    """The state's clock must never go back, nor stand still."""
    async with opened(server.state()) as state:
        await state.put("key", b"value")
        ahead = round(SYSTEM_CLOCK.time()) + 3600
        server.command("HSET", CLOCK, "last", str(ahead * 1_000_000))

        times = [await state.update("none", lambda _, now: (None, now)) for _ in range(3)]

        assert times == sorted(set(times))
        assert ahead <= times[0] < ahead + 60
        found = await state.get("key")
        assert found is not None
        assert pytest.approx(3600, abs=60) == found.age_seconds


async def test_a_leap_of_the_clock_is_doubted(server: RedisServer) -> None:
    """After a leap of the server's clock, the data must not count as whole."""
    async with opened(server.state()) as state:
        await state.put("key", b"value")
    server.age()
    async with opened(server.state()) as state:
        await state.get("key")
        assert state.whole
        server.command("HINCRBY", CLOCK, "offset", str(int(30e6)))

        await state.get("key")

        assert not state.whole


async def test_the_clock_as_known_goes_on_and_never_back(server: RedisServer) -> None:
    """Between two answers by our own, and an answer that was slow changes nothing."""
    clock = FakeClock()
    async with opened(server.state(clock.clock)) as state:
        unknown = state.now()
        await state.get("key")
        first = state.now()
        clock.shift(10)
        second = state.now()
        await state.get("key")
        third = state.now()

        assert None is unknown
        assert first is not None
        assert second is not None
        assert third is not None
        assert pytest.approx(10) == second - first
        assert pytest.approx(0.0, abs=0.1) == third - second


async def test_what_nobody_writes_expires_but_for_the_salt(server: RedisServer) -> None:
    """Documents that are not written must expire, but for the salt."""
    async with opened(server.state()) as state:
        await salt(state)
        await state.put("old", b"1")
        await state.update("new", to(b"2"))
        lasting = [server.command("TTL", f"{DOCUMENT}{key}") for key in ("salt", "old", "new")]
        server.command("PEXPIRE", f"{DOCUMENT}old", "1")
        await until(lambda: not server.command("EXISTS", f"{DOCUMENT}old"))

        found = await state.documents("")

        assert -1 == lasting[0]
        assert all(KEPT_SECONDS - 60 < seconds <= KEPT_SECONDS for seconds in lasting[1:])
        assert ["new", "salt"] == list(found)
        assert [b"new", b"salt"] == server.command("ZRANGE", INDEX, "0", "-1")


async def test_many_documents_are_found(server: RedisServer) -> None:
    """More than are read at once."""
    async with opened(server.state()) as state:
        await asyncio.gather(*(state.put(f"a/{number}", b"%d" % number) for number in range(120)))
        await state.put("b", b"")

        found = await state.documents("a/")

        expected = sorted(f"a/{number}" for number in range(120))
        assert expected == list(found)


async def test_all_keys_are_ours(server: RedisServer) -> None:
    """All keys must have the prefix, and other keys be left alone."""
    server.command("SET", "theirs", "1")
    async with opened(server.state()) as state:
        await state.put("key", b"value")
        await state.update("other", to(b"1"))

    keys = server.command("KEYS", "*")
    assert b"1" == server.command("GET", "theirs")
    assert all(key.startswith(b"{loadfleet}:") for key in keys if key != b"theirs")


async def test_a_database_of_the_server_is_taken(server: RedisServer) -> None:
    """The number at the end of the URL."""
    async with opened(server.state(url=server.url(database=3))) as state:
        await state.put("key", b"value")

    assert [] == server.command("KEYS", "*")


async def test_a_foreign_key_is_told(server: RedisServer) -> None:
    """A key written by another program must be reported."""
    server.command("SET", INDEX, "1")
    async with opened(server.state()) as state:
        assert "another program has written a key of the exporter" in await failure_of(state)


async def test_a_change_whose_answer_got_lost_happens_once(server: RedisServer) -> None:
    """The same try, sent again, is known by its token."""
    async with opened(server.state()) as state:
        await state.put("n", b"1")
        token = server.command("HGET", f"{DOCUMENT}n", "token")
        swap = ["n", b"2", "new", 60, token, 0]

        answers = [await state._call(scripts.SWAP, ["n"], *swap) for _ in range(2)]

        assert [[1], [1]] == [answer[1:] for answer in answers]
        assert b"2" == await value_of(state, "n")


async def test_a_change_gives_way_only_so_long(server: RedisServer) -> None:
    """A change that others always precede must be given up after some seconds."""
    clock = FakeClock()
    async with opened(server.state(clock.clock)) as state, opened(server.state()) as other:
        loop = asyncio.get_running_loop()
        others = ("value", "x", "written", "1", "token")

        def change(value: bytes | None, _: float) -> tuple[bytes, None]:
            server.command("HSET", f"{DOCUMENT}n", *others, str(loop.time()))
            return b"1", None

        task = asyncio.create_task(state.update("n", change))
        while not task.done():
            await until(lambda: clock.sleepers or task.done())
            await clock.advance(1)

        with pytest.raises(StateError, match="kept changing the same document for 5 s"):
            await task
        assert b"x" == await value_of(other, "n")


async def test_a_closed_state_is_not_used(server: RedisServer) -> None:
    """Closing waits for what is under way; afterwards nothing connects."""
    state = server.state()
    writing = [asyncio.create_task(state.put(f"{number}", b"1")) for number in range(8)]
    await settle(5)

    await state.aclose()
    await state.aclose()

    results = await asyncio.gather(*writing, return_exceptions=True)
    assert all(result is True or isinstance(result, StateError) for result in results)
    assert results[0] is True
    with pytest.raises(StateError, match="closed"):
        await state.get("0")


async def test_memory_takes_over_and_gives_back(server: RedisServer) -> None:
    """While the server is away; what was changed meanwhile is in it afterwards."""
    clock = FakeClock()
    store = server.state(clock.clock)
    state = FallbackState(store, clock=clock.clock, telemetry=SelfMetrics())
    await state.update("ledger", to(b"1"))
    server.command("SAVE")
    server.stop(kill=True)

    with capture_logs() as logs:
        await state.update("ledger", to(b"2"))
        away = state.backend
        server.start()
        clock.shift(RETRY_SECONDS)
        found = await value_of(state, "ledger")

    assert "memory" == away
    assert "redis" == state.backend
    assert b"2" == found
    assert b"2" == await value_of(store, "ledger")
    assert ["state_in_memory", "state_recovered"] == [log["event"] for log in logs]
    await state.aclose()


async def test_no_password_gets_out(
    start: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """No error, log line or text of the settings may contain the password."""
    server = start("--requirepass", "right")
    settings = server.settings(password=CANARY, username=f"user-{CANARY}")
    caplog.set_level("DEBUG")
    seen = [repr(settings), str(settings)]
    with capture_logs() as logs:
        async with opened(RedisState(settings, clock=SYSTEM_CLOCK)) as state:
            for _ in range(2):
                with pytest.raises(StateError) as failed:
                    await state.get("key")
                error: BaseException | None = failed.value
                while error is not None:
                    seen += [str(error), repr(error)]
                    error = error.__cause__ or (
                        None if error.__suppress_context__ else error.__context__
                    )

    texts = [*seen, str(logs), caplog.text]
    assert not [text for text in texts if CANARY in text.replace(f"user-{CANARY}", "")]


def of_tls(reason: str) -> exceptions.RedisError:
    error = exceptions.ConnectionError("Error 1 connecting")
    error.__context__ = ssl.SSLError(1, reason)
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (exceptions.BusyLoadingError(CANARY), "it is still loading its data"),
        (exceptions.MovedError("1 127.0.0.1:7001"), "it is a cluster"),
        (exceptions.ResponseError(f"BUSY {CANARY}"), "a long script keeps it busy"),
        (exceptions.ResponseError(f"ERR -OOM command {CANARY}"), "it is full"),
        (exceptions.ResponseError(f"ERR unknown command 'AUTH' '{CANARY}'"), "refuses a command"),
        (exceptions.ReadOnlyError(CANARY), "it is a replica"),
        (exceptions.ConnectionError(CANARY), "the connection was lost"),
        (exceptions.InvalidResponse(CANARY), "the connection was lost"),
        (of_tls("x"), "TLS fails (unknown error)"),
    ],
)
def test_what_a_server_says_is_put_in_our_words(error: Exception, text: str) -> None:
    """A server's error must be reported in words of ours: its own may quote a secret."""
    said = _reason(error)

    assert text in said
    assert CANARY not in said

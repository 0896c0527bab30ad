from __future__ import annotations

import ctypes
import os
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporter.errors import StateError
from exporter.state.database import Database
from exporter.state.place import Place, network_file_system
from tests.state.stores import entries, host, no_mounts, sqlite


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /srv rw,relatime shared:1 - nfs4 files.example.com:/srv rw
31 30 254:1 / /srv/local rw,relatime - xfs /dev/vdb rw
32 27 0:41 / /mnt/with\040space rw - cifs //files/share rw
33 27 0:42 / /over rw - nfs old:/ rw
34 27 0:43 / /over rw - tmpfs tmpfs rw
35 27 0:44 / /sshfs rw - fuse.sshfs host: rw
36 27 0:45 / /container rw - fuse.fuse-overlayfs fuse-overlayfs rw
37 27 0:46 / /host rw - 9p host rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", ""),
        ("/var/lib/loadfleet", ""),
        ("/srv", "nfs4"),
        ("/srv/loadfleet/state", "nfs4"),
        ("/srvother", ""),
        ("/srv/local/state", ""),
        ("/mnt/with space/state", "cifs"),
        ("/over/state", ""),
        ("/sshfs/state", "fuse.sshfs"),
        ("/container/state", ""),
        ("/host/state", "9p"),
    ],
)
def test_a_network_file_system_is_known(folder: str, kind: str) -> None:
    """The innermost mount decides, and of two at one place the later."""
    assert kind == network_file_system(Path(folder), MOUNTS)


def test_without_a_list_of_mounts_every_folder_counts_as_local() -> None:
    """Without a list of mounts, every folder must count as local."""
    assert "" == network_file_system(Path("/srv"), "")


def test_a_folder_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """A folder on a network file system must be refused, also through a link."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far")
    mounts = f"1 1 0:1 / / rw - ext4 d rw\n2 1 0:2 / {tmp_path}/far rw - nfs4 f:/ rw\n"
    for folder in (tmp_path / "far" / "state", link / "state"):
        place = Place(folder, mounts=lambda: mounts)

        with pytest.raises(StateError, match=r"nfs4.*local file systems only.*state\.path"):
            place.check()

    assert [link] == list(tmp_path.iterdir())


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "state.db-shm", "state.lock"])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(os.mkfifo, "a named pipe", id="pipe"),
        pytest.param(lambda path: path.symlink_to("/dev/null"), "a symbolic link", id="link"),
        pytest.param(lambda path: path.symlink_to("nowhere"), "a symbolic link", id="dead link"),
        pytest.param(Path.mkdir, "a directory", id="directory"),
        pytest.param(socket_at, "a socket", id="socket"),
    ],
)
async def test_what_is_no_plain_file_is_not_opened(
    make: Callable[[Path], object],
    kind: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anything but a plain file must be left alone and be named with a remedy."""
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path(name))
    state = sqlite(tmp_path)

    with pytest.raises(StateError, match=f"{name} is {kind}.*remove it"):
        await state.put("key", b"")

    assert [name] == [path.name for path in entries(tmp_path)]
    await state.aclose()


async def test_what_takes_its_place_while_open_is_not_opened_either(tmp_path: Path) -> None:
    """A pipe in place of the open file must not be opened: it would block."""
    state = sqlite(tmp_path)
    await state.put("key", b"")
    (tmp_path / "state.db").rename(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "state.db")

    with pytest.raises(StateError, match="a named pipe"):
        await state.put("key", b"")

    await state.aclose()


@pytest.mark.parametrize("folder", ["file", "missing/state", "/sys/loadfleet"])
async def test_a_folder_that_cannot_be_is_named(folder: str, tmp_path: Path) -> None:
    """A file in its place, folders missing above it, a file system that takes nothing."""
    (tmp_path / "file").touch()
    state = sqlite(tmp_path / folder)

    with pytest.raises(StateError, match=r"cannot be used.*state\.path"):
        await state.put("key", b"")

    await state.aclose()


@contextmanager
def as_anybody() -> Iterator[None]:
    """Take root's power over files from this thread."""
    if os.geteuid() != 0:
        yield
        return
    set_user = ctypes.CDLL(None).setfsuid
    set_user(65534)
    try:
        yield
    finally:
        set_user(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that all users may enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.parametrize(("of_folder", "of_files"), [(0o555, 0o444), (0o777, 0o444), (0o777, 0)])
def test_what_may_not_be_written_is_not_used(
    open_folder: Path, of_folder: int, of_files: int
) -> None:
    """Folder or file may be read at most: the message says what is missing, all stays as it was."""
    place = Place(open_folder, mounts=no_mounts)
    maker = Database(place, host=host())
    maker.read(lambda _, now: now)
    maker.close()
    (open_folder / "state.lock").chmod(0o666)
    place.file.chmod(of_files)
    open_folder.chmod(of_folder)
    before = place.file.read_bytes() if of_files else None
    database = Database(place, host=host())

    with as_anybody(), pytest.raises(StateError, match=r"(give|let|make).* write"):
        database.write(lambda _, now: now)

    if before is not None:
        assert before == place.file.read_bytes()
    assert [] == place.damaged()


def test_only_the_newest_damaged_files_are_kept(tmp_path: Path) -> None:
    """Damage that comes again and again does not fill the disk."""
    place = Place(tmp_path, mounts=no_mounts)
    for minute in (0, 0, 1, 2, 3):
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"state.db{suffix}").touch()
        place.set_aside(60.0 * minute)

    names = [f"state.db.damaged-19700101T000{minute}00Z" for minute in (1, 2, 3)]
    assert names == [path.name for path in place.damaged()]
    assert {f"{name}{suffix}" for name in names for suffix in ("", "-wal", "-shm")} == {
        path.name for path in tmp_path.iterdir()
    }


def test_the_lock_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """The lock of a stopped process must not be waited for without a limit."""
    place = Place(tmp_path, mounts=no_mounts)
    pauses: list[float] = []
    other = Place(tmp_path, mounts=no_mounts, pause=pauses.append)

    with place.locked(), pytest.raises(StateError, match="another process"), other.locked():
        pass

    assert 5.0 == pytest.approx(sum(pauses))

"""The folder of the state: its checks, its lock, and the renaming of damaged files."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.files import kind_of
from exporter.errors import StateError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


FILE = "state.db"

#: Suffixes of the files that SQLite creates beside the database file.
SUFFIXES = ("-wal", "-shm", "-journal")

#: The part of a damaged file's new name between the old name and the time.
DAMAGED = ".damaged-"

#: How many damaged files are kept for analysis.
DAMAGED_KEPT = 3

#: How long to wait for the lock, which other processes hold only while they open the file.
LOCK_SECONDS = 5.0
_LOCK_PAUSE_SECONDS = 0.01

#: File systems whose locks or shared memory do not hold between machines.
NETWORK = frozenset(
    {"9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre"}
    | {"ncpfs", "nfs", "nfs4", "orangefs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf"}
    | {"vmhgfs"}
)

#: The root file system of a rootless container, which is local although it is a FUSE one.
_LOCAL_FUSE = "fuse.fuse-overlayfs"


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # not Linux: the mounts are unknown


class Place:
    """The folder that holds the state's file.

    Attributes:
        folder: The path of the folder.
        file: The path of the file.
        wal: The path of SQLite's write-ahead log, with the changes that are not yet in the file.
    """

    def __init__(  # noqa: PLR0913 - all but the first by keyword
        self,
        folder: Path,
        *,
        name: str = FILE,
        setting: str = "state.path",
        parents: bool = False,
        mounts: Callable[[], str] = _mounts,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a place; this accesses no files yet.

        Args:
            folder: The path of the folder.
            name: The file's name; its lock file has the suffix `.lock` instead.
            setting: The setting that names the folder, for messages.
            parents: Whether to create the parent folders, too.
            mounts: Returns the mounted file systems, in the format of `/proc/self/mountinfo`.
            pause: Waits for a number of seconds.
        """
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100 - nothing is looked up
        self.file = self.folder / name
        self.wal = self.folder / f"{name}-wal"
        self._lock = self.file.with_suffix(".lock")
        self._setting = setting
        self._parents = parents
        self._mounts = mounts
        self._pause = pause

    def check(self) -> None:
        """Check that the folder is on a local file system, and that its files are regular ones.

        Raises:
            StateError: The check fails.
        """
        mounts = self._mounts()
        # First without resolving links: accessing an unreachable network file system would hang.
        for resolved in (False, True):
            folder = os.path.realpath(self.folder) if resolved else self.folder
            kind = network_file_system(Path(folder), mounts)
            if kind:
                raise StateError(
                    f"{self.folder} is on a network file system ({kind}); {self.file.name} takes"
                    f" local file systems only, name another folder in {self._setting}"
                )
        for path in (self.file, *self._companions(self.file), self._lock):
            self._check_file(path)

    def make(self) -> None:
        """Create the file if it is missing, readable only by its owner.

        Raises:
            StateError: The file cannot be created.
        """
        try:
            # With O_EXCL an existing file is not opened: closing it would release the locks that
            # SQLite holds on it for this process.
            self._close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise self._unusable(error) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder if it is missing, and hold its lock, which guards changes of its files.

        Raises:
            StateError: The folder or the lock cannot be used.
        """
        lock = self._open_lock()
        try:
            self._wait_for(lock)
            yield
        finally:
            self._close(lock)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock until the block or the process ends, unless another process holds it.

        Yields:
            Whether this process has the lock.

        Raises:
            StateError: The folder or the lock cannot be used.
        """
        lock = self._open_lock()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close(lock)
            yield False
            return
        except OSError as error:
            self._close(lock)
            raise self._unusable(error) from error
        try:
            yield True
        finally:
            self._close(lock)

    def identity(self) -> tuple[int, int] | None:
        """Return the device and inode of the file, `None` if there is no file."""
        try:
            found = self.file.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def size(self) -> int:
        """Return the size of the file and of SQLite's files beside it, in bytes."""
        total = 0
        for path in (self.file, *self._companions(self.file)):
            try:
                total += path.lstat().st_size
            except OSError:
                continue
        return total

    def free(self) -> int:
        """Return the free space of the disk, in bytes."""
        return shutil.disk_usage(self.folder).free

    def set_aside(self, unix: float) -> Path:
        """Rename the damaged file, and delete all but the newest damaged files.

        Args:
            unix: The current Unix time, in seconds.

        Returns:
            The new path of the file.

        Raises:
            StateError: The file cannot be renamed.
        """
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(unix))
        target = self.folder / f"{self.file.name}{DAMAGED}{at}"
        count = 1
        while target.exists():
            count += 1
            target = self.folder / f"{self.file.name}{DAMAGED}{at}.{count}"
        try:
            # The file first: SQLite discards the files that it finds beside a new, empty file.
            self.file.rename(target)
            for old, new in zip(self._companions(self.file), self._companions(target), strict=True):
                if old.exists():
                    old.rename(new)
            for path in self.damaged()[:-DAMAGED_KEPT]:
                for each in (path, *self._companions(path)):
                    each.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        return target

    def damaged(self) -> list[Path]:
        """Return the damaged files that were set aside, the newest last."""
        found = self.folder.glob(f"{self.file.name}{DAMAGED}*")
        return sorted(
            (path for path in found if not path.name.endswith(SUFFIXES)),
            key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)],
        )

    def _companions(self, file: Path) -> tuple[Path, ...]:
        return tuple(file.with_name(file.name + suffix) for suffix in SUFFIXES)

    def _check_file(self, path: Path) -> None:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error
        if not stat.S_ISREG(mode):
            raise StateError(
                f"{path} is {kind_of(mode)} and not a file; remove it, or change {self._setting}"
            )

    def _open_lock(self) -> int:
        try:
            self.folder.mkdir(mode=0o700, parents=self._parents, exist_ok=True)
            return os.open(self._lock, os.O_RDWR | os.O_CREAT | _SAFELY, 0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def _wait_for(self, lock: int) -> None:
        for _ in range(round(LOCK_SECONDS / _LOCK_PAUSE_SECONDS)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._pause(_LOCK_PAUSE_SECONDS)
            except OSError as error:
                raise self._unusable(error) from error
            else:
                return
        raise StateError(
            f"another process has held {self._lock} for {LOCK_SECONDS:.0f} s; end that process"
        )

    def _close(self, descriptor: int) -> None:
        """Close a file; if root has created it, give it to the folder's owner first."""
        try:
            owner = self.folder.stat()
            if os.geteuid() == 0 and owner.st_uid != os.fstat(descriptor).st_uid:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"{self.folder} cannot be used: {error.strerror or error}; let the exporter's user"
            f" write to this folder, or name another folder in {self._setting}"
        )


_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def network_file_system(folder: Path, mounts: str) -> str:
    """Return the type of a folder's network file system, empty if the folder is local.

    Args:
        folder: An absolute path; it need not exist.
        mounts: The mounted file systems, in the format of `/proc/self/mountinfo`.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 5 or not rest[0]:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        # Of two file systems with the same mount point, the later one hides the earlier one.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest[0]
    remote = kind in NETWORK or (kind.startswith("fuse.") and kind != _LOCAL_FUSE)
    return kind if remote else ""

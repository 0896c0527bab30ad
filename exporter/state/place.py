"""The folder of the state: what may lie there, its lock, and setting aside what is damaged."""

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

#: What SQLite keeps beside the file.
SUFFIXES = ("-wal", "-shm", "-journal")

#: Between the file's name and the time at which it was set aside.
DAMAGED = ".damaged-"

#: So many damaged files are kept, for whoever wants to look into them.
DAMAGED_KEPT = 3

#: How long the lock may be held by others; whoever holds it opens the file, which is quick.
LOCK_SECONDS = 5.0
_LOCK_PAUSE_SECONDS = 0.01

#: File systems whose locks or shared memory do not hold between machines.
NETWORK = frozenset(
    {"9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre"}
    | {"ncpfs", "nfs", "nfs4", "orangefs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf"}
    | {"vmhgfs"}
)

#: A container's own layers, where root is not allowed to mount others.
_LOCAL_FUSE = "fuse.fuse-overlayfs"


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # not Linux: nothing is known of its mounts


class Place:
    """The folder that holds the state's file.

    Attributes:
        folder: Where it is.
        file: The file in it.
        wal: SQLite's log of the changes that are not yet in the file.
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
        """Name the place; nothing is touched yet.

        Args:
            folder: Where it is.
            name: The file's name; its lock has the same one with another ending.
            setting: What names another folder.
            parents: Whether to make the folders above as well.
            mounts: Returns what is mounted where, as in `/proc/self/mountinfo`.
            pause: Waits for that many seconds.
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
        """Let only a local folder pass, with plain files or none.

        Raises:
            StateError: It is something else.
        """
        mounts = self._mounts()
        # First by its name alone: to look at a network file system that is away would hang.
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
        """Make the file where it is missing, for its owner alone.

        Raises:
            StateError: It cannot be made.
        """
        try:
            # One that is there is not opened: to close it again would end the locks that SQLite
            # holds on it for this process.
            self._close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise self._unusable(error) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder where it is missing, and hold the lock of all who change what is in it.

        Raises:
            StateError: It cannot be had.
        """
        lock = self._open_lock()
        try:
            self._wait_for(lock)
            yield
        finally:
            self._close(lock)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock for long, unless another process does; it ends with the process at last.

        Yields:
            True if the lock is ours.

        Raises:
            StateError: It cannot be had.
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
        """Return what tells the file from any other that may take its place, `None` without one."""
        try:
            found = self.file.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def size(self) -> int:
        """Return the bytes of the file and of what SQLite keeps beside it."""
        total = 0
        for path in (self.file, *self._companions(self.file)):
            try:
                total += path.lstat().st_size
            except OSError:
                continue
        return total

    def free(self) -> int:
        """Return the bytes that the disk has left for us."""
        return shutil.disk_usage(self.folder).free

    def set_aside(self, unix: float) -> Path:
        """Rename the file, so that a new one can be made; only the newest such files are kept.

        Args:
            unix: When, in seconds since the epoch.

        Returns:
            Where it is now.

        Raises:
            StateError: It cannot be renamed.
        """
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(unix))
        target = self.folder / f"{self.file.name}{DAMAGED}{at}"
        count = 1
        while target.exists():
            count += 1
            target = self.folder / f"{self.file.name}{DAMAGED}{at}.{count}"
        try:
            # The file first: what SQLite finds beside a new, empty file is thrown away.
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
        """Return what was set aside, the newest last."""
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
            f"{self._lock} is held by another process for {LOCK_SECONDS:.0f} s; end it"
        )

    def _close(self, descriptor: int) -> None:
        """Close a file; root leaves it to the folder's owner, who must be able to use it."""
        try:
            owner = self.folder.stat()
            if os.geteuid() == 0 and owner.st_uid != os.fstat(descriptor).st_uid:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"{self.folder} cannot be used: {error.strerror or error}; make it a folder that the"
            f" exporter's user may write to, or name another in {self._setting}"
        )


_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def network_file_system(folder: Path, mounts: str) -> str:
    """Return the kind of network file system that a folder is on, empty if on none.

    Args:
        folder: An absolute path; it need not exist.
        mounts: What is mounted where, as in `/proc/self/mountinfo`.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 5 or not rest[0]:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        # Of two at one place the later hides the earlier.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest[0]
    remote = kind in NETWORK or (kind.startswith("fuse.") and kind != _LOCAL_FUSE)
    return kind if remote else ""

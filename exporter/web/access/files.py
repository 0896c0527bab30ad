"""The web configuration file and the files it names, read together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from exporter.config import yaml_file as config_file
from exporter.errors import ConfigurationError
from exporter.web.access.config import WebConfig, parse


#: Enough of a file's status to notice every change of its content, place or rights, also behind a
#: symbolic link that was swapped: change time, size, device and number. `None` is no file.
Identity = tuple[int, int, int, int] | None


class LoadedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files as they were at one time.

    Attributes:
        config: What the first file says, `None` if it is wrong.
        contents: The files that could be read.
        problems: What is wrong, each a sentence with its place.
        seen: All files, the missing ones included, as they were before they were read.
    """

    config: WebConfig | None
    contents: Mapping[Path, bytes]
    problems: tuple[str, ...]
    seen: Mapping[Path, Identity]

    @property
    def changed_timestamp_seconds(self) -> float:
        """When the newest of the files changed."""
        return max((seen[0] for seen in self.seen.values() if seen), default=0) / 1e9

    def is_current(self) -> bool:
        """Return whether the files look as they did when they were read."""
        return all(identity(path) == seen for path, seen in self.seen.items())


def read(path: Path) -> LoadedFiles:
    """Read a web configuration file and all it names; what is wrong is among the result."""
    seen: dict[Path, Identity] = {}
    contents: dict[Path, bytes] = {}
    problems: list[str] = []

    def take(file: Path) -> None:
        # Looked at before it is read, so that a change in between is noticed the next time.
        seen[file] = identity(file)
        try:
            contents[file] = config_file.read(file)
        except ConfigurationError as error:
            problems.extend(error.problems)

    take(path)
    config = None
    if path in contents:
        try:
            config = parse(contents[path], path=path)
        except ConfigurationError as error:
            problems.extend(error.problems)
    if config is not None and config.tls is not None:
        for file in config.tls.files():
            take(file)
    return LoadedFiles(config=config, contents=contents, problems=tuple(problems), seen=seen)


def identity(path: Path) -> Identity:
    """Look at a file without reading it."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_ctime_ns, status.st_size, status.st_dev, status.st_ino

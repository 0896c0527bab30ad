"""`python -m deploy.release` prepares a release, checks its tag, and prints its notes."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.release import changelog, preparation, tag, versions
from deploy.release.repository import BRANCH, RefusalError


if TYPE_CHECKING:
    from collections.abc import Sequence


_NEXT = """Look at the commit with `git show`, then publish it:

    git tag --annotate v{version} --message "loadfleet-exporter {version}"
    git push --atomic origin {branch} v{version}
"""


def main(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns:
        The exit code: 0, or 1 if the release is refused.
    """
    given = _parser().parse_args(arguments)
    root = Path.cwd()
    try:
        if given.command == "check":
            lines = [f"{name}={value}\n" for name, value in tag.facts(root, given.tag).items()]
            sys.stdout.write("".join(lines))
        else:
            version = versions.parsed(given.version)
            if given.command == "notes":
                log = (root / changelog.NAME).read_text(encoding="utf-8")
                sys.stdout.write(changelog.notes(log, version))
            else:
                today = datetime.now(UTC).date()
                preparation.prepare(root, version, today, checked=given.checked)
                sys.stdout.write(_NEXT.format(version=version, branch=BRANCH))
    except RefusalError as refusal:
        sys.stderr.write(f"no release: {refusal}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare", help="test this commit and make the release commit")
    preparing.add_argument("version", help="1.2.3, or 1.2.3rc1 for a pre-release")
    preparing.add_argument(
        "--checked",
        action="store_true",
        help="check on GitHub that ci.yml passed on this commit, instead of running .ci/run",
    )
    checking = commands.add_parser("check", help="check a tag and print the facts for publishing")
    checking.add_argument("tag", help="v1.2.3")
    noting = commands.add_parser("notes", help="print the section of the change log")
    noting.add_argument("version", help="1.2.3")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

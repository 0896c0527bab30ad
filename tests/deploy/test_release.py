"""`just release`, and the workflow's checks of a tag, in clones."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.release import changelog, versions
from deploy.release.versions import Version, parsed
from tests.deploy.locks import ROOT
from tests.deploy.release import NEXT, NOW, publish


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.deploy.release import Clone


pytestmark = pytest.mark.slow

#: Lines with this project's version, not with the same number of another project.
_OURS = re.compile(r"loadfleet|newTag|[vV]ersion[\"']?[:=]|VERSION")


def test_a_release_sets_the_version_wherever_it_is_repeated(released: Clone) -> None:
    """After the commit no file may send its reader to the version before."""
    assert f"Release {NEXT}" == released.git("log", "-1", "--format=%s")
    assert "" == released.git("status", "--porcelain")
    assert NEXT == versions.current(released.root)
    assert [] == list(versions.mistaken(released.root, NEXT))
    assert [] == left(released, NOW)


def left(clone: Clone, version: Version) -> list[str]:
    """Return the lines that still name a version of the project, without locks and history.

    In recorded replies and their tests, versions are the vendors'.
    """
    found = clone.run(
        *("git", "grep", "--line-number", "--fixed-strings", "--word-regexp", str(version), "--"),
        *(".", ":!CHANGELOG.md", ":!*.txt", ":!*package-lock.json", ":!tests/fixtures"),
        ":!tests/sources",
    )
    return [line for line in found.stdout.splitlines() if _OURS.search(line)]


def test_a_release_changes_no_more_than_version_and_change_log(released: Clone) -> None:
    """A release commit must change the version and the change log, and nothing else."""
    difference = released.git("show", "--unified=0")

    removed = re.findall(r"^-(?!--)(.*)$", difference, re.MULTILINE)
    added = re.findall(r"^\+(?!\+\+)(.*)$", difference, re.MULTILINE)
    heading, *others = sorted(filter(None, added), key=lambda line: not line.startswith("## "))
    assert heading.startswith(f"## {NEXT} (")
    assert others == [
        line.replace(NOW.spelled("-", "."), str(NEXT)).replace(str(NOW), str(NEXT))
        for line in removed
    ]


def test_what_was_unreleased_becomes_a_section(clone: Clone, released: Clone) -> None:
    """The section has the date, and the next changes find their heading empty."""
    before = changelog.section(clone.read(changelog.NAME), changelog.UNRELEASED)
    after = released.read(changelog.NAME)

    date = r"\d{4}-\d\d-\d\d"
    assert re.search(rf"^## Unreleased\n\n## {NEXT} \({date}\)\n\n", after, re.MULTILINE)
    assert before == changelog.section(after, str(NEXT))


def test_the_printed_commands_publish_the_commit(released: Clone) -> None:
    """The printed commands must push the commit and the tag, which the workflow then accepts."""
    head = released.git("rev-parse", "HEAD")

    assert head == released.git("rev-parse", "origin/main")
    assert head == released.git("rev-parse", f"v{NEXT}^{{commit}}")
    assert f"refs/tags/v{NEXT}" in released.git("ls-remote", "--tags", "origin")
    assert f"version={NEXT}\n" in released.release("check", f"v{NEXT}").stdout


def test_the_tests_are_run_before_anything_is_changed(released: Clone) -> None:
    """The tests must run on the commit that is released, before anything is changed."""
    assert ["run "] == released.called()


def test_github_is_believed_about_this_very_commit(clone: Clone) -> None:
    """With --checked the tests are not run again, where GitHub has a passed run of the commit."""
    clone.stub("gh", "echo 1")
    head = clone.git("rev-parse", "HEAD")

    done = clone.release("prepare", str(NEXT), "--checked")

    assert 0 == done.returncode, done.stderr
    (called,) = clone.called()
    assert f"gh run list --workflow ci.yml --commit {head} --status success " in called


def test_just_takes_version_and_flag(clone: Clone) -> None:
    """The verb that the page names runs what is tested here."""
    done = clone.run("just", "--dry-run", "release", str(NEXT), "--checked")

    assert f"python -m deploy.release prepare {NEXT} --checked\n" == done.stderr


def nothing(_: Clone) -> None:
    """Leave the clone as it is."""


def change_a_file(clone: Clone) -> None:
    clone.replace("README.md", "# loadfleet-exporter", "# Something")


def add_a_file(clone: Clone) -> None:
    clone.write("notes.txt", "mine\n")


def leave_main(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--create", "mine")


def tag_it(clone: Clone) -> None:
    clone.git("tag", f"v{NEXT}")


def tell_nothing(clone: Clone) -> None:
    log = clone.read(changelog.NAME)
    clone.write(changelog.NAME, log.replace("## Unreleased\n", "## Unreleased\n\n## 0.0.1\n", 1))
    clone.commit()


def break_the_documents(clone: Clone) -> None:
    clone.write("deploy/docs/broken.md", "<!-- begin: nothing -->\n<!-- end -->\n")
    clone.commit()


@pytest.mark.parametrize(
    ("arguments", "spoil", "environ", "reason"),
    [
        ((str(NEXT.series),), nothing, {}, "is no version; write 1.2.3, or 1.2.3rc1"),
        ((f"v{NEXT}",), nothing, {}, "is no version"),
        ((str(NOW),), nothing, {}, f"exporter/__init__.py: the version is {NOW}; release a higher"),
        ((str(NOW._replace(stage="a", number=0)),), nothing, {}, "release a higher one"),
        ((str(NEXT),), change_a_file, {}, "not committed; commit or remove them:\n M README.md"),
        ((str(NEXT),), add_a_file, {}, "not committed; commit or remove them:\n?? notes.txt"),
        ((str(NEXT),), leave_main, {}, "this is the branch mine; releases are made on main"),
        ((str(NEXT),), tag_it, {}, f"the tag v{NEXT} already exists; release a higher"),
        (
            (str(NEXT),),
            tell_nothing,
            {},
            'CHANGELOG.md: no entries below "## Unreleased"; list the changes for users',
        ),
        ((str(NEXT),), nothing, {"RUN_CODE": "3"}, "`.ci/run` failed with 3; fix the errors"),
        ((str(NEXT), "--checked"), nothing, {}, "ci.yml has not passed on "),
        ((str(NEXT),), break_the_documents, {}, "`just docs` failed with 1; fix the errors"),
    ],
)
def test_a_refusal_says_why_and_changes_nothing(
    arguments: tuple[str, ...],
    spoil: Callable[[Clone], None],
    environ: dict[str, str],
    reason: str,
    clone: Clone,
) -> None:
    """A release that cannot be made must leave the tree as it was found."""
    clone.stub("gh", "echo 0")
    spoil(clone)
    before = [clone.git("rev-parse", "HEAD"), clone.git("status", "--porcelain"), clone.git("diff")]

    done = clone.release("prepare", *arguments, **environ)

    assert 1 == done.returncode
    assert reason in done.stderr
    assert before == [
        clone.git("rev-parse", "HEAD"),
        clone.git("status", "--porcelain"),
        clone.git("diff"),
    ]


def test_a_prerelease_is_spelled_as_each_reader_asks(clone: Clone) -> None:
    """Helm takes no version that Python takes, and Python none that Helm takes."""
    chart = "deploy/helm/loadfleet-exporter/Chart.yaml"
    page = "deploy/docs/how-to/install.md"
    clone.write(chart, f'apiVersion: v2\nversion: {NOW}\nappVersion: "{NOW}"\n')
    clone.write(
        page,
        f"uvx loadfleet-exporter@{NOW}\n"
        f"helm install it oci://ghcr.io/loadfleet/charts/loadfleet-exporter \\\n  --version {NOW}\n"
        f"loadfleet-exporter:{NOW} oci://ghcr.io/loadfleet/charts/loadfleet-exporter:{NOW}\n"
        f"helm install other oci://ghcr.io/else/charts/other --version {NOW}\n"
        f"loadfleet-exporter-{NOW}.tgz loadfleet-exporter-{NOW}.cdx.json\n"
        f"loadfleet-exporter_{NOW}_amd64.deb loadfleet_exporter-{NOW}.tar.gz\n"
        f"https://github.com/loadfleet/loadfleet-exporter/releases/download/v{NOW}/SHA256SUMS\n",
    )
    clone.commit()

    clone.release("prepare", f"{NEXT}rc1")

    assert f'apiVersion: v2\nversion: {NEXT}-rc.1\nappVersion: "{NEXT}rc1"\n' == clone.read(chart)
    assert (
        f"uvx loadfleet-exporter@{NEXT}rc1\n"
        "helm install it oci://ghcr.io/loadfleet/charts/loadfleet-exporter \\\n"
        f"  --version {NEXT}-rc.1\n"
        f"loadfleet-exporter:{NEXT}rc1 "
        f"oci://ghcr.io/loadfleet/charts/loadfleet-exporter:{NEXT}-rc.1\n"
        f"helm install other oci://ghcr.io/else/charts/other --version {NOW}\n"
        f"loadfleet-exporter-{NEXT}-rc.1.tgz loadfleet-exporter-{NEXT}rc1.cdx.json\n"
        f"loadfleet-exporter_{NEXT}rc1_amd64.deb loadfleet_exporter-{NEXT}rc1.tar.gz\n"
        f"https://github.com/loadfleet/loadfleet-exporter/releases/download/v{NEXT}rc1/SHA256SUMS\n"
    ) == clone.read(page)


def test_versions_compare_as_pip_compares_them() -> None:
    """A candidate is before its release and behind the release before."""
    order = ["1.2.3", "1.2.4a1", "1.2.4b1", "1.2.4rc1", "1.2.4rc10", "1.2.4", "1.10.0"]

    assert order == [str(each) for each in sorted(map(parsed, reversed(order)))]


def test_this_checkout_names_one_version() -> None:
    """Every document and manifest must name the version of the sources."""
    assert [] == list(versions.mistaken(ROOT, NOW))


# -- The tag ------------------------------------------------------------------------------------


def names(clone: Clone, tag: str) -> list[str]:
    """Return the image's tags that would be published."""
    done = clone.release("check", tag)
    assert 0 == done.returncode, done.stderr
    (images,) = re.findall(r"^images=(.+)$", done.stdout, re.MULTILINE)
    return [
        image.removeprefix("ghcr.io/loadfleet/loadfleet-exporter:") for image in images.split(",")
    ]


def test_a_tag_is_checked_before_anything_is_installed(released: Clone) -> None:
    """The workflow's first job has Python and git, and no environment of the project."""
    done = released.run(sys.executable, "-S", "-m", "deploy.release", "check", f"v{NEXT}")

    assert 0 == done.returncode, done.stderr


def test_a_release_moves_the_tags_that_move(released: Clone) -> None:
    """A release must move the tags `latest` and of its series."""
    assert [str(NEXT), NEXT.series, "latest"] == names(released, f"v{NEXT}")


def test_a_prerelease_moves_no_tag(clone: Clone) -> None:
    """A pre-release must move no other tag."""
    publish(clone, f"{NEXT}rc1")

    done = clone.release("check", f"v{NEXT}rc1").stdout
    assert [f"{NEXT}rc1"] == names(clone, f"v{NEXT}rc1")
    assert "\nprerelease=true\nlatest=false\n" in done


def test_an_old_release_moves_no_tag_back(tagged: Clone) -> None:
    """A workflow that is run again after the next release must not take its tags."""
    tagged.git("tag", f"v{NEXT._replace(patch=1)}")
    tagged.git("tag", "v999.0.0")
    tagged.git("tag", "vendor")

    assert [str(NEXT)] == names(tagged, f"v{NEXT}")


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("v1.2.3", f"the tag is v1.2.3, but {versions.SOURCE} has the version {NEXT}; delete"),
        (str(NEXT), f"the tag is {NEXT}, but"),
        ("vnext", "'next' is no version"),
    ],
)
def test_a_tag_of_another_version_is_refused(tag: str, reason: str, released: Clone) -> None:
    """A tag that differs from the version must be refused."""
    done = released.release("check", tag)

    assert (1, "") == (done.returncode, done.stdout)
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        (
            "deploy/docs/how-to/kubernetes.md",
            f"newTag: {NEXT}",
            "newTag: 0.0.9",
            "the version is 0.0.9; set it with",
        ),
        (changelog.NAME, f"## {NEXT}", "## Soon", f'there is no heading "## {NEXT}"; write it'),
    ],
)
def test_a_release_by_hand_that_forgets_a_place_is_refused(
    name: str, old: str, new: str, reason: str, tagged: Clone
) -> None:
    """A release whose files name different versions must be refused."""
    tagged.replace(name, old, new)

    done = tagged.release("check", f"v{NEXT}")

    assert (1, "") == (done.returncode, done.stdout)
    assert reason in done.stderr


def test_a_tag_beside_main_is_refused(tagged: Clone) -> None:
    """A tag on a commit that is not on main must be refused."""
    tagged.git("commit", "--quiet", "--allow-empty", "--message", "Go on")

    done = tagged.release("check", f"v{NEXT}")

    assert 1 == done.returncode
    assert "is not on main; merge it, and tag it there" in done.stderr


def test_notes_are_the_section_with_links_that_lead_somewhere(tagged: Clone) -> None:
    """A reader of GitHub's page has no repository beside it."""
    tagged.replace(
        changelog.NAME, "It can be released.", "See [the page](deploy/docs/alerts.md#one)."
    )

    notes = tagged.release("notes", str(NEXT)).stdout

    link = f"https://github.com/loadfleet/loadfleet-exporter/blob/v{NEXT}/deploy/docs/alerts.md#one"
    assert notes.startswith(f"- See [the page]({link}).\n")
    assert "\n## " not in notes

"""The scripts of the release workflow, each run in a clone as the runner would run it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.deploy.install import commands
from tests.deploy.release import NEXT, NOW
from tests.deploy.workflows import FOLDER, RELEASE, perform, step


if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.deploy.release import Clone


pytestmark = pytest.mark.slow


def test_the_checked_tag_gives_what_the_jobs_read(tagged: Clone, tmp_path: Path) -> None:
    """A name that the check does not print would be an empty text wherever it is used."""
    output = tmp_path / "output"

    done = perform(
        *(tagged, "verify", "Compare the tag with version, change log and branch"),
        GITHUB_REF_NAME=f"v{NEXT}",
        GITHUB_OUTPUT=str(output),
    )

    assert 0 == done.returncode, done.stderr
    printed = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert set(RELEASE["jobs"]["verify"]["outputs"]) == set(printed)
    assert all(printed.values())
    read = re.findall(r"needs\.verify\.outputs\.(\w+)", (FOLDER / "release.yml").read_text())
    assert set(read) == set(printed)


def test_a_tag_of_another_version_ends_the_workflow(tagged: Clone, tmp_path: Path) -> None:
    """The step must fail, also where its output goes through a pipe."""
    done = perform(
        *(tagged, "verify", "Compare the tag with version, change log and branch"),
        GITHUB_REF_NAME="v999.0.0",
        GITHUB_OUTPUT=str(tmp_path / "output"),
    )

    assert 1 == done.returncode
    assert "the tag is v999.0.0, but exporter/__init__.py has the version" in done.stderr


def build(clone: Clone, dist: Path, folder: Path) -> None:
    """Run the build steps, with finished files in place of the builds."""
    for name in ("build", "helm", "deb"):
        script = 'exec cp -t "$1" "$BUILT"/*' if name == "build" else ""
        clone.write(f".ci/{name}", f"#!/bin/bash\n{script}\n")
        (clone.root / ".ci" / name).chmod(0o755)
    (clone.root / "dist").mkdir()
    for name in ("Build", "Write checksums and notes"):
        done = perform(
            *(clone, "build", name),
            BUILT=str(dist),
            RUNNER_TEMP=str(folder),
            VERSION=str(NEXT),
        )
        assert 0 == done.returncode, done.stderr


def test_the_build_leaves_files_checksums_and_notes(
    tagged: Clone, dist: Path, tmp_path: Path
) -> None:
    """The workflow must upload exactly the built files, with checksums that match."""
    build(tagged, dist, tmp_path)

    checked = tagged.run("bash", "-c", "cd dist && sha256sum --check --strict SHA256SUMS")
    assert 0 == checked.returncode, checked.stdout + checked.stderr
    built = {path.name for path in dist.iterdir()}
    assert built == set(re.findall(r"^(\S+): OK$", checked.stdout, re.MULTILINE))
    assert tagged.read("notes.md") == tagged.release("notes", str(NEXT)).stdout
    for name in ("Keep sdist and wheel for PyPI", "Keep everything for the release"):
        given = step("build", name)["with"]
        assert "error" == given["if-no-files-found"]
        assert all(list(tagged.root.glob(each)) for each in given["path"].split())


def test_pypi_gets_sdist_and_wheel_alone(tagged: Clone, dist: Path, tmp_path: Path) -> None:
    """PyPI refuses an upload with anything else in it."""
    build(tagged, dist, tmp_path)

    patterns = step("build", "Keep sdist and wheel for PyPI")["with"]["path"].split()
    assert [
        f"loadfleet_exporter-{NOW}-py3-none-any.whl",
        f"loadfleet_exporter-{NOW}.tar.gz",
    ] == sorted(path.name for pattern in patterns for path in tagged.root.glob(pattern))


def test_the_pushed_chart_is_attested_by_its_digest(tagged: Clone, tmp_path: Path) -> None:
    """Helm prints the digest among other lines; without it there is nothing to attest."""
    tagged.stub("helm", 'echo "Pushed: ghcr.io/x:1.0.0" >&2; echo "Digest: sha256:abc" >&2')
    tagged.write(f"files/dist/loadfleet-exporter-{NEXT}.tgz", "chart")
    output = tmp_path / "output"

    done = perform(tagged, "chart", "Push", GITHUB_OUTPUT=str(output))

    assert 0 == done.returncode, done.stderr
    assert "digest=sha256:abc\n" == output.read_text()
    assert [
        f"helm push files/dist/loadfleet-exporter-{NEXT}.tgz oci://ghcr.io/loadfleet/charts"
    ] == tagged.called()


def test_a_chart_that_is_refused_ends_the_job(tagged: Clone, tmp_path: Path) -> None:
    """A push that failed must not be attested."""
    tagged.stub("helm", "exit 1")
    tagged.write(f"files/dist/loadfleet-exporter-{NEXT}.tgz", "chart")

    assert 0 != perform(tagged, "chart", "Push", GITHUB_OUTPUT=str(tmp_path / "o")).returncode


def publish_release(clone: Clone) -> subprocess.CompletedProcess[str]:
    clone.write("files/dist/SHA256SUMS", "")
    return perform(
        *(clone, "release", "Release"),
        GITHUB_REF_NAME="v1.2.3",
        VERSION="1.2.3",
        PRERELEASE="false",
        LATEST="true",
    )


def test_the_release_is_a_draft_until_its_files_are_there(tagged: Clone) -> None:
    """A release must stay a draft until all its files are uploaded."""
    tagged.stub("gh", '[ "$2" != view ]')

    assert 0 == publish_release(tagged).returncode

    _, created, uploaded, edited = tagged.called()
    assert created.startswith("gh release create v1.2.3 --draft --verify-tag ")
    assert created.endswith("--notes-file files/notes.md")
    assert "gh release upload v1.2.3 --clobber files/dist/SHA256SUMS" == uploaded
    assert "gh release edit v1.2.3 --draft=false --prerelease=false --latest=true" == edited


def test_a_release_that_was_begun_is_completed(tagged: Clone) -> None:
    """A second run after a half failure takes the draft that the first has left."""
    tagged.stub("gh")

    assert 0 == publish_release(tagged).returncode

    assert ["view", "upload", "edit"] == [call.split()[2] for call in tagged.called()]


def test_a_release_whose_files_fail_stays_a_draft(tagged: Clone) -> None:
    """Files that did not arrive must not be announced."""
    tagged.stub("gh", '[ "$2" != upload ]')

    assert 0 != publish_release(tagged).returncode

    assert "edit" not in [call.split()[2] for call in tagged.called()]


# -- A user's side ------------------------------------------------------------------------------


def download(clone: Clone, dist: Path, folder: Path) -> Path:
    """Return a folder with the wheel, for which `curl` finds the rest of the release."""
    build(clone, dist, folder)
    place = f"https://github.com/loadfleet/loadfleet-exporter/releases/download/v{NOW}"
    clone.stub("curl", f'[ "${{2%/*}}" = {place} ] && cp "{clone.root}/dist/${{2##*/}}" .')
    downloads = folder / "downloads"
    downloads.mkdir()
    shutil.copy(next(dist.glob("*.whl")), downloads)
    return downloads


def test_a_download_is_verified_as_the_page_tells(
    tagged: Clone, dist: Path, tmp_path: Path
) -> None:
    """The checksums of a release prove a file that is whole."""
    folder = download(tagged, dist, tmp_path)
    checksums, _ = commands("Verify a download")

    done = tagged.run("bash", "-ec", f"cd {folder}\n{checksums}")

    assert 0 == done.returncode, done.stderr
    assert f"loadfleet_exporter-{NOW}-py3-none-any.whl: OK\n" == done.stdout


def test_a_damaged_download_is_found(tagged: Clone, dist: Path, tmp_path: Path) -> None:
    """The same command must fail for a file that differs."""
    folder = download(tagged, dist, tmp_path)
    next(folder.glob("*.whl")).write_bytes(b"damaged")
    checksums, _ = commands("Verify a download")

    assert 0 != tagged.run("bash", "-ec", f"cd {folder}\n{checksums}").returncode


def test_attestations_are_asked_for_what_the_workflow_attests(
    tagged: Clone, dist: Path, tmp_path: Path
) -> None:
    """The page's commands name a file, the image and the chart as they are published."""
    folder = download(tagged, dist, tmp_path)
    tagged.stub("gh", "[[ $3 == oci://* || -e $3 ]]")
    _, attestations = commands("Verify a download")

    done = tagged.run("bash", "-ec", f"cd {folder}\n{attestations}")

    assert 0 == done.returncode, done.stderr
    _, *subjects = [call.split()[3] for call in tagged.called()]
    image, chart = (step(job, "Attest")["with"]["subject-name"] for job in ("image", "chart"))
    assert [f"oci://{image}:{NOW}", f"oci://{chart}:{NOW.spelled('-', '.')}"] == subjects

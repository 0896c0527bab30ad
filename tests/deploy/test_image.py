"""The image as built: what it says about itself, and that it runs where little is allowed."""

from __future__ import annotations

import json
import signal
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from exporter import __version__
from tests.deploy.image import ROOT, Builder, Image
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Iterator


#: The first test builds: a base system, two rounds of Debian's packages, the wheels.
pytestmark = pytest.mark.timeout(900)

PYTHON = "/opt/loadfleet/bin/python"
TOKEN = {"auth_token": "invented"}
FETCH = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:10871/metrics').read().decode())"
)


@pytest.fixture(scope="module")
def image(base: Path) -> Iterator[Image]:
    """Build the image once, in a folder that goes afterwards: it is large."""
    for program in ("buildah", "nsenter", "ip"):
        require(program)
    with tempfile.TemporaryDirectory() as folder:
        yield Builder(Path(folder)).build(base)


async def test_it_runs_unprivileged_on_a_read_only_root(image: Image, tmp_path: Path) -> None:
    """The image must serve metrics as nobody, where nothing can be written."""
    async with image.run("demo", folder=tmp_path) as container:
        pages: list[str] = []

        async def served() -> bool:
            assert not container.process.ended, container.process.errors
            pages.append((await container.execute(PYTHON, "-c", FETCH))[1])
            return "loadfleet_agent_up{" in pages[-1]

        await until(served, timeout_seconds=60)
        status = container.status

        assert "Uid:\t65532\t65532\t65532\t65532" in status
        assert "1" == status.partition("NSpid:")[2].splitlines()[0].split()[-1]
        assert f'version="{__version__}"' in pages[-1]
        code, output = await container.execute("touch", "/etc/loadfleet/file")
        assert (1, True) == (code, "Read-only" in output)


async def test_a_volume_takes_the_state(image: Image, tmp_path: Path) -> None:
    """The daemon's user must be able to write where a volume for the state is mounted."""
    async with image.run("demo", folder=tmp_path) as container:
        await until(lambda: "event=started" in container.process.errors, timeout_seconds=60)

        written = await container.execute("touch", "/var/lib/loadfleet/file")

    assert (0, "") == written


async def test_sigterm_ends_it_well(image: Image, tmp_path: Path) -> None:
    """As pid 1, which the kernel spares signals that it does not handle, it must end with 0."""
    async with image.run("demo", folder=tmp_path) as container:
        await until(lambda: "event=started" in container.process.errors, timeout_seconds=60)

        code = await container.stop(signal.SIGTERM)

        assert 0 == code
        assert "event=stopped" in container.process.errors


async def test_the_health_check_tells(image: Image, tmp_path: Path) -> None:
    """The image's own check must fail before the daemon listens and succeed afterwards."""
    form, *command = image.config["Healthcheck"]["Test"]
    async with image.run(
        "demo", "--web.listen-address=127.0.0.1:10872", folder=tmp_path
    ) as container:
        await until(lambda: "event=started" in container.process.errors, timeout_seconds=60)
        elsewhere, _ = await container.execute(*command)
    async with image.run("demo", folder=tmp_path) as container:
        await until(lambda: "event=started" in container.process.errors, timeout_seconds=60)
        here, output = await container.execute(*command)

    assert "CMD" == form
    assert 0 != elsewhere
    assert (0, "") == (here, output)


async def test_a_mounted_configuration_is_found(image: Image, tmp_path: Path) -> None:
    """A file put where the image starts the daemon must be its configuration without a flag."""
    file = image.root / "etc/loadfleet/loadfleet.yml"
    source = {"provider": "realload", "name": "mounted", "url": "http://127.0.0.1:1/", **TOKEN}
    file.write_text(json.dumps({"sources": [source]}))

    async with image.run(folder=tmp_path) as container:
        await until(lambda: "event=started" in container.process.errors, timeout_seconds=60)
        _, page = await container.execute(PYTHON, "-c", FETCH)
    file.unlink()

    assert 'source="mounted"' in page


def test_it_needs_no_shell(image: Image) -> None:
    """The entry point must be a program of its own, found without a shell."""
    (program,) = image.config["Entrypoint"]
    first_line = (image.root / program.lstrip("/")).read_text().splitlines()[0]

    assert f"#!{PYTHON}" == first_line
    assert not image.config.get("Cmd")


def test_its_user_is_a_number(image: Image) -> None:
    """Kubernetes can see of a number only that it is not root."""
    assert "65532:65532" == image.config["User"]


def test_it_is_labelled(image: Image) -> None:
    """Whoever finds the image must see what it is, of which version and licence."""
    labels = image.config["Labels"]

    assert {
        "title": "loadfleet-exporter",
        "version": __version__,
        "licenses": "Apache-2.0",
        "source": "https://github.com/loadfleet/loadfleet-exporter",
    }.items() <= {key.rpartition(".")[2]: value for key, value in labels.items()}.items()


def test_its_runbooks_are_inside(image: Image) -> None:
    """Whoever is paged reads them from the daemon, without the internet."""
    served = image.root.glob("opt/loadfleet/lib/*/site-packages/exporter/web/runbooks/*")

    written = {path.name for path in (ROOT / "deploy" / "runbooks").iterdir()}
    assert written == {path.name for path in served}


def test_nothing_of_the_build_stays(image: Image) -> None:
    """Neither tools to install more nor the configuration of the build machine may be inside."""
    packages = [path.name for path in image.root.glob("opt/loadfleet/lib/*/site-packages/*")]

    assert not (image.root / "etc/pip.conf").exists()
    assert not (image.root / "opt/build").exists()
    assert not (image.root / "usr/bin/pip").exists()
    assert [] == [name for name in packages if name.startswith(("pip", "hatchling", "pytest"))]
    assert [] == list((image.root / "var/lib/apt/lists").glob("*"))


def test_its_sbom_lists_the_packages_inside(image: Image) -> None:
    """A scanner must find every package in the list, and nothing in the list that is not inside."""
    text = (image.root / "opt/loadfleet/loadfleet-exporter.cdx.json").read_text()
    sbom = json.loads(text)
    listed = [*sbom["components"], sbom["metadata"]["component"]]
    installed = distributions(
        path=[*map(str, image.root.glob("opt/loadfleet/lib/*/site-packages"))]
    )

    assert {(canonicalize_name(each.name), each.version) for each in installed} == {
        (canonicalize_name(each["name"]), each["version"]) for each in listed
    }
    assert "file:" not in text


def test_it_can_be_changed_by_root_only(image: Image) -> None:
    """Where the root is writable, the daemon's user must not be able to change the program."""
    owned = [
        str(path)
        for folder in ("opt/loadfleet", "etc/loadfleet")
        for path in [image.root / folder, *(image.root / folder).rglob("*")]
        if path.lstat().st_uid != 0
    ]

    assert [] == owned


def test_it_is_small(image: Image) -> None:
    """What the image adds to its base, Python and wheels, must stay below 120 MiB."""
    added = sum(
        path.lstat().st_size
        for folder in ("opt/loadfleet", "usr/lib/python3.13")
        for path in (image.root / folder).rglob("*")
    )

    assert added < 120 * 2**20, json.dumps({"bytes": added})

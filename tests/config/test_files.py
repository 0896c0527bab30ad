"""Paths that name no regular file: reading each must end, mostly with an error."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporter.config import files, pem, yaml_file
from exporter.config.checks import tls_mistakes
from exporter.errors import ConfigurationError
from exporter.http.exchange import HttpOptions
from exporter.http.transport import ssl_context
from tests.support.certificates import Authority


if TYPE_CHECKING:
    from collections.abc import Callable


def bound(path: Path) -> None:
    # Relative, because a socket's path must be short.
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


#: Things that are no regular file, with the error of reading them.
KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda _: None, "No such file or directory"),
    "pipe": (os.mkfifo, "it is a named pipe and not a regular file"),
    "directory": (lambda path: path.mkdir(), "it is a directory and not a regular file"),
    "socket": (bound, "it is a socket and not a regular file"),
    "device": (
        lambda path: path.symlink_to("/dev/zero"),
        "it is a device and not a regular file",
    ),
    "loop": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "endless": (sparse, "it is larger than "),
}


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Return a path that is no regular file, and the reason why it is not read."""
    make, why = KINDS[request.param]
    path = tmp_path / "odd"
    make(path)
    return path, why


class TestRead:
    def test_what_is_no_file_is_not_waited_for(self, odd: tuple[Path, str]) -> None:
        """Reading what is no file must fail at once, with the reason, the path and a remedy."""
        path, why = odd

        with pytest.raises(files.FileError) as caught:
            files.read(path)

        assert str(caught.value).startswith(why)
        assert path == caught.value.path
        assert caught.value.remedy

    def test_what_is_no_file_has_no_content(self, odd: tuple[Path, str]) -> None:
        """A path that is no file must count as empty when the daemon looks for changes."""
        assert b"" == files.content(odd[0])

    @pytest.mark.parametrize("name", ["a\0b", "\ud800"])
    def test_a_path_that_is_none_is_a_mistake(self, tmp_path: Path, name: str) -> None:
        """A name that is no usable path must be refused without quoting it."""
        with pytest.raises(files.FileError, match="not a usable path"):
            files.read(tmp_path / name)

    def test_links_are_followed(self, tmp_path: Path) -> None:
        """Kubernetes mounts what it mounts through two of them."""
        (tmp_path / "file").write_text("content")
        (tmp_path / "one").symlink_to("file")
        (tmp_path / "two").symlink_to("one")

        assert b"content" == files.read(tmp_path / "two").content

    def test_the_limit_is_no_part_of_what_is_too_large(self, tmp_path: Path) -> None:
        """A file of just the limit is read whole."""
        path = tmp_path / "file"
        path.write_bytes(b"x" * 10)

        assert b"x" * 10 == files.read(path, limit_bytes=10).content
        with pytest.raises(files.FileError, match="larger than 9B"):
            files.read(path, limit_bytes=9)


class TestPipe:
    def read(self, *contents: bytes, ended: bool = True, seconds: float = 10.0) -> bytes:
        """Return the content read of a pipe that these contents were written to."""
        read, write = os.pipe()
        try:
            for content in contents:
                os.write(write, content)
            if ended:
                os.close(write)
            return files.read_pipe(Path(f"/dev/fd/{read}"), limit_bytes=10, seconds=seconds)
        finally:
            os.close(read)
            if not ended:
                os.close(write)

    @pytest.mark.parametrize("contents", [(), (b"one",), (b"one", b"two")])
    def test_all_that_was_written_is_read(self, contents: tuple[bytes, ...]) -> None:
        """Everything written to a pipe must be read, even if the writer has ended."""
        assert b"".join(contents) == self.read(*contents)

    @pytest.mark.parametrize("contents", [(), (b"one",)])
    def test_an_end_that_does_not_come_is_a_mistake(self, contents: tuple[bytes, ...]) -> None:
        """Half of a configuration is none."""
        with pytest.raises(files.FileError, match="its writer did not finish within 0 s"):
            self.read(*contents, ended=False, seconds=0.0)

    def test_a_pipe_that_nobody_opens_is_a_mistake(self, tmp_path: Path) -> None:
        """A pipe without a writer must be an error, not a wait."""
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(files.FileError, match="its writer did not finish"):
            files.read_pipe(tmp_path / "pipe", limit_bytes=10, seconds=0.0)

    def test_more_than_the_limit_is_a_mistake(self) -> None:
        """`yes` never ends."""
        with pytest.raises(files.FileError, match="larger than 10B"):
            self.read(b"y" * 11, ended=False)

    def test_it_cannot_be_read_again(self, tmp_path: Path) -> None:
        """A pipe must not be read again: there is no second writer."""
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(ConfigurationError, match="is a pipe and cannot be read again"):
            yaml_file.read(tmp_path / "pipe")

    def test_paths_in_it_count_from_the_working_directory(self, tmp_path: Path) -> None:
        """Relative paths in a pipe must count from the working directory."""
        os.mkfifo(tmp_path / "pipe")

        assert Path() == yaml_file.folder_of(tmp_path / "pipe")
        assert tmp_path == yaml_file.folder_of(tmp_path / "file")


class TestWrite:
    def test_a_file_is_replaced(self, tmp_path: Path) -> None:
        """A write must replace the file, so that open readers keep the old content."""
        path = tmp_path / "file"
        path.write_text("old")
        with path.open() as reader:
            files.write(path, b"new")

            assert "old" == reader.read()
        assert [path] == list(tmp_path.iterdir())
        assert "new" == path.read_text()

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        """A write must not follow a link, which could point to a file elsewhere."""
        (tmp_path / "precious").write_text("old")
        path = tmp_path / "link"
        path.symlink_to("precious")

        files.write(path, b"new")

        assert ("old", "new") == ((tmp_path / "precious").read_text(), path.read_text())

    def test_a_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        """And nothing of its own."""
        (tmp_path / "folder" / "full").mkdir(parents=True)

        with pytest.raises(OSError, match="folder"):
            files.write(tmp_path / "folder", b"new")

        assert [tmp_path / "folder"] == list(tmp_path.iterdir())

    def test_others_may_read_it(self, tmp_path: Path) -> None:
        """Other users may read the file, as far as the umask lets them."""
        before = os.umask(0o027)
        try:
            files.write(tmp_path / "file", b"")
        finally:
            os.umask(before)

        assert 0o640 == (tmp_path / "file").stat().st_mode & 0o777


class TestTls:
    def test_what_is_no_file_is_a_mistake_by_its_setting(self, odd: tuple[Path, str]) -> None:
        """OpenSSL would wait for a pipe and read a device for ever."""
        path, why = odd

        (ca,) = tls_mistakes(path, None, None)
        (pair,) = tls_mistakes(None, path, path)

        assert (("ca_file",), ("client_cert_file",)) == (ca.path, pair.path)
        assert f"cannot read {path} ({why}" in ca.text
        assert f"cannot read {path} ({why}" in pair.text

    def test_a_source_is_not_made_with_it(self, odd: tuple[Path, str]) -> None:
        """A CA path that is no file must be refused when a source is made."""
        options = HttpOptions(ca_file=odd[0])

        with pytest.raises(ConfigurationError, match="cannot be used for TLS"):
            ssl_context(options)

    def test_certificate_and_key_of_one_file(self, tmp_path: Path) -> None:
        """The key may stand below the certificate."""
        authority = Authority(tmp_path)
        authority.issue()
        both = tmp_path / "both.pem"
        both.write_bytes(
            (tmp_path / "server.crt").read_bytes() + (tmp_path / "server.key").read_bytes()
        )

        assert [] == list(tls_mistakes(tmp_path / "ca.pem", both, None))

    def test_the_certificates_of_a_file_are_trusted(self, tmp_path: Path) -> None:
        """And none else are."""
        authority = Authority(tmp_path)
        authority.issue()

        context = pem.trusting(tmp_path / "ca.pem")

        assert ssl.CERT_REQUIRED is context.verify_mode
        assert 1 == context.cert_store_stats()["x509_ca"]

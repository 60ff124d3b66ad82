"""Files that dsc writes: behind links, into streams, over what may be written only, whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dsc.errors import UsageError
from dsc.files import check_writable, writing


def put(path: Path, content: bytes = b"new") -> None:
    check_writable(path)
    with writing(path) as file:
        file.write(content)


def test_the_file_behind_links_is_written(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "target").write_bytes(b"old")
    (tmp_path / "middle").symlink_to("deep/target")
    (tmp_path / "link").symlink_to(tmp_path / "middle")
    put(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert (tmp_path / "deep" / "target").read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to("deep/fresh")
    put(tmp_path / "dangling")
    assert (tmp_path / "deep" / "fresh").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path / "deep")) == ["fresh", "target"]


def test_a_ring_of_links_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UsageError, match=r"cannot write .*links"):
        put(tmp_path / "a")


def test_a_pipe_with_a_name_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    put(pipe)
    reader.join()
    assert found == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_one() -> None:
    put(Path(os.devnull))
    assert Path(os.devnull).is_char_device()


def test_a_link_to_a_device_stays_one(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    put(tmp_path / "null")
    assert (tmp_path / "null").is_symlink()


WRITER = "import sys; from pathlib import Path; from dsc.files import writing\nprint('before', flush={flush})\n" + (
    "with writing(Path(sys.argv[1])) as file: file.write(b'content\\n')\nprint('after')"
)


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "by name"])
def test_the_standard_output_is_a_stream_also_where_it_is_a_file(tmp_path: Path, name: str, flush: bool) -> None:
    """Replaced, the file would lose what was printed before and what is after."""
    path = tmp_path / "out"
    target = str(path) if name == "by name" else name
    with path.open("wb") as out:
        subprocess.run([sys.executable, "-c", WRITER.format(flush=flush), target], stdout=out, check=True)
    assert path.read_text() == "before\ncontent\nafter\n"
    assert os.listdir(tmp_path) == ["out"]


def test_the_standard_output_as_a_pipe() -> None:
    command = [sys.executable, "-c", WRITER.format(flush=False), "/dev/stdout"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "before\ncontent\nafter\n"
    assert Path("/dev/stdout").is_symlink()


def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    put(path)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "a b", "new\nline", "-o", ".hidden", "\udcff"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    put(tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"new"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["n" * 256, "none/file", "file/file", ".", "", "nul\0"])
def test_what_cannot_be_written_is_said_before_and_after(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match="cannot write"):
        check_writable(tmp_path / name)
    with pytest.raises(UsageError, match="cannot write"), writing(tmp_path / name) as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_said_before_the_work() -> None:
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left"):
        put(Path("/dev/full"))


def test_a_socket_is_refused(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        with pytest.raises(UsageError, match="neither a file nor a stream"):
            put(tmp_path / "s")


def test_what_was_there_stays_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with writing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_permissions_are_asked_before(tmp_path: Path) -> None:
    (tmp_path / "protected").write_bytes(b"old")
    (tmp_path / "protected").chmod(0o400)
    with pytest.raises(UsageError, match="not writable"):
        check_writable(tmp_path / "protected")
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="is not writable"):
        check_writable(tmp_path / "new")
    tmp_path.chmod(0o700)

"""A file is whole, or it is the one that was there before, and nothing is left beside it."""

import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from shared import whole_files
from shared.whole_files import Content, write_whole

ROOT = Path(__file__).parent.parent.parent


def older(folder: Path) -> Path:
    path = folder / "here"
    path.write_bytes(b"older")
    return path


def only_the_older(path: Path) -> bool:
    return path.read_bytes() == b"older" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("n\u00e4her\r\n", b"n\xc3\xa4her\r\n"),
        (b"\0\xff", b"\0\xff"),
        (lambda file: file.write(b"1"), b"1"),
        ("", b""),
    ],
    ids=["text", "bytes", "function", "nothing"],
)
@pytest.mark.parametrize("synced", [False, True])
def test_what_is_given_takes_the_place_of_the_older_file(
    tmp_path: Path, content: Content, written: bytes, synced: bool
) -> None:
    path = older(tmp_path)
    write_whole(path, content, synced=synced)
    assert path.read_bytes() == written
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stop", [ValueError, OSError, KeyboardInterrupt])
def test_a_function_that_fails_halfway_leaves_the_older_file_alone(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    def halfway(file: BinaryIO) -> None:
        file.write(b"newer")
        raise stop

    path = older(tmp_path)
    with pytest.raises(stop):
        write_whole(path, halfway)
    assert only_the_older(path)


def test_ctrl_c_before_the_new_file_takes_the_name_leaves_the_older_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    path = older(tmp_path)
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"newer")
    assert only_the_older(path)


_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from shared.whole_files import write_whole

resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
for content in ("a" * 5_000, b"a" * 5_000, lambda file: file.write(b"a" * 5_000)):
    for synced in (False, True):
        try:
            write_whole(Path(sys.argv[1]), content, synced=synced)
        except OSError as error:
            print(error.strerror)
"""


def test_a_full_disk_leaves_the_older_file_alone_however_often_it_is_tried(tmp_path: Path) -> None:
    path = older(tmp_path)
    command = [sys.executable, "-c", _ON_A_FULL_DISK, str(path)]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines() == ["File too large"] * 6
    assert only_the_older(path)


def test_what_stands_in_the_way_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", b"newer")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_whole(tmp_path / "file" / "here", b"newer")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "here", b"newer")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_two_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "here"
    both_are_writing = threading.Barrier(2, timeout=60)

    def slowly(value: bytes) -> Callable[[BinaryIO], None]:
        def write(file: BinaryIO) -> None:
            file.write(value * 50_000)
            both_are_writing.wait()
            file.write(value * 50_000)

        return write

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(write_whole, path, slowly(value)) for value in (b"1", b"2")]:
            done.result()
    assert path.read_bytes() in (b"1" * 100_000, b"2" * 100_000)
    assert list(tmp_path.iterdir()) == [path]


def _write_often(path: Path, value: int) -> None:
    for _ in range(200):
        write_whole(path, bytes([value]) * 100_000)


def test_processes_that_write_the_same_file_do_not_meet_and_leave_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write_often, args=(path, value)) for value in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert path.read_bytes() in (b"\1" * 100_000, b"\2" * 100_000)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "here", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "here").stat().st_mode) == 0o666 & ~mask


def test_an_unfinished_file_is_hidden_from_who_lists_the_folder_for_images(tmp_path: Path) -> None:
    def look(file: BinaryIO) -> None:
        [unfinished] = tmp_path.iterdir()
        assert unfinished.name.startswith(".a.png.")
        assert unfinished.suffix == ".part"

    write_whole(tmp_path / "a.png", look)


def test_what_is_to_be_synced_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = older(tmp_path), []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, path.read_bytes()))

    monkeypatch.setattr(whole_files.os, "fsync", fsync)
    write_whole(path, b"newer one")
    assert synced == []
    write_whole(older(tmp_path), b"newer one", synced=True)
    assert synced == [(len(b"newer one"), b"older")]

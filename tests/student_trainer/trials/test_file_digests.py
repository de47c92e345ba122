"""Files are read once, and again where they may have changed."""

import hashlib
import os
from pathlib import Path

import pytest

from student_trainer.errors import InvalidInput
from student_trainer.trials import file_digests
from student_trainer.trials.file_digests import FileDigests


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("a", "b")]
    for path in found:
        path.write_bytes(path.name.encode())
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    original = file_digests.sha256_of_file

    def noting(path: Path) -> str:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(file_digests, "sha256_of_file", noting)
    return names


def test_each_file_is_read_once_and_again_when_it_changes(
    paths: list[Path], read: list[str], tmp_path: Path
) -> None:
    memory = tmp_path / "out" / "digests.json"
    expected = [sha256(b"a"), sha256(b"b"), sha256(b"a")]
    assert FileDigests(memory).of([*paths, paths[0]]) == expected
    assert FileDigests(memory).of([*paths, paths[0]]) == expected
    assert read == ["a", "b"]
    paths[1].write_bytes(b"c")  # as many bytes
    os.utime(paths[1], ns=(1, 1))
    assert FileDigests(memory).of(paths) == [sha256(b"a"), sha256(b"c")]
    assert read == ["a", "b", "b"]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 1}', b'{"a": [1, 2]}'])
def test_a_memory_that_cannot_be_read_costs_time_alone(
    paths: list[Path], read: list[str], tmp_path: Path, content: bytes
) -> None:
    memory = tmp_path / "digests.json"
    memory.write_bytes(content)
    assert FileDigests(memory).of(paths) == [sha256(b"a"), sha256(b"b")]
    assert read == ["a", "b"]


def test_what_was_read_before_an_interruption_is_kept(
    paths: list[Path], read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting = file_digests.sha256_of_file

    def interrupted(path: Path) -> str:
        if path.name == "b":
            raise KeyboardInterrupt
        return noting(path)

    with monkeypatch.context() as patch:
        patch.setattr(file_digests, "sha256_of_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            FileDigests(tmp_path / "digests.json").of(paths)
    FileDigests(tmp_path / "digests.json").of(paths)
    assert read == ["a", "b"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be read: .*gone"):
        FileDigests().of([tmp_path / "gone"])


def test_a_file_of_the_same_size_and_time_in_place_of_another_is_read(
    paths: list[Path], tmp_path: Path
) -> None:
    """As a copy with its times preserved has them."""
    files = FileDigests(tmp_path / "digests.json")
    os.utime(paths[0], ns=(1, 1))
    assert files.of(paths[:1]) == [sha256(b"a")]
    (tmp_path / "other").write_bytes(b"z")
    os.utime(tmp_path / "other", ns=(1, 1))
    (tmp_path / "other").replace(paths[0])
    assert files.of(paths[:1]) == [sha256(b"z")]

"""The same image under several names, found by its bytes."""

from pathlib import Path

import pytest

from student_trainer.errors import InvalidInput
from student_trainer.evaluate import same_bytes
from student_trainer.evaluate.same_bytes import places_among


def files(folder: Path, **contents: str) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).write_text(content)
    return {name: folder / name for name in contents}


def test_copies_links_and_the_file_itself_are_found_and_files_of_equal_size_are_not(tmp_path: Path) -> None:
    made = files(tmp_path, a="one", b="two", copy="one", long="three")
    (tmp_path / "link").symlink_to(made["b"])
    others = [made["a"], tmp_path / "link", made["copy"], made["long"], made["b"]]
    again = tmp_path / "." / "a"
    found = places_among([again, made["b"], made["long"], *files(tmp_path, c="six").values()], others)
    assert [places.tolist() for places in found] == [[0, 2], [1, 4], [3], []]


def test_a_file_whose_size_no_other_has_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = files(tmp_path, a="one", b="two", long="three")
    read = []

    def digest_files(paths: list[Path]) -> list[object]:
        read.extend(path.name for path in paths)
        return []

    monkeypatch.setattr(same_bytes, "digest_files", digest_files)
    places_among([made["a"], made["long"]], [made["b"], made["long"]])
    assert read == ["a", "b"]


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="gone cannot be read: No such file"):
        places_among([tmp_path / "gone"], [])

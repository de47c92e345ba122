"""Descriptors of the candidates: kept between plans, bound to their network, and none of it costs a query."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import disk_full_at

from shared.extraction import describe
from shared.images import ImageLimits
from shared.network import NetworkSpec, build_network
from student_trainer.acquire.plan import take_stock
from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.selection import described
from student_trainer.acquire.selection.described import Describer
from student_trainer.datasets.manifest import scan_folder
from student_trainer.errors import InvalidInput, StorageFailed

SIDE_PX = 32


@pytest.fixture
def candidates(photographs: Callable[[int], Path]) -> list[PlannedImage]:
    return take_stock(scan_folder(photographs(7)), ImageLimits()).candidates


def describer(cache: Path | None, seed: int = 0, **options: object) -> Describer:
    network = build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=seed)
    return Describer(network, SIDE_PX, "cpu", cache, **options)  # type: ignore[arg-type]


def test_rows_are_those_of_the_network_in_the_order_asked_for(
    candidates: list[PlannedImage], tmp_path: Path
) -> None:
    eye = describer(tmp_path)
    expected = describe(eye.network, [image.path for image in candidates], SIDE_PX, device="cpu")
    np.testing.assert_allclose(eye(candidates), expected, atol=1e-5)
    np.testing.assert_array_equal(eye(candidates[::-1]), eye(candidates)[::-1])
    assert describer(None)([]).shape == (0, eye.network.dim)


def test_a_second_plan_describes_only_what_is_new(
    candidates: list[PlannedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counting(network: object, paths: list[Path], *rest: object, **options: object) -> np.ndarray:
        asked.append(len(paths))
        return describe(network, paths, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(described, "describe", counting)
    monkeypatch.setattr(described, "IMAGES_IN_A_PART", 2)
    first = describer(tmp_path)(candidates[:5])
    assert asked == [2, 2, 1]
    np.testing.assert_array_equal(describer(tmp_path)(candidates)[:5], first)
    assert asked == [2, 2, 1, 2]


def test_another_network_or_size_looks_again(candidates: list[PlannedImage], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    one = describer(cache)(candidates)
    assert not np.allclose(one, describer(cache, seed=1)(candidates))
    Describer(describer(None).network, 16, "cpu", cache)(candidates)
    assert len(list(cache.iterdir())) == 3


def test_a_part_that_was_cut_off_is_described_again(candidates: list[PlannedImage], tmp_path: Path) -> None:
    whole = describer(tmp_path)(candidates)
    part = next(tmp_path.rglob("*.npz"))
    part.write_bytes(part.read_bytes()[:100])
    np.testing.assert_array_equal(describer(tmp_path)(candidates), whole)


def test_progress_counts_what_is_kept_too(candidates: list[PlannedImage], tmp_path: Path) -> None:
    for _ in range(2):
        done: list[int] = []
        describer(tmp_path, on_images=done.append)(candidates)
        assert sum(done) == len(candidates)


def test_a_network_without_finite_descriptors_a_vanished_image_and_a_full_disk_are_refused(
    candidates: list[PlannedImage], tmp_path: Path
) -> None:
    broken = describer(None)
    with torch.no_grad():
        next(broken.network.parameters()).fill_(torch.nan)
    with pytest.raises(InvalidInput, match="no finite descriptor for 7 candidates"):
        broken(candidates)
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="cannot be kept"):
        describer(tmp_path / "file")(candidates)
    with disk_full_at(1_000), pytest.raises(StorageFailed, match=r"cannot be kept in .*File too large"):
        describer(tmp_path / "rows")(candidates)
    assert not [path for path in (tmp_path / "rows").rglob("*") if path.is_file()]
    candidates[0].path.unlink()
    with pytest.raises(InvalidInput, match="cannot be read any more"):
        describer(None)(candidates)

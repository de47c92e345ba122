"""Descriptors kept on disk: when they are used again, when not, and what an interruption leaves."""

import os
from pathlib import Path

import numpy as np
import pytest
from made_benchmark_runs import SIDE_PX, network_that_sees
from made_benchmarks import BOX, write_view

from shared.extraction import describe
from shared.images import Preprocessing
from shared.network import DescriptorNet
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate import describing
from student_trainer.evaluate.describing import Describer


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for number in range(7):
        write_view(folder / f"{number}.jpg", 0, number, 0)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def network(images: list[Path]) -> DescriptorNet:
    return network_that_sees(images, 0)


@pytest.fixture(autouse=True)
def parts_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "IMAGES_IN_A_PART", 3)


def never(*_: object, **__: object) -> np.ndarray:
    raise AssertionError("described again")


def test_rows_are_those_of_the_extraction_with_and_without_a_cache(network, images, tmp_path):
    expected = describe(network, images, SIDE_PX, (1.0, 0.5))
    for cache in (None, tmp_path):
        rows = Describer(network, SIDE_PX, (1.0, 0.5), cache=cache).rows(images)
        np.testing.assert_allclose(rows, expected, atol=3e-5)
    assert len(list(tmp_path.rglob("*.f4"))) == 3


def test_what_is_kept_is_not_described_again_and_counts_as_done(network, images, tmp_path, monkeypatch):
    first = Describer(network, SIDE_PX, cache=tmp_path).rows(images)
    monkeypatch.setattr(describing, "describe", never)
    done: list[int] = []
    again = Describer(network, SIDE_PX, cache=tmp_path, on_images=done.append).rows(images)
    assert again.tobytes() == first.tobytes()
    assert done == [3, 3, 1]


def test_half_precision_is_kept_beside_single_precision(network, images, tmp_path):
    describer = Describer(network, SIDE_PX, cache=tmp_path)
    half = describer.stored(images, half=True)[:]
    assert half.dtype == np.float16
    assert (half == describer.rows(images).astype(np.float16)).all()


@pytest.mark.parametrize("change", ["size", "scales", "exif", "network", "box"])
def test_whatever_changes_descriptors_has_rows_of_its_own(network, images, tmp_path, monkeypatch, change):
    Describer(network, SIDE_PX, cache=tmp_path).rows(images[:2])
    other = {
        "size": Describer(network, SIDE_PX - 8, cache=tmp_path),
        "scales": Describer(network, SIDE_PX, (1.0, 0.7), cache=tmp_path),
        "exif": Describer(network, SIDE_PX, cache=tmp_path, apply_exif=False),
        "network": Describer(network_that_sees(images, 5), SIDE_PX, cache=tmp_path),
        "box": Describer(network, SIDE_PX, cache=tmp_path),
    }[change]
    boxes = [BOX, None] if change == "box" else None
    monkeypatch.setattr(describing, "describe", never)
    with pytest.raises(AssertionError, match="described again"):
        other.rows(images[:2], boxes)


def test_a_file_that_changed_is_described_again_and_its_part_alone(network, images, tmp_path, monkeypatch):
    describer = Describer(network, SIDE_PX, cache=tmp_path)
    before = describer.rows(images)
    stat = images[4].stat()
    os.utime(images[4], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    seen: list[Path] = []

    def watched(network: DescriptorNet, paths: list[Path], *rest: object, **more: object) -> np.ndarray:
        seen.extend(paths)
        return describe(network, paths, *rest, **more)

    monkeypatch.setattr(describing, "describe", watched)
    assert describer.rows(images).tobytes() == before.tobytes()
    assert seen == images[3:6]


def test_an_interruption_loses_one_part_at_most(network, images, tmp_path, monkeypatch):
    calls: list[list[Path]] = []

    def interrupted(network: DescriptorNet, paths: list[Path], *rest: object, **more: object) -> np.ndarray:
        calls.append(list(paths))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return describe(network, paths, *rest, **more)

    monkeypatch.setattr(describing, "describe", interrupted)
    describer = Describer(network, SIDE_PX, cache=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        describer.rows(images)
    describer.rows(images)
    assert calls == [images[:3], images[3:6], images[6:], images[6:]]


def test_a_part_that_was_cut_is_made_anew(network, images, tmp_path):
    describer = Describer(network, SIDE_PX, cache=tmp_path)
    whole = describer.rows(images)
    part = next(tmp_path.rglob("*.f4"))
    part.write_bytes(part.read_bytes()[:-4])
    assert describer.rows(images).tobytes() == whole.tobytes()


def test_no_images_have_no_rows(network, tmp_path):
    assert Describer(network, SIDE_PX, cache=tmp_path).rows([]).shape == (0, network.dim)


def test_an_image_that_is_gone_or_damaged_is_named(network, images, tmp_path):
    broken = tmp_path / "broken.jpg"
    for cache in (None, tmp_path / "cache"):
        describer = Describer(network, SIDE_PX, cache=cache)
        broken.unlink(missing_ok=True)
        with pytest.raises(InvalidInput, match=r"broken\.jpg"):
            describer.rows([images[0], broken])
        broken.write_bytes(images[0].read_bytes()[:200])
        with pytest.raises(InvalidInput, match=r"broken\.jpg.* Mend it"):
            describer.rows([images[0], broken])


def test_a_network_that_gives_nothing_finite_is_refused_by_the_image(images, tmp_path):
    network = network_that_sees(images, 0)
    for parameter in network.parameters():
        parameter.data.fill_(float("nan"))
    said = r"The network gives no finite descriptor for 3 images, the first .*0\.jpg"
    with pytest.raises(InvalidInput, match=said):
        Describer(network, SIDE_PX, cache=tmp_path).rows(images)
    assert not list(tmp_path.rglob("*.f4"))


def test_a_cache_that_cannot_be_written_says_what_to_do(network, images, tmp_path):
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(StorageFailed, match="run the same command again: it continues"):
        Describer(network, SIDE_PX, cache=tmp_path / "cache").rows(images)


def test_the_settings_of_a_describer_are_those_of_its_identity(network):
    describer = Describer(network, SIDE_PX)
    assert describer.preprocessing == Preprocessing(SIDE_PX)
    assert describer.identity == Describer(network, SIDE_PX).identity
    assert describer.identity != Describer(network, SIDE_PX, (0.5,)).identity

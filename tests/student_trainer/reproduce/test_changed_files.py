"""What a table is measured by refuses other files than those that its digest speaks of."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_benchmarks import make_revisited
from made_purchases import bought_run, paint

from student_trainer.curve.held_back import HeldBack
from student_trainer.datasets.manifest import Entry
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.distil.data import TrainingData, from_transfer_set
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.reproduce.methods import Methods
from student_trainer.reproduce.on_benchmarks import OnBenchmarks, files_of
from student_trainer.reproduce.on_manifest import OnManifest
from student_trainer.trials.cells import Measure
from student_trainer.trials.file_digests import FileDigests
from student_trainer.trials.yardsticks import Labelled

BOUGHT = r"has changed: its SHA-256 is .* its descriptor was bought for"
USED = "changed while it was used"


@pytest.fixture
def bought(tmp_path: Path) -> TrainingData:
    return from_transfer_set(bought_run(tmp_path, 12).transfer_set)


@pytest.fixture
def teacher(inputs: Any, tmp_path: Path) -> Path:
    return Path(shutil.copy(inputs.teacher, tmp_path / "teacher.safetensors"))


@pytest.fixture
def labelled(tmp_path: Path) -> Labelled:
    images = [paint(tmp_path / "test" / f"{place}.png", 500 + place) for place in range(8)]
    gallery = gallery_of([Entry(path, f"label {place % 4}") for place, path in enumerate(images)])
    return Labelled(gallery, "labelled.csv", 24, "cpu")


@pytest.fixture(params=["whitened", "methods", "held back"])
def on_bought(
    request: pytest.FixtureRequest, bought: TrainingData, labelled: Labelled, teacher: Path
) -> Measure:
    """A measure that learns from bought images, or measures on them."""
    kinds: dict[str, Measure] = {
        "whitened": OnManifest(labelled, bought.images),
        "methods": Methods(labelled, labelled, teacher, bought),
        "held back": HeldBack(bought, 0.7, 24, "cpu"),
    }
    return kinds[request.param]


def test_photographs_in_place_of_bought_ones_are_refused(
    on_bought: Measure, bought: TrainingData, inputs: Any
) -> None:
    """Those that are measured on, say: from them a whitening or a map must not be learned."""
    on_bought.require_unchanged()
    digest = on_bought.digest()
    paint(bought.images[5].path, 505)
    for use in (on_bought.require_unchanged, lambda: on_bought.measure(inputs.teacher)):
        with pytest.raises(InvalidInput, match=rf"{bought.images[5].path.name} {BOUGHT}"):
            use()
    assert on_bought.digest() == digest


def test_labelled_images_are_refused_where_they_changed(labelled: Labelled) -> None:
    measure = OnManifest(labelled)
    measure.digest()
    measure.require_unchanged()
    paint(labelled.gallery.paths[1], 99)
    with pytest.raises(InvalidInput, match=rf"{labelled.gallery.paths[1].name} {USED}"):
        measure.require_unchanged()


@pytest.mark.parametrize("of_teacher", [True, False])
def test_what_methods_ask_is_refused_where_it_changed(
    labelled: Labelled, teacher: Path, inputs: Any, *, of_teacher: bool
) -> None:
    """And what the changed teacher answered is not kept for the next cell."""
    measure = Methods(labelled, labelled, teacher)
    measure.digest()
    if of_teacher:
        teacher.write_bytes(teacher.read_bytes()[:-4] + b"\0\0\0\1")
    else:
        paint(labelled.gallery.paths[1], 99)
    uses: list[Callable[[], object]] = [measure.require_unchanged, lambda: measure.measure(inputs.teacher)]
    for use in uses:
        with pytest.raises(InvalidInput, match=USED):
            use()
    assert not measure._kept


@pytest.mark.parametrize("remembered", [True, False])
def test_images_of_a_benchmark_are_refused_where_they_changed(tmp_path: Path, *, remembered: bool) -> None:
    benchmark = open_benchmark(make_revisited(tmp_path, "roxford5k"))
    files = FileDigests(tmp_path / "digests.json" if remembered else None)
    measure = OnBenchmarks((benchmark,), 48, (1.0,), "cpu", files=files)
    measure.digest()
    measure.require_unchanged()
    query = files_of(benchmark)[-1]
    query.write_bytes(query.read_bytes()[::-1])
    with pytest.raises(InvalidInput, match=rf"{query.name} {USED}"):
        measure.require_unchanged()

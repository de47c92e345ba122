"""The labels and images of a training are written down beside its student, and names stay what they were."""

from pathlib import Path

import numpy as np
import pytest

from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import SourceImage
from student_trainer.distil.labels.learned import keep_learned, learned_labels
from student_trainer.distil.lineage.learned import IMAGES, LABELS, Inherited, Learned, read
from student_trainer.distil.lineage.start import Start
from student_trainer.errors import InvalidInput
from student_trainer.run_folder import RunFolder

NAMES = ("arch", "dome", "tower")


def data(labels: list[int] | list[list[int]], names: tuple[str, ...] | None = NAMES) -> TrainingData:
    images = tuple(SourceImage(Path(f"{n}.jpg"), f"{n:064x}") for n in range(len(labels)))
    return TrainingData(images, labels=np.array(labels), label_names=names)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path)


def test_only_labels_that_an_image_of_the_training_has_are_kept() -> None:
    assert learned_labels(data([2, 0, 2, -1])) == ("arch", "tower")
    assert learned_labels(data([2, 0, 2, -1]).take([1, 3])) == ("arch",)
    assert learned_labels(data([[0, 1, 1], [0, 0, 0]])) == ("dome", "tower")


def test_labels_and_images_are_written_down(run: RunFolder) -> None:
    keep_learned(run, data([0, 1, 1]), None, continued=False)
    assert read(run.learned_labels, LABELS) == Learned(("arch", "dome"))
    assert read(run.learned_images, IMAGES) == Learned(tuple(f"{n:064x}" for n in range(3)))


def test_a_training_without_labels_leaves_no_file_of_them_and_removes_an_older_one(run: RunFolder) -> None:
    keep_learned(run, data([0, 1]), None, continued=False)
    keep_learned(run, data([0, 1], names=None), None, continued=False)
    assert not run.learned_labels.exists()
    assert run.learned_images.exists()


@pytest.mark.parametrize("complete", [True, False])
def test_what_the_start_learned_from_is_handed_on_with_or_without_own_labels(
    run: RunFolder, complete: bool
) -> None:
    known = Inherited(frozenset({"bridge"}), complete)
    start = Start("ab" * 32, {}, known, Inherited(frozenset({"cd" * 32}), complete))
    keep_learned(run, data([0, 1], names=None), start, continued=False)
    assert read(run.learned_labels, LABELS) == Learned((), known)
    keep_learned(run, data([0, 1]), start, continued=False)
    labels, images = read(run.learned_labels, LABELS), read(run.learned_images, IMAGES)
    assert labels is not None and images is not None
    assert (labels.names, labels.complete) == ({"arch", "bridge", "dome"}, complete)
    assert (len(images.names), images.complete) == (3, complete)


def test_a_training_goes_on_with_the_names_that_it_began_with(run: RunFolder) -> None:
    keep_learned(run, data([0, 1]), None, continued=False)
    keep_learned(run, data([0, 1]), None, continued=True)
    renamed = data([0, 1], ("a", "b", "c"))
    with pytest.raises(InvalidInput, match=r"other names of labels: .*arch, dome.*"):
        keep_learned(run, renamed, None, continued=True)
    assert read(run.learned_labels, LABELS) == Learned(("arch", "dome"))
    keep_learned(run, renamed, None, continued=False)
    assert read(run.learned_labels, LABELS) == Learned(("a", "b"))


def test_a_training_of_before_its_labels_were_written_down_goes_on(run: RunFolder) -> None:
    keep_learned(run, data([0, 1]), None, continued=True)
    assert read(run.learned_labels, LABELS) == Learned(("arch", "dome"))

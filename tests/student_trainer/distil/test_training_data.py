"""Images, descriptors and labels of a training speak of the same images, and what is missing is refused."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_benchmarks import make_sfm120k

from shared.certificate import transfer_set_digest
from shared.vectors import descriptor_digest
from student_trainer.distil.data import TrainingData, from_manifest, from_sfm120k, from_transfer_set
from student_trainer.distil.images import digest_files
from student_trainer.distil.labels.of_bought import add_labels, add_sfm120k
from student_trainer.errors import InvalidInput

WriteSet = Callable[..., Path]


def manifest(path: Path, rows: Sequence[str]) -> Path:
    path.write_text("path,label,split\n" + "\n".join(rows) + "\n")
    return path


class TestTransferSet:
    def test_what_was_bought_comes_back_bit_for_bit(
        self, bought: TrainingData, write_transfer_set: WriteSet
    ) -> None:
        data = from_transfer_set(write_transfer_set(bought))
        assert data.images == bought.images
        assert np.array_equal(data.teacher, bought.teacher)
        assert data.teacher_revision == bought.teacher_revision
        assert data.digest() == bought.digest()
        assert data.labels is None

    def test_its_digest_is_the_one_that_the_certificate_states(self, bought: TrainingData) -> None:
        stated = transfer_set_digest(
            {
                image.digest: descriptor_digest(row)
                for image, row in zip(bought.images, bought.teacher, strict=True)
            }
        )
        assert bought.transfer_set_digest == stated

    def test_an_incomplete_set_is_refused_with_both_counts_unless_partial_is_asked_for(
        self, bought: TrainingData, write_transfer_set: WriteSet
    ) -> None:
        path = write_transfer_set(bought.take(range(10)), planned=bought.images[10:])
        with pytest.raises(InvalidInput, match=r"10 of 18 planned images are bought.*fetch.*--partial"):
            from_transfer_set(path)
        assert len(from_transfer_set(path, partial=True)) == 10

    def test_a_set_without_any_descriptor_is_refused_even_when_partial(
        self, bought: TrainingData, write_transfer_set: WriteSet
    ) -> None:
        path = write_transfer_set(bought.take([]), planned=bought.images)
        with pytest.raises(InvalidInput, match=r"0 of 18 planned images are bought.*fetch\.$"):
            from_transfer_set(path, partial=True)

    def test_a_missing_set_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="There is no transfer set"):
            from_transfer_set(tmp_path / "transfer_set.sqlite")


class TestManifest:
    def test_labels_become_class_numbers(self, paint: Callable[[int], list[Path]], tmp_path: Path) -> None:
        paths = paint(5)
        rows = [f"{path},{label},train" for path, label in zip(paths, "bacab", strict=True)]
        data = from_manifest(manifest(tmp_path / "m.csv", rows), "train")
        assert data.labels is not None
        assert data.labels.tolist() == [1, 0, 2, 0, 1]
        assert [image.path for image in data.images] == paths
        assert data.teacher is None
        assert data.transfer_set_digest is None

    def test_several_labels_become_a_row_of_zeros_and_ones(
        self, paint: Callable[[int], list[Path]], tmp_path: Path
    ) -> None:
        path = tmp_path / "m.csv"
        rows = zip(paint(3), ("sky;sea", "house", "sea"), strict=True)
        path.write_text("path,labels\n" + "\n".join(f"{image},{labels}" for image, labels in rows))
        data = from_manifest(path, None)
        assert data.labels is not None
        assert data.labels.tolist() == [[0, 1, 1], [1, 0, 0], [0, 1, 0]]
        part = data.take([2, 0])
        assert part.labels is not None and part.labels.tolist() == [[0, 1, 0], [0, 1, 1]]
        swapped = replace(data, labels=data.labels[::-1].copy())
        assert len({data.digest(), part.digest(), swapped.digest()}) == 3

    def test_a_folder_labels_by_its_sub_folders(
        self, paint: Callable[[int], list[Path]], tmp_path: Path
    ) -> None:
        for path, place in zip(paint(4), ("x", "y", "x", "y"), strict=True):
            (tmp_path / "sorted" / place).mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / "sorted" / place / path.name)
        data = from_manifest(tmp_path / "sorted", None)
        assert data.labels is not None
        assert data.labels.tolist() == [0, 0, 1, 1]
        with pytest.raises(InvalidInput, match="has no splits"):
            from_manifest(tmp_path / "sorted", "train")

    def test_an_image_without_a_label_is_refused(
        self, paint: Callable[[int], list[Path]], tmp_path: Path
    ) -> None:
        one, two, three = paint(3)
        rows = [f"{one},a,", f"{two},,", f"{three},,"]
        with pytest.raises(
            InvalidInput, match=r"2 of 3 images of the manifest .* have no label: .*001\.png.*leave them out"
        ):
            from_manifest(manifest(tmp_path / "m.csv", rows), None)

    def test_labels_are_matched_to_bought_images_by_their_bytes(
        self, bought: TrainingData, tmp_path: Path
    ) -> None:
        copies = []
        for n, image in enumerate(reversed(bought.images)):
            copy = tmp_path / f"copy{n}.png"
            copy.write_bytes(image.path.read_bytes())
            copies.append(f"{copy},label{(len(bought) - 1 - n) % 4},")
        data = add_labels(bought, manifest(tmp_path / "m.csv", copies), None)
        assert data.labels is not None
        assert data.labels.tolist() == [n % 4 for n in range(len(bought))]
        assert data.teacher is bought.teacher

    def test_a_bought_image_without_a_label_is_refused(self, bought: TrainingData, tmp_path: Path) -> None:
        rows = [f"{image.path},a," for image in bought.images[1:]]
        with pytest.raises(
            InvalidInput, match=r"1 of 18 bought images are not in the manifest .*000\.png.*--partly-labelled"
        ):
            add_labels(bought, manifest(tmp_path / "m.csv", rows), None)

    @pytest.mark.parametrize("partly", [False, True])
    def test_a_bought_image_that_is_listed_twice_has_one_label(
        self, bought: TrainingData, tmp_path: Path, partly: bool
    ) -> None:
        copy = tmp_path / "copy.png"
        copy.write_bytes(bought.images[0].path.read_bytes())
        rows = [f"{image.path},label{n % 4}," for n, image in enumerate(bought.images)]
        data = add_labels(
            bought, manifest(tmp_path / "m.csv", [*rows, f"{copy},label0,"]), None, partly=partly
        )
        assert data.labels is not None
        assert data.labels.tolist() == [n % 4 for n in range(len(bought))]
        with pytest.raises(
            InvalidInput, match=r"000\.png and .*copy\.png hold the same bytes and have differ"
        ):
            add_labels(bought, manifest(tmp_path / "m.csv", [*rows, f"{copy},label1,"]), None, partly=partly)

    def test_an_image_that_was_not_bought_may_have_two_labels(
        self, paint: Callable[[int], list[Path]], bought: TrainingData, tmp_path: Path
    ) -> None:
        other = paint(20)[19]
        copy = shutil.copy(other, tmp_path / "copy.png")
        rows = [f"{image.path},a," for image in bought.images] + [f"{other},a,", f"{copy},b,"]
        data = add_labels(bought, manifest(tmp_path / "m.csv", rows), None)
        assert data.label_names == ("a",)


class TestSfm120k:
    def test_the_models_are_labels_and_the_pairs_stand_at_their_rows(self, tmp_path: Path) -> None:
        data = from_sfm120k(make_sfm120k(tmp_path, clusters=3, images=4), None)
        assert data.labels is not None and data.pairs is not None
        assert data.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert data.pairs.tolist() == [[n, n + 1] for n in range(12) if n % 4 < 3]
        assert len({image.digest for image in data.images}) == 12
        assert len(from_sfm120k(tmp_path, "val")) == 8

    def test_bought_images_of_the_set_get_their_models_and_the_pairs_among_them(self, tmp_path: Path) -> None:
        root = make_sfm120k(tmp_path, clusters=3, images=4)
        public = from_sfm120k(root, None)
        bought = replace(public.take([9, 0, 1, 5, 8]), labels=None, pairs=None)
        moved = tmp_path / "elsewhere" / bought.images[0].path.name
        moved.parent.mkdir()
        moved.write_bytes(bought.images[0].path.read_bytes())
        bought = replace(bought, images=(*digest_files([moved]), *bought.images[1:]))
        for image in public.images[10:]:
            image.path.unlink()  # what was not bought need not be there
        found = add_sfm120k(bought, root, None)
        assert found.labels is not None and found.pairs is not None
        assert found.labels.tolist() == [2, 0, 0, 1, 2]
        assert found.pairs.tolist() == [[1, 2], [4, 0]]

    def test_a_bought_image_that_the_set_does_not_have_is_named(
        self, bought: TrainingData, tmp_path: Path
    ) -> None:
        root = make_sfm120k(tmp_path)
        theirs = from_sfm120k(root, None).images
        with pytest.raises(
            InvalidInput, match=r"18 of 18 bought images are not in SfM-120k, train: .*000\.png"
        ):
            add_sfm120k(bought, root, None)
        with pytest.raises(InvalidInput, match="24 of 24 bought images are not in SfM-120k, val"):
            add_sfm120k(TrainingData(theirs), root, "val")
        changed = tmp_path / theirs[3].path.name
        changed.write_bytes(b"other bytes under the same name")
        with pytest.raises(InvalidInput, match="1 of 2 bought images are not in SfM-120k, train"):
            add_sfm120k(TrainingData((theirs[2], *digest_files([changed]))), root, None)

    def test_images_that_are_not_there_are_counted(self, tmp_path: Path) -> None:
        root = make_sfm120k(tmp_path)
        next(path for path in sorted((root / "ims").rglob("*")) if path.is_file()).unlink()
        with pytest.raises(InvalidInput, match=r"1 of (24|8) images of SfM-120k, (train|val), are missing"):
            for split in ("train", "val"):
                from_sfm120k(root, split)

    def test_taking_rows_keeps_the_pairs_among_them_by_their_new_places(self, bought: TrainingData) -> None:
        paired = replace(bought, pairs=np.array([[0, 4], [4, 8], [8, 0]]))
        taken = paired.take([8, 1, 0]).pairs
        assert taken is not None
        assert taken.tolist() == [[0, 2]]


class TestDigest:
    def test_images_descriptors_labels_and_their_order_count(self, bought: TrainingData) -> None:
        assert bought.teacher is not None
        other_vectors = bought.teacher.copy()
        other_vectors[3, 2] += 1e-6
        variants = [
            bought,
            bought.take(range(17)),
            bought.take([1, 0, *range(2, 18)]),
            replace(bought, teacher=other_vectors),
            replace(bought, labels=np.zeros(18, np.int64)),
            replace(bought, teacher=None),
            replace(bought, pairs=np.array([[0, 4], [1, 5]])),
            replace(bought, pairs=np.array([[4, 0], [1, 5]])),
        ]
        assert len({data.digest() for data in variants}) == len(variants)

    def test_where_the_files_lie_does_not_count(self, bought: TrainingData, tmp_path: Path) -> None:
        moved = []
        for image in bought.images:
            (tmp_path / "moved").mkdir(exist_ok=True)
            moved.append(tmp_path / "moved" / image.path.name)
            moved[-1].write_bytes(image.path.read_bytes())
        assert replace(bought, images=tuple(digest_files(moved))).digest() == bought.digest()

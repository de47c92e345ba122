"""The label-free measures: against plain definitions, scikit-learn, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score

from student_trainer.distil import label_free
from student_trainer.distil.label_free import score


def descriptors(n: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def plain(student: np.ndarray, teacher: np.ndarray, k: int, tau: float) -> tuple[float, float, int]:
    """The definitions in words, image by image."""
    mine, theirs = (
        rows @ rows.T for rows in (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (student, teacher))
    )
    overlaps, precisions, alone = [], [], 0
    for i in range(len(student)):
        others = [j for j in range(len(student)) if j != i]
        nearest = [set(sorted(others, key=lambda j: -s[i, j])[:k]) for s in (mine, theirs)]
        overlaps.append(len(nearest[0] & nearest[1]) / min(k, len(others)))
        relevant = [theirs[i, j] > tau for j in others]
        if any(relevant):
            precisions.append(average_precision_score(relevant, mine[i, others]))
        else:
            alone += 1
    return float(np.mean(overlaps)), float(np.mean(precisions)), alone


@pytest.mark.parametrize("k", [1, 5, 50])
def test_the_scores_are_those_of_the_definitions_and_of_scikit_learn(k: int) -> None:
    student, teacher = descriptors(23, 6, seed=1), descriptors(23, 9, seed=2)
    overlap, average, alone = plain(student, teacher, k, 0.5)
    found = score(student, teacher, k=k, tau=0.5)
    assert found.overlap == pytest.approx(overlap)
    assert found.average_precision == pytest.approx(average)
    assert (found.images, found.without_neighbours, found.k) == (23, alone, min(k, 22))
    assert 0 < alone < 23


def test_ties_stand_in_the_order_of_the_images_in_both_rankings() -> None:
    """Of equal descriptors: each network finds all others of one place as near as each other."""
    random = np.random.default_rng(0)
    student, teacher = (np.eye(3, dtype=np.float32)[random.integers(0, 3, 60)] for _ in range(2))
    overlaps, precisions = [], []
    for i in range(60):
        others = [j for j in range(60) if j != i]
        mine, theirs = (sorted(others, key=lambda j: (-rows[i] @ rows[j], j)) for rows in (student, teacher))
        overlaps.append(len({*mine[:5]} & {*theirs[:5]}) / 5)
        relevant = [bool((teacher[i] == teacher[j]).all()) for j in mine]
        precisions.append(average_precision_score(relevant, -np.arange(59)))
    found = score(student, teacher, k=5)
    assert found.overlap == pytest.approx(np.mean(overlaps))
    assert found.average_precision == pytest.approx(np.mean(precisions))


def test_an_image_exactly_at_the_threshold_is_not_relevant() -> None:
    found = score(descriptors(6, 6, seed=8), np.eye(6, dtype=np.float32), tau=0.0)
    assert (found.average_precision, found.without_neighbours) == (None, 6)


def test_the_teacher_itself_scores_one() -> None:
    teacher = descriptors(40, 5, seed=3)
    found = score(teacher, teacher)
    assert (found.overlap, found.average_precision) == (1.0, 1.0)


def test_a_student_that_knows_nothing_overlaps_by_chance() -> None:
    found = score(descriptors(400, 32, seed=4), descriptors(400, 32, seed=5), k=10)
    assert found.overlap == pytest.approx(10 / 399, abs=0.01)


@settings(max_examples=30)
@given(
    lengths=arrays.arrays(np.float32, 12, elements=st.floats(0.125, 8, width=32)),
    seed=st.integers(0, 99),
    order=st.permutations(range(12)),
)
def test_neither_the_length_of_descriptors_nor_the_order_of_images_matters(
    lengths: np.ndarray, seed: int, order: list[int]
) -> None:
    student, teacher = descriptors(12, 4, seed), descriptors(12, 4, seed + 1)
    plainly = score(student, teacher, k=3, tau=0.2)
    changed = score((student * lengths[:, None])[order], teacher[order] * 3, k=3, tau=0.2)
    assert changed.overlap == pytest.approx(plainly.overlap)
    assert changed.average_precision == pytest.approx(plainly.average_precision)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = descriptors(31, 4, seed=6), descriptors(31, 4, seed=7)
    whole = score(student, teacher, tau=0.3)
    monkeypatch.setattr(label_free, "SIMILARITIES_AT_ONCE", 100)
    assert score(student, teacher, tau=0.3) == whole


def test_without_any_neighbour_there_is_no_average_precision() -> None:
    found = score(descriptors(6, 6, seed=8), np.eye(6, dtype=np.float32), tau=0.5)
    assert (found.average_precision, found.without_neighbours) == (None, 6)


@pytest.mark.parametrize(
    ("student", "teacher", "options", "complaint"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), {}, "the student describes 3, the teacher 4"),
        (np.ones((1, 2)), np.ones((1, 2)), {}, "at least 2 images"),
        (np.ones((3, 2)), np.ones((3, 2)), {"k": 0}, "k must be at least 1"),
        (np.ones((3, 2)), np.ones((3, 2)), {"tau": float("nan")}, "tau a finite number"),
        (np.ones(3), np.ones((3, 2)), {}, r"got shape \(3,\)"),
        (np.ones((3, 2)), np.array([[1, 0], [0, 0], [0, 1.0]]), {}, "teacher's descriptor in row 1 has le"),
        (np.array([[1, np.nan], [1, 0]]), np.ones((2, 2)), {}, "student's descriptor in row 0"),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    student: np.ndarray, teacher: np.ndarray, options: dict[str, float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        score(student, teacher, **options)

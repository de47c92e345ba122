"""Who is relevant to whom: the same label, or one in common where images have several."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from student_trainer.datasets.manifest import Entry, Label
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.evaluate.labelled import score
from student_trainer.evaluate.relevance import SameLabel, SharedLabel, in_words, relevance

NAMES = [f"label {number}" for number in range(150)]
one = st.sampled_from(NAMES)
several = st.lists(one, min_size=0, max_size=6).map(tuple)


def as_set(label: Label) -> set[str]:
    return {label} if isinstance(label, str) else set(label)


@given(st.lists(one, min_size=1, max_size=8), st.lists(one, min_size=1, max_size=20))
def test_with_one_label_each_the_same_label_is_relevant(queries: list[str], database: list[str]) -> None:
    relevant = relevance(queries, database)
    assert isinstance(relevant, SameLabel)
    for place, query in enumerate(queries):
        assert relevant.of(place).tolist() == [name == query for name in database]


@given(st.lists(st.one_of(one, several), max_size=8), st.lists(several, min_size=1, max_size=20))
def test_with_several_one_in_common_is_enough(queries: list[Label], database: list[Label]) -> None:
    relevant = relevance(queries, database)
    assert isinstance(relevant, SharedLabel)
    for place, query in enumerate(queries):
        assert relevant.of(place).tolist() == [bool(as_set(query) & as_set(other)) for other in database]


def test_more_labels_than_a_word_has_bits_are_told_apart() -> None:
    relevant = relevance([(name,) for name in NAMES], [(name,) for name in NAMES])
    assert np.array_equal([relevant.of(query) for query in range(150)], np.eye(150, dtype=bool))


@given(st.integers(0, 1_000))
def test_scores_with_several_labels_are_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((12, 8)).astype(np.float32)
    labels = [tuple(NAMES[place] for place in random.integers(0, 4, 1 + row % 3)) for row in range(12)]
    queries, database = labels[:4], labels[4:]
    expected = [
        average_precision_score([bool(set(own) & set(other)) for other in database], rows[4:] @ row)
        for row, own in zip(rows, queries, strict=False)
        if any(set(own) & set(other) for other in database)
    ]
    if expected:
        assert score(rows[:4], rows[4:], queries, database).map_step == pytest.approx(np.mean(expected))


def test_a_gallery_knows_what_each_query_should_find(tmp_path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    gallery = gallery_of(
        [
            Entry(tmp_path / "a", ("sky", "sea"), is_query=True),
            Entry(tmp_path / "b", ("sea",)),
            Entry(tmp_path / "c", ("house",)),
        ]
    )
    assert gallery.several_labels
    assert gallery.relevance.of(0).tolist() == [True, False]
    assert [in_words(label) for label in gallery.labels] == ["sky + sea", "sea", "house"]
    with pytest.raises(InvalidInput, match="1 of 2 images have no label"):
        gallery_of([Entry(tmp_path / "a", ("sky",)), Entry(tmp_path / "b")])

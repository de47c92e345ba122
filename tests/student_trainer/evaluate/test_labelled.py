"""Scores of labelled images: means, own images, queries that cannot be scored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from student_trainer.evaluate.labelled import MEASURES, score, score_queries


def unit_rows(seed: int, n: int, dim: int = 16) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def labels(seed: int, n: int, names: str = "abc") -> list[str]:
    return [names[index] for index in np.random.default_rng(seed).integers(0, len(names), n)]


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 20))
def test_map_step_is_scikit_learns_average_over_the_queries_that_have_positives(seed, queries, database):
    left, right = unit_rows(seed, queries), unit_rows(seed + 1, database)
    left_labels, right_labels = labels(seed, queries), labels(seed + 1, database)
    expected = [
        average_precision_score([name == own for name in right_labels], right @ row)
        for row, own in zip(left, left_labels, strict=True)
        if own in right_labels
    ]
    if not expected:
        with pytest.raises(ValueError, match="None of the"):
            score(left, right, left_labels, right_labels)
        return
    scores = score(left, right, left_labels, right_labels)
    assert scores.map_step == pytest.approx(np.mean(expected), abs=1e-9)
    assert scores.queries == len(expected)
    assert scores.queries_without_positives == queries - len(expected)
    assert scores.database == database


@given(st.integers(0, 10_000), st.integers(4, 20))
def test_leaving_a_query_out_of_its_own_ranking_equals_a_database_without_it(seed, n):
    rows, names = unit_rows(seed, n), labels(seed, n, "ab")
    together = score_queries(rows, rows, names, names, own_places=[[i] for i in range(n)])
    for query in range(n):
        others = [index for index in range(n) if index != query]
        alone = score_queries(
            rows[query : query + 1], rows[others], [names[query]], [names[index] for index in others]
        )
        for measure in MEASURES:
            np.testing.assert_allclose(getattr(together, measure)[query], getattr(alone, measure)[0])
        assert together.top[query].tolist() == [others[index] for index in alone.top[0]]


def test_without_its_index_a_query_in_the_database_would_find_itself():
    rows = unit_rows(0, 4)
    names = ["a", "b", "c", "d"]
    assert score(rows, rows, names, names).recall_at_1 == 1.0
    with pytest.raises(ValueError, match="None of the 4 queries has a relevant image"):
        score(rows, rows, names, names, own_places=[[i] for i in range(4)])


def test_a_query_without_positives_leaves_the_mean_and_is_counted():
    database = np.eye(3, dtype=np.float32)
    queries = database[[0, 2]]
    scores = score(queries, database, ["a", "nowhere"], ["a", "b", "b"])
    assert scores.map_step == 1.0
    assert (scores.queries, scores.queries_without_positives) == (1, 1)


def test_every_measure_is_what_its_words_say_on_a_ranking_done_by_hand():
    # The query ranks the database a, b, a, b, so the relevant places are 1 and 3.
    database = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], np.float32)
    scores = score(np.array([[1, 0]], np.float32), database, ["a"], ["a", "b", "a", "b"])
    assert scores.map_step == pytest.approx(5 / 6)
    assert scores.map_trapezoid == pytest.approx(19 / 24)
    assert scores.mp_at_10 == pytest.approx(2 / 3)
    assert scores.recall_at_1 == 1.0


def test_recall_at_more_depths_is_the_share_of_queries_with_a_relevant_image_so_far():
    # One query, whose only relevant images stand at the places 3 and 6 of nine.
    database = np.array([[np.cos(angle), np.sin(angle)] for angle in np.linspace(0.1, 1, 9)], np.float32)
    scores = score(np.array([[1, 0]], np.float32), database, ["a"], list("bbabbabbb"))
    assert (scores.recall_at_1, scores.recall_at_2, scores.recall_at_4, scores.recall_at_8) == (0, 0, 1, 1)


@given(st.integers(0, 10_000), st.integers(3, 30))
def test_recall_grows_with_depth_and_asks_every_image_among_the_rest(seed, n):
    rows, names = unit_rows(seed, n), labels(seed, n, "abcdef")
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    best = np.argsort(-similarity, axis=1, kind="stable")
    asked = [query for query in range(n) if names.count(names[query]) > 1]
    if not asked:
        return
    scores = score(rows, rows, names, names, own_places=[[i] for i in range(n)])
    for k in (1, 2, 4, 8):
        found = [any(names[i] == names[query] for i in best[query, : min(k, n - 1)]) for query in asked]
        assert getattr(scores, f"recall_at_{k}") == pytest.approx(np.mean(found))
    assert scores.recall_at_1 <= scores.recall_at_2 <= scores.recall_at_4 <= scores.recall_at_8


def test_only_some_queries_may_stand_in_the_database():
    rows = np.eye(3, dtype=np.float32)
    found = score_queries(rows[:2], rows, ["a", "b"], ["a", "b", "a"], own_places=[[0], []])
    assert found.top[0].tolist() == [1, 2]
    assert found.top[1].tolist() == [1, 0, 2]


def test_a_query_that_stands_in_the_database_several_times_is_left_out_everywhere():
    rows = np.eye(4, dtype=np.float32)[[0, 1, 2, 0, 0]]
    found = score_queries(rows[:1], rows, ["a"], ["a", "a", "b", "a", "b"], own_places=[[0, 3, 4]])
    assert found.top[0].tolist() == [1, 2]
    assert found.means().queries == 1
    with pytest.raises(ValueError, match="the image that asks aside"):
        score(rows[:1], rows, ["a"], ["a", "b", "b", "a", "a"], own_places=[[0, 3, 4]])


def test_the_best_images_of_every_query_are_kept_as_asked():
    rows = unit_rows(3, 9)
    found = score_queries(rows[:1], rows, ["a"], ["a"] * 9, top_k=4)
    assert len(found.top[0]) == 4
    assert found.top[0][0] == 0


def test_no_measure_is_described_as_a_bare_map():
    assert "step" in MEASURES["map_step"]
    assert "trapezoidal" in MEASURES["map_trapezoid"]


@pytest.mark.parametrize(
    ("query_labels", "database_labels", "own", "message"),
    [
        (["a"], ["a", "b"], None, "do not fit 1 and 2 labels"),
        (["a", "b"], ["a"], None, "do not fit 2 and 1 labels"),
        (["a", "b"], ["a", "b"], [[0]], "own places of 1 queries"),
        (["a", "b"], ["a", "b"], [[0], [1, 2]], "Own places must lie in the database of 2 images"),
        (["a", "b"], ["a", "b"], [[0], [-1]], "Own places must lie"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(query_labels, database_labels, own, message):
    with pytest.raises(ValueError, match=message):
        score_queries(unit_rows(0, 2), unit_rows(1, 2), query_labels, database_labels, own_places=own)

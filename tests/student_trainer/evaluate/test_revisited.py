"""The benchmarks' scores, against an implementation written here from their definition, image by image."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student_trainer.datasets.ground_truth import QueryTruth
from student_trainer.evaluate.bootstrap import interval
from student_trainer.evaluate.ranking import rank
from student_trainer.evaluate.revisited import SETUPS, evaluate, graded, score
from student_trainer.evaluate.search.exact import ranks_of

POSITIVES = {"E": ["easy"], "M": ["easy", "hard"], "H": ["hard"], "old": ["ok"]}
IGNORED = {"E": ["junk", "hard"], "M": ["junk"], "H": ["junk", "easy"], "old": ["junk"]}
MEASURES = ("map_trapezoid", "map_step", "mp_at_1", "mp_at_5", "mp_at_10")


def by_hand(ranking: list[int], truth: dict[str, list[int]], setup: str) -> dict[str, float] | None:
    """One query: walk down the ranking without the ignored images; None without positives."""
    wanted = {image for grade in POSITIVES[setup] for image in truth[grade]}
    out = {image for grade in IGNORED[setup] for image in truth[grade]}
    if not wanted:
        return None
    left = [image for image in ranking if image not in out]
    trapezoid = step = 0.0
    hits = 0
    for place, image in enumerate(left):
        if image in wanted:
            before = 1.0 if place == 0 else hits / place
            hits += 1
            trapezoid += (before + hits / (place + 1)) / 2 / len(wanted)
            step += hits / (place + 1) / len(wanted)
    found = {"map_trapezoid": trapezoid, "map_step": step}
    last = max(left.index(image) for image in wanted) + 1
    for k in (1, 5, 10):
        cut = min(last, k)
        found[f"mp_at_{k}"] = sum(image in wanted for image in left[:cut]) / cut
    return found


@st.composite
def benchmarks(draw: st.DrawFn, grades: tuple[str, ...]) -> tuple[np.ndarray, list[dict[str, list[int]]]]:
    """Rankings [N, Q], and a ground truth that grades every image at random, or not at all."""
    n, q = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    ranks = np.stack([random.permutation(n) for _ in range(q)], axis=1)
    truths = []
    for _ in range(q):
        given_grade = random.integers(0, len(grades) + 2, n)
        truths.append({grade: np.flatnonzero(given_grade == i).tolist() for i, grade in enumerate(grades)})
    return ranks, truths


def agree(result: dict, ranks: np.ndarray, truths: list[dict[str, list[int]]], setup: str) -> None:
    queries = [by_hand(ranks[:, q].tolist(), truth, setup) for q, truth in enumerate(truths)]
    scored = [query for query in queries if query is not None]
    assert result["queries"] == len(scored)
    assert result["queries_without_positives"] == len(queries) - len(scored)
    for measure in MEASURES:
        if not scored:
            assert result[measure] is None
            continue
        values = np.array([query[measure] for query in scored])
        assert result[measure] == pytest.approx(values.mean(), abs=1e-12)
        assert result["intervals"][measure] == pytest.approx(interval(values))


@settings(max_examples=30)
@given(benchmarks(("easy", "hard", "junk")))
def test_easy_medium_and_hard_are_what_their_definition_gives(benchmark):
    ranks, truths = benchmark
    result = evaluate(ranks, truths)
    assert list(result) == ["protocol", "E", "M", "H"]
    for setup in "EMH":
        agree(result[setup], ranks, truths, setup)


@settings(max_examples=30)
@given(benchmarks(("ok", "junk")))
def test_the_old_protocol_is_what_its_definition_gives(benchmark):
    ranks, truths = benchmark
    result = evaluate(ranks, truths, protocol="old")
    assert list(result) == ["protocol", "old"]
    agree(result["old"], ranks, truths, "old")


@settings(max_examples=30)
@given(benchmarks(("easy", "hard", "junk")), st.integers(0, 10_000))
def test_the_ranks_of_the_graded_images_alone_give_the_same_scores(benchmark, seed):
    ranks, truths = benchmark
    n, q = ranks.shape
    random = np.random.default_rng(seed)
    queries, database = (random.integers(-2, 3, (size, 3)).astype(np.float32) for size in (q, n))
    whole = evaluate(rank(queries, database), truths)
    listed = [graded(truth, "revisited") for truth in truths]
    scores = score(truths, listed, ranks_of(queries, database, listed))
    assert {setup: found.summary() for setup, found in scores.items()} == {
        setup: whole[setup] for setup in "EMH"
    }


def test_a_ranking_done_by_hand():
    # Image 3 is junk and leads; then hard, easy, negative, easy.
    ranks = np.array([[3], [0], [1], [4], [2]])
    truth = {"easy": [1, 2], "hard": [0], "junk": [3]}
    result = evaluate(ranks, [truth])
    # Easy: the ranking left is 1, 4, 2: (1 + 1)/4 + (1/2 + 2/3)/4.
    assert result["E"]["map_trapezoid"] == pytest.approx(0.5 + 7 / 24)
    # Medium: 0, 1, 4, 2. Hard: 0, 4, and it is found at once.
    assert result["M"]["map_step"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert result["H"]["map_trapezoid"] == 1.0
    assert result["E"]["mp_at_10"] == pytest.approx(2 / 3)


def test_recall_at_1_asks_whether_the_first_image_that_is_not_ignored_is_sought():
    truth = {"easy": [1], "hard": [2], "junk": [0]}
    listed = graded(truth, "revisited")
    # Junk, easy, another, hard; then junk, another, hard, easy.
    scores = score([truth] * 2, [listed] * 2, [np.array([0, 1, 3]), np.array([0, 3, 2])])
    assert {setup: found.recall_at_1.tolist() for setup, found in scores.items()} == {
        "E": [1, 0], "M": [1, 0], "H": [0, 0],
    }  # fmt: skip


def test_our_own_types_and_the_public_dictionaries_score_alike():
    ranks = np.random.default_rng(0).permuted(np.tile(np.arange(20), (2, 1)), axis=1).T
    ours = [QueryTruth(easy=(1, 5), hard=(7,), junk=(9,)), QueryTruth(hard=(0, 2))]
    public = [
        {"bbx": [0, 0, 9, 9], "easy": np.array([1, 5]), "hard": [7], "junk": [9]},
        {"bbx": [0, 0, 9, 9], "easy": [], "hard": [0, 2], "junk": np.array([])},
    ]
    assert evaluate(ranks, ours) == evaluate(ranks, public)
    assert evaluate(ranks, ours)["E"]["queries_without_positives"] == 1


def test_medium_seeks_what_easy_and_hard_seek_and_ignores_less():
    setups = SETUPS["revisited"]
    assert set(setups["M"].positives) == {*setups["E"].positives, *setups["H"].positives}
    assert all({*setup.positives, *setup.ignored} == {"easy", "hard", "junk"} for setup in setups.values())


def test_a_setup_without_any_positive_has_no_mean_and_says_so():
    result = evaluate(np.arange(4)[:, None], [{"easy": [1], "hard": [], "junk": []}])
    assert result["H"] == {
        **dict.fromkeys(MEASURES), "queries": 0, "queries_without_positives": 1, "intervals": {},
    }  # fmt: skip
    assert math.isfinite(result["M"]["map_trapezoid"])


@pytest.mark.parametrize("ranks", [[[0], [5], [2]], [[0], [0], [1]], [[-1], [0], [1]]])
def test_a_ranking_that_lacks_database_images_is_refused(ranks):
    with pytest.raises(ValueError, match=r"query 0 has 3 places, but does not hold each .* whole database"):
        evaluate(np.array(ranks), [{"easy": [1], "hard": [], "junk": []}])


def test_a_ranking_shorter_than_the_database_is_refused():
    with pytest.raises(ValueError, match=r"ranking has 3 images, .* query 0 names image 7: rank the whole"):
        evaluate(np.arange(3)[:, None], [{"easy": [1], "hard": [7], "junk": []}])


@pytest.mark.parametrize("ranks", [np.arange(4), np.arange(8).reshape(4, 2), np.zeros((4, 1))])
def test_rankings_of_another_shape_or_kind_are_refused(ranks):
    with pytest.raises(ValueError, match=r"whole numbers \[database, queries\]"):
        evaluate(ranks, [{"easy": [1], "hard": [], "junk": []}])


def test_a_ground_truth_of_the_other_protocol_is_refused():
    with pytest.raises(ValueError, match="has no 'easy', only 'ok', 'junk': it is of another protocol"):
        evaluate(np.arange(4)[:, None], [{"ok": [1], "junk": []}])
    with pytest.raises(ValueError, match="has no 'ok'"):
        evaluate(np.arange(4)[:, None], [{"easy": [1], "hard": [], "junk": []}], "old")


def test_an_image_graded_twice_or_below_zero_is_refused():
    with pytest.raises(ValueError, match="grades an image twice"):
        evaluate(np.arange(4)[:, None], [{"easy": [1], "hard": [1], "junk": []}])
    with pytest.raises(ValueError, match="names image -1; indices begin at 0"):
        evaluate(np.arange(4)[:, None], [{"easy": [-1], "hard": [], "junk": []}])


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="no protocol 'new': choose revisited or old"):
        evaluate(np.arange(4)[:, None], [{"easy": [1], "hard": [], "junk": []}], "new")

"""Examples are chosen by the rule that the report prints."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.evaluate.examples import GAINED, LOST, TYPICAL, choose

NAN = float("nan")
aps = st.one_of(st.just(NAN), st.floats(0, 1))
pairs = st.lists(st.tuples(aps, aps, st.sampled_from("abc")), max_size=20)


def test_the_largest_gains_the_largest_loss_and_the_median_are_shown():
    before = np.array([0.1, 0.2, 0.3, 0.9, 0.5, 0.5, 0.5])
    after = np.array([0.9, 0.8, 0.6, 0.2, 0.5, 0.5, 0.51])
    chosen = choose(after, before, list("abcdefg"))
    assert chosen == [(0, GAINED), (1, GAINED), (2, GAINED), (3, LOST), (6, TYPICAL), (4, TYPICAL)]


def test_different_labels_go_before_a_larger_gain():
    before = np.zeros(5)
    after = np.array([0.9, 0.8, 0.7, 0.3, 0.2])
    chosen = dict(choose(after, before, ["same", "same", "same", "second", "third"]))
    assert [query for query, why in chosen.items() if why == GAINED] == [0, 3, 4]


def test_one_label_alone_still_fills_the_examples():
    chosen = choose(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.zeros(5), ["same"] * 5)
    assert [why for _, why in chosen] == [GAINED] * 3 + [TYPICAL] * 2


def test_without_a_student_before_only_typical_queries_are_shown():
    chosen = choose(np.array([0.0, 0.5, 1.0]), None, list("abc"))
    assert chosen == [(1, TYPICAL), (0, TYPICAL)]


def test_a_student_that_changed_nothing_gained_and_lost_nothing():
    same = np.array([0.3, 0.6])
    assert {why for _, why in choose(same, same, list("ab"))} == {TYPICAL}


def test_nothing_scored_gives_no_examples():
    assert choose(np.array([NAN, NAN]), np.array([NAN, NAN]), list("ab")) == []


@given(pairs)
def test_examples_are_distinct_scored_few_and_truly_what_they_are_called(values):
    after = np.array([value[0] for value in values])
    before = np.where(np.isnan(after), np.nan, [np.nan_to_num(value[1]) for value in values]).astype(float)
    chosen = choose(after, before, [value[2] for value in values])
    queries = [query for query, _ in chosen]
    assert len(queries) == len(set(queries)) <= 6
    for query, why in chosen:
        assert not np.isnan(after[query])
        assert why != GAINED or after[query] > before[query]
        assert why != LOST or after[query] < before[query]
    scored = int((~np.isnan(after)).sum())
    assert len(chosen) >= min(scored, 2)

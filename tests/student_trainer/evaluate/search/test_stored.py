"""Databases that are read by slices give what the array in one piece gives."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.errors import StorageFailed
from student_trainer.evaluate.search.blocks import gathered
from student_trainer.evaluate.search.stored import Changed, FileRows, Joined

ROWS = np.random.default_rng(0).standard_normal((11, 3)).astype(np.float32)
slices = st.builds(slice, st.integers(-13, 13), st.integers(-13, 13))


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_a_file_gives_the_slices_of_the_array(tmp_path, dtype):
    rows = ROWS.astype(dtype)
    rows.tofile(tmp_path / "rows")
    stored = FileRows(tmp_path / "rows", (11, 3), np.dtype(dtype))
    for part in (slice(None), slice(2, 5), slice(10, 20), slice(7, 3), slice(-2, None), slice(0, 0)):
        np.testing.assert_array_equal(stored[part], rows[part])


@given(slices, st.lists(st.integers(0, 11), max_size=3).map(sorted))
def test_joined_databases_give_the_slices_of_all_in_one(part, cuts):
    bounds = [0, *cuts, 11]
    joined = Joined([ROWS[a:b] for a, b in pairwise(bounds)])
    assert joined.shape == (11, 3)
    np.testing.assert_array_equal(joined[part], ROWS[part])


@given(slices)
def test_a_changed_database_changes_what_is_read(part):
    changed = Changed(ROWS, lambda rows: rows[:, :2] * 2, 2)
    assert changed.shape == (11, 2)
    np.testing.assert_array_equal(changed[part], ROWS[part, :2] * 2)


@given(st.lists(st.integers(0, 10), max_size=8))
def test_single_rows_are_gathered_in_the_order_given(indices):
    joined = Joined([ROWS[:4], ROWS[4:].astype(np.float16)])
    expected = np.concatenate([ROWS[:4], ROWS[4:].astype(np.float16).astype(np.float32)])[indices]
    np.testing.assert_array_equal(gathered(joined, indices), expected.reshape(-1, 3))


def test_databases_of_two_dimensions_cannot_be_joined():
    with pytest.raises(ValueError, match=r"these have \[2, 3\]"):
        Joined([ROWS, ROWS[:, :2]])
    with pytest.raises(ValueError, match=r"these have \[\]"):
        Joined([])


def test_a_file_that_is_short_or_gone_says_that_it_is_made_anew(tmp_path):
    path = tmp_path / "rows"
    ROWS[:10].tofile(path)
    stored = FileRows(path, (11, 3), np.dtype("<f4"))
    np.testing.assert_array_equal(stored[:10], ROWS[:10])
    with pytest.raises(StorageFailed, match=r"too short for 11 rows of 3\. Delete it"):
        stored[9:]
    path.unlink()
    with pytest.raises(StorageFailed, match="cannot be read: No such file"):
        stored[:2]

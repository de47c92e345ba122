"""How similar bought descriptors are to one another: the same as all at once, in blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.distil.similarities import median_similarity, neighbourhoods


@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 7), st.integers(0, 10**6))
def test_similarities_are_the_cosines_to_the_other_images(
    images: int, dim: int, block: int, seed: int
) -> None:
    vectors = np.random.default_rng(seed).standard_normal((images, dim)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = units @ units.T
    np.fill_diagonal(similarity, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("student_trainer.distil.similarities._SIMILARITY_BLOCK_ROWS", block)
        pairs = similarity[np.triu_indices(images, k=1)]
        # Between two neighbouring similarities, where rounding cannot decide.
        ladder = np.unique([-1, *pairs, 1])
        gap = int(np.argmax(np.diff(ladder)))
        threshold = float(ladder[gap : gap + 2].mean())
        nearest, above = neighbourhoods(vectors, threshold)
        assert nearest == pytest.approx(similarity.max(axis=1), abs=1e-5)
        assert above.tolist() == (similarity > threshold).sum(axis=1).tolist()
        assert median_similarity(vectors) == pytest.approx(np.median(pairs), abs=1e-5)


def test_the_median_similarity_of_many_images_is_that_of_an_even_selection() -> None:
    vectors = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32) + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("student_trainer.distil.similarities._MEDIAN_ROWS", 100)
        selected = median_similarity(vectors)
    assert selected == median_similarity(vectors[::4])
    assert selected == pytest.approx(median_similarity(vectors), abs=0.1)

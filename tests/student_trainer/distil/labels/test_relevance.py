"""Similarity labels and mixup labels."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.distil.labels import mixup_labels, similarity_labels


def from_sets(labels: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
    """Sec. 3.3 told with sets, as the paper tells it."""
    images, everything = len(partners), range(len(labels))
    before = [{z for z in everything if labels[q, z]} for q in everything]
    after = [set(positives) for positives in before]
    for k in range(images):
        after[images + k] = before[images + k] | before[k] | before[int(partners[k])]
    rows = [[z in after[q] or q in after[z] for z in everything] for q in everything]
    return torch.tensor(rows)


def test_only_what_is_more_similar_than_the_threshold_is_positive() -> None:
    similarity = torch.tensor([[1.0, 0.75, 0.7500001, -1.0]])
    assert similarity_labels(similarity, 0.75).tolist() == [[True, False, True, False]]


def test_a_mixture_is_positive_to_both_its_parents() -> None:
    labels = torch.eye(4, dtype=torch.bool)
    found = mixup_labels(labels, torch.tensor([1, 1]))
    assert found[2].tolist() == [True, True, True, False]
    assert found[0].tolist() == [True, False, True, False]


def test_a_mixture_inherits_what_its_parents_have_before_any_union() -> None:
    labels = torch.eye(6, dtype=torch.bool)
    # Mixture 3 = (0, 1) and mixture 4 = (1, 2). Image 1 is similar to neither, so the two mixtures, which
    # share it as a parent, become positive to it but not to each other.
    found = mixup_labels(labels, torch.tensor([1, 2, 2]))
    assert found[3, 1] and found[4, 1]
    assert not found[3, 4] and not found[4, 3]


def test_mixtures_become_positive_through_a_parent_that_one_of_them_resembles() -> None:
    labels = torch.eye(4, dtype=torch.bool)
    labels[0, 3] = labels[3, 0] = True  # image 0 resembles mixture 3, and is a parent of mixture 2
    found = mixup_labels(labels, torch.tensor([0, 1]))
    assert found[2, 3] and found[3, 2]


@given(images=st.integers(1, 6), density=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_mixup_labels_are_the_unions_of_the_paper_made_symmetric(
    images: int, density: float, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    labels = torch.rand(2 * images, 2 * images, generator=random) < density
    labels = labels | labels.T
    partners = torch.randint(images, (images,), generator=random)
    untouched = labels.clone()

    found = mixup_labels(labels, partners)

    assert torch.equal(found, from_sets(labels, partners))
    assert torch.equal(found, found.T)
    assert torch.equal(found[:images, :images], labels[:images, :images])
    assert torch.equal(labels, untouched)

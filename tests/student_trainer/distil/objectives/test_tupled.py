"""Objectives of tuples take a training's tuples as mined, or mine those of a labelled batch in place."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from student_trainer.distil import objectives
from student_trainer.distil.descriptors import BadDescriptors
from student_trainer.distil.heads import Head, fit_head
from student_trainer.distil.objectives.tupled import TupleObjective
from student_trainer.distil.objectives.tuples import contrastive, multi_similarity, triplet
from student_trainer.distil.tuples.draws import Mining
from student_trainer.errors import InvalidInput

LOSSES: dict[str, Callable[..., Tensor]] = {
    "contrastive": contrastive,
    "asym-contrastive": contrastive,
    "asym-contrastive+": contrastive,
    "triplet": triplet,
    "asym-triplet": triplet,
    "multi-similarity": multi_similarity,
    "asym-multi-similarity": multi_similarity,
}
NAMES = list(LOSSES)
ASYMMETRIC = [name for name in NAMES if name.startswith("asym-")]
SYMMETRIC = [name for name in NAMES if name not in ASYMMETRIC]


def made(name: str, **settings: Any) -> TupleObjective:
    objective = objectives.get(name)(**settings)
    assert isinstance(objective, TupleObjective)
    return objective


def rows(count: int, dim: int, seed: int) -> Tensor:
    """Of any length, in float64."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, dtype=torch.float64, generator=random)


def units(descriptors: Tensor) -> Tensor:
    return descriptors / descriptors.norm(dim=1, keepdim=True)


def by_hand(name: str, student: Tensor, teacher: Tensor, labels: list[int], negatives: int) -> Tensor:
    """Anchor by anchor: the next image of its label, and down the ranking one image of each other label."""
    own = units(student)
    pool = units(teacher) if name in ASYMMETRIC else own
    total = own.sum() * 0
    for a, label in enumerate(labels):
        alike = [row for row, other in enumerate(labels) if other == label]
        if label < 0 or len(alike) < 2:
            continue
        positives = [alike[(alike.index(a) + 1) % len(alike)]]
        positives += [a] if name.endswith("+") else []
        chosen: list[int] = []
        for row in sorted(range(len(labels)), key=lambda row: -(own[a] @ pool[row]).item()):
            if labels[row] not in [-1, label, *(labels[c] for c in chosen)] and len(chosen) < negatives:
                chosen.append(row)
        total = total + LOSSES[name](own[a], pool[positives], pool[chosen])
    return total


class TestByName:
    @pytest.mark.parametrize("name", NAMES)
    def test_an_objective_says_what_it_needs_and_where_its_students_live(self, name: str) -> None:
        objective = made(name)
        assert (objective.name, objective.needs_labels, objective.facts.needs_white_box) == (
            name,
            True,
            False,
        )
        assert objective.needs_teacher is objective.facts.in_teachers_space is (name in ASYMMETRIC)

    @pytest.mark.parametrize("name", NAMES)
    def test_the_settings_are_those_of_the_source(self, name: str) -> None:
        pool = 22_000 if name == "contrastive" else 20_000
        mining = {"negatives": 5, "anchors_per_epoch": 2000, "pool_images": pool}
        of_loss = {p.name: p.default for p in list(inspect.signature(LOSSES[name]).parameters.values())[3:]}
        kind = objectives.get(name)
        assert {p.name: p.default for p in inspect.signature(kind).parameters.values()} == mining | of_loss
        assert kind().mining == Mining(5, 2000, pool, by_teacher=name in ASYMMETRIC)

    @pytest.mark.parametrize("name", ["rank-mixup", "rank", "ap"])
    def test_the_objectives_of_whole_batches_mine_nothing(self, name: str) -> None:
        assert objectives.get(name)().mining is None

    @pytest.mark.parametrize(
        ("name", "settings", "message"),
        [
            ("contrastive", {"margin": 0.0}, r"margin = 0\.0: take a distance above 0 and at most 2"),
            ("asym-contrastive", {"margin": 2.1}, r"margin = 2\.1"),
            ("asym-contrastive+", {"margin": float("nan")}, "margin = nan"),
            ("triplet", {"margin": -0.1}, r"margin = -0\.1: take a squared distance from 0 to 4"),
            ("asym-triplet", {"margin": float("nan")}, "margin = nan"),
            ("multi-similarity", {"alpha": 0.0}, r"alpha = 0\.0: take a positive number"),
            ("multi-similarity", {"beta": float("inf")}, "beta = inf"),
            ("asym-multi-similarity", {"threshold": 1.5}, r"threshold = 1\.5: take a cosine"),
            ("triplet", {"negatives": 0}, "negatives = 0: take a whole number from 1 up"),
            ("contrastive", {"anchors_per_epoch": 2.5}, r"anchors_per_epoch = 2\.5"),
            ("asym-triplet", {"pool_images": -1}, "pool_images = -1"),
        ],
    )
    def test_a_setting_out_of_its_range_is_refused_at_once(
        self, name: str, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InvalidInput, match=message):
            objectives.get(name)(**settings)


class TestTheTeachersDescriptors:
    @pytest.mark.parametrize("name", ASYMMETRIC)
    @pytest.mark.parametrize("kind", [torch.float16, torch.float32])
    def test_they_may_be_of_another_type_and_get_no_gradient(self, name: str, kind: torch.dtype) -> None:
        labels = torch.arange(6) // 2
        student, teacher = rows(6, 5, seed=1).requires_grad_(), rows(6, 5, seed=2).to(kind).requires_grad_()
        loss = made(name, negatives=2)(student, teacher, labels)
        expected = made(name, negatives=2)(student, teacher.detach().double(), labels)
        assert loss.dtype == torch.float64
        assert torch.equal(loss, expected)
        loss.backward()
        assert student.grad is not None
        assert teacher.grad is None


class TestTuplesOfATraining:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_loss_is_the_sum_over_tuples_of_unit_descriptors(self, name: str) -> None:
        """Of an asymmetric loss the student describes the anchors alone."""
        anchors, student = [0, 4, 8], rows(12, 5, seed=1).requires_grad_()
        teacher = rows(12, 5, seed=2)
        described = student[anchors] if name in ASYMMETRIC else student
        found = made(name, negatives=2).of_tuples(described, teacher if name in ASYMMETRIC else None)
        others = units(teacher) if name in ASYMMETRIC else units(student)
        expected = sum(
            LOSSES[name](
                units(student)[a],
                others[a : a + 2] if name.endswith("+") else others[a + 1 : a + 2],
                others[a + 2 : a + 4],
            )
            for a in anchors
        )
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(
            *torch.autograd.grad(found, student),
            *torch.autograd.grad(expected, student),
            rtol=1e-10,
            atol=1e-13,
        )

    @pytest.mark.parametrize("name", NAMES)
    def test_it_passes_gradcheck(self, name: str) -> None:
        objective, teacher = made(name, negatives=2), rows(8, 5, seed=4)
        student = rows(2 if name in ASYMMETRIC else 8, 5, seed=3).requires_grad_()
        assert torch.autograd.gradcheck(lambda s: objective.of_tuples(s, teacher), [student])

    @pytest.mark.parametrize("name", ASYMMETRIC)
    def test_anchors_of_other_dimensions_reach_the_teachers_space_through_the_head(self, name: str) -> None:
        objective, student, teacher = made(name, negatives=2), rows(2, 3, seed=3), rows(8, 5, seed=4)
        head = fit_head(objective, 3, 5, seed=7)
        assert isinstance(head, Head) and (head.kind, head.in_dim, head.out_dim) == ("projection", 3, 5)
        assert head.linear.bias is None
        head.double()
        found = objective.of_tuples(student, teacher)
        brought = units(units(student) @ head.linear.weight.T)
        torch.testing.assert_close(
            found, made(name, negatives=2).of_tuples(brought, teacher), rtol=1e-5, atol=0
        )
        (gradient,) = torch.autograd.grad(found, [head.linear.weight])
        assert gradient.isfinite().all() and (gradient != 0).any()
        torch.testing.assert_close(objective.into_teachers_space(units(student)), brought, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_part_of_a_tuple_is_refused(self, name: str) -> None:
        with pytest.raises(
            InvalidInput, match=r"A batch of tuples is 5 images for each: .*; the batch has 8 images"
        ):
            made(name, negatives=3).of_tuples(rows(8, 5, 1), rows(8, 5, 2))


class TestLabelledBatch:
    @settings(max_examples=40)
    @given(
        name=st.sampled_from(NAMES),
        labels=st.lists(st.integers(-1, 4), min_size=1, max_size=14),
        negatives=st.integers(1, 5),
        seed=st.integers(0, 999),
    )
    def test_tuples_are_mined_within_the_batch(
        self, name: str, labels: list[int], negatives: int, seed: int
    ) -> None:
        student, teacher = rows(len(labels), 4, seed).requires_grad_(), rows(len(labels), 4, seed + 1000)
        found = made(name, negatives=negatives)(student, teacher, torch.tensor(labels))
        expected = by_hand(name, student, teacher, labels, negatives)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(
            *torch.autograd.grad(found, student),
            *torch.autograd.grad(expected, student),
            rtol=1e-8,
            atol=1e-10,
        )

    @pytest.mark.parametrize("name", NAMES)
    def test_a_step_along_the_gradient_lowers_the_loss(self, name: str) -> None:
        student, teacher = rows(24, 6, seed=1).requires_grad_(), rows(24, 6, seed=2)
        labels, objective = torch.arange(24) % 7, made(name)
        loss = objective(student, teacher, labels)
        (gradient,) = torch.autograd.grad(loss, student)
        assert objective(student - 0.01 * gradient / gradient.norm(), teacher, labels) < loss

    @pytest.mark.parametrize("name", ASYMMETRIC)
    def test_other_dimensions_make_a_projection_on_the_first_call(self, name: str) -> None:
        objective, labels = made(name), torch.arange(12) % 4
        student, teacher = rows(12, 3, seed=1).float().requires_grad_(), rows(12, 5, seed=2).float()
        loss = objective(student, teacher, labels)
        assert objective.head is not None and objective.head.out_dim == 5
        slopes = torch.autograd.grad(loss, [student, objective.head.linear.weight])
        assert all(slope.isfinite().all() and (slope != 0).any() for slope in slopes)
        assert torch.equal(made(name)(student, teacher, labels), loss)  # the same initial weights
        with pytest.raises(InvalidInput, match="projection head leads from 3 to 5 dimensions"):
            objective(student, rows(12, 9, seed=2).float(), labels)

    @pytest.mark.parametrize("name", NAMES)
    def test_equal_dimensions_and_symmetric_losses_learn_no_head(self, name: str) -> None:
        objective = made(name)
        objective(rows(12, 5, 1), rows(12, 5, 2), torch.arange(12) % 4)
        assert objective.head is None
        assert objective.make_head(5, None, seed=0) is None
        if name in SYMMETRIC:
            assert objective.make_head(5, 9, seed=0) is None
            objective(rows(12, 5, 1), None, torch.arange(12) % 4)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("labels", [[0], [-1], [0, 1, 2], [-1, -1, -1], [0, -1, 1]], ids=str)
    def test_a_batch_without_two_images_of_a_label_has_no_loss(self, name: str, labels: list[int]) -> None:
        student = rows(len(labels), 5, 1).requires_grad_()
        loss = made(name)(student, rows(len(labels), 5, 2), torch.tensor(labels))
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss == 0 and (gradient == 0).all()

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("labels", [[0, 0, 1, 1], [3, 3, 3, 3]], ids=["two labels", "one label"])
    def test_equal_images_have_a_finite_loss_and_gradient(self, name: str, labels: list[int]) -> None:
        """Also where there is nobody to push away."""
        student = rows(1, 5, 1).expand(4, 5).float().clone().requires_grad_()
        loss = made(name)(student, student.detach(), torch.tensor(labels))
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.shape == () and loss.isfinite() and gradient.isfinite().all()

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        ("labels", "found"),
        [(None, "but got none"), (torch.arange(7), r"shape \[7\]"), (torch.zeros(8), "float32")],
        ids=["none", "too few", "no numbers of classes"],
    )
    def test_labels_that_are_missing_or_do_not_fit_are_refused(
        self, name: str, labels: Tensor | None, found: str
    ) -> None:
        with pytest.raises(InvalidInput, match=f"needs labels, long .8., .*{found}"):
            made(name)(rows(8, 5, 1), rows(8, 5, 2), labels)

    @pytest.mark.parametrize("name", ASYMMETRIC)
    def test_a_missing_teacher_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidInput, match="needs the teacher's descriptors of the batch"):
            made(name)(rows(8, 5, 1), None, torch.arange(8) % 3)
        with pytest.raises(InvalidInput, match="needs the teacher's descriptors of the batch"):
            made(name).of_tuples(rows(8, 5, 1))

    @pytest.mark.parametrize("name", ASYMMETRIC)
    def test_a_teacher_of_other_images_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidInput, match="has 8 descriptors by the student and 6 by the teacher"):
            made(name)(rows(8, 5, 1), rows(6, 5, 2), torch.arange(8) % 3)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_descriptor_without_direction_is_refused_by_row(self, name: str) -> None:
        broken = rows(8, 5, 1)
        broken[6] = 0.0
        with pytest.raises(BadDescriptors, match="student's descriptor in row 6"):
            made(name)(broken, rows(8, 5, 2), torch.arange(8) % 3)


def test_the_same_batch_gives_the_same_tuples() -> None:
    student, labels = rows(16, 5, 1), torch.from_numpy(np.arange(16) % 5)
    first, second = (made("triplet")(student, None, labels) for _ in range(2))
    assert torch.equal(first, second)

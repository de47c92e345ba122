"""The objectives by name: what they compute, what they draw, and what they refuse."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from student_trainer.distil import objectives
from student_trainer.distil.average_precision import Bins
from student_trainer.distil.descriptors import BadDescriptors, similarities, unit_rows
from student_trainer.distil.objectives.rank import Rank, RankMixup
from student_trainer.distil.objectives.supervised_ap import SupervisedAP
from student_trainer.distil.rank_loss import rank_distillation_loss
from student_trainer.distil.rank_loss.reference import ap_losses
from student_trainer.errors import InvalidInput

NAMES = ["rank-mixup", "rank", "ap"]


def batch(images: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Student, teacher and labels; the teacher knows the labels."""
    random = torch.Generator().manual_seed(1)
    labels = torch.arange(images) % 3
    student = torch.randn(images, 5, dtype=torch.float64, generator=random).requires_grad_()
    noise = torch.randn(images, 7, dtype=torch.float64, generator=random)
    return student, torch.eye(7, dtype=torch.float64)[labels] + 0.2 * noise, labels


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_is_found_by_name_and_says_what_it_needs(name: str) -> None:
    objective = objectives.get(name)()
    assert objective.name == name
    assert objective.needs_labels is (name == "ap")
    assert objective.needs_teacher is (name != "ap")


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_gives_a_finite_scalar_with_a_gradient(name: str) -> None:
    student, teacher, labels = batch()
    loss = objectives.get(name)()(student, teacher, labels)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.shape == () and 0 < loss.item() < 1
    assert gradient.isfinite().all() and (gradient != 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_along_the_gradient_lowers_the_loss(name: str) -> None:
    student, teacher, labels = batch(24)
    objective, again = objectives.get(name)(), objectives.get(name)()
    loss = objective(student, teacher, labels)
    (gradient,) = torch.autograd.grad(loss, student)
    assert again(student - 0.1 * gradient / gradient.norm(), teacher, labels) < loss


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"no objective 'rank-mixpu'\. Did you mean 'rank-mixup'\?"):
        objectives.get("rank-mixpu")


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(InvalidInput, match=r"Choose one of: .*contrastive, .*rank, rank-mixup"):
        objectives.get("zzz")


def test_the_settings_of_rank_mixup_are_those_of_the_method() -> None:
    parameters = inspect.signature(objectives.get("rank-mixup")).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "rounds": 10,
        "alpha": 1.0,
        "tau": 0.75,
        "bins": 20,
        "low": -1.0,
        "high": 1.0,
        "label_mixed": True,
        "include_self": True,
        "grad_through_mixed": False,
        "seed": 0,
        "backend": "auto",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bins": 9, "low": 0.0, "tau": 0.5},
        {"label_mixed": False, "include_self": False},
        {"grad_through_mixed": True, "backend": "reference"},
    ],
)
def test_rank_mixup_is_the_rank_distillation_loss_of_what_it_draws(settings: dict[str, Any]) -> None:
    student, teacher, _ = batch()
    objective = RankMixup(rounds=3, seed=5, **settings)
    partners, lam = objective.draw(8)
    expected = rank_distillation_loss(student, teacher, partners, lam, **settings)
    found = objective(student, teacher)
    assert torch.equal(found, expected)
    assert torch.equal(*torch.autograd.grad(found, student), *torch.autograd.grad(expected, student))


def test_what_is_drawn_is_a_function_of_seed_and_step_alone() -> None:
    student, teacher, _ = batch()
    straight = RankMixup(rounds=2, seed=3)
    losses = [straight(student, teacher).item() for _ in range(4)]
    assert straight.step == 4
    assert len(set(losses)) == 4

    torch.manual_seed(99)  # the global generator has no say
    continued = RankMixup(rounds=2, seed=3)
    continued.step = 2
    assert [continued(student, teacher).item() for _ in range(2)] == losses[2:]
    assert RankMixup(rounds=2, seed=4)(student, teacher).item() != losses[0]


def test_partners_are_uniform_over_the_batch_and_differ_between_rounds() -> None:
    partners, lam = RankMixup(rounds=400, seed=1).draw(10)
    assert partners.shape == (400, 10) and partners.dtype == torch.long
    assert 0 <= lam <= 1
    assert (partners.flatten().bincount(minlength=10) - 400).abs().max() < 100  # five standard deviations
    assert len({tuple(row) for row in partners.tolist()}) == 400


def test_lam_follows_the_beta_distribution() -> None:
    def lams(alpha: float) -> Tensor:
        objective, drawn = RankMixup(rounds=1, alpha=alpha), []
        for objective.step in range(2000):
            drawn.append(objective.draw(2)[1])
        return torch.tensor(drawn)

    for alpha in (0.2, 1.0, 5.0):
        found = lams(alpha)
        assert found.mean().item() == pytest.approx(0.5, abs=0.05)
        assert found.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


@pytest.mark.parametrize("include_self", [True, False])
def test_rank_ranks_the_originals_among_themselves(include_self: bool) -> None:
    student, teacher, _ = batch()
    units = unit_rows(teacher, "teacher")
    relevant = units @ units.T > 0.6
    kept = torch.ones(8, 8, dtype=torch.bool) if include_self else ~torch.eye(8, dtype=torch.bool)
    similarity = similarities(unit_rows(student, "student"))
    expected = ap_losses(similarity[kept].view(8, -1), relevant[kept].view(8, -1), Bins(11)).mean()
    found = Rank(tau=0.6, bins=11, include_self=include_self)(student, teacher)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        *torch.autograd.grad(found, student), *torch.autograd.grad(expected, student), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize("include_self", [True, False])
def test_ap_ranks_images_of_the_same_label_first(include_self: bool) -> None:
    student, _, labels = batch()
    found = SupervisedAP(bins=13, low=0.0, include_self=include_self)(student, None, labels)
    kept = torch.ones(8, 8, dtype=torch.bool) if include_self else ~torch.eye(8, dtype=torch.bool)
    similarity = similarities(unit_rows(student, "student"))[kept].view(8, -1)
    relevant = (labels[:, None] == labels)[kept].view(8, -1)
    torch.testing.assert_close(
        found, ap_losses(similarity, relevant, Bins(13, 0.0)).mean(), rtol=0, atol=1e-12
    )


def test_ap_takes_20_bins_and_ranks_an_image_itself_unless_told_otherwise() -> None:
    student, _, labels = batch()
    expected = SupervisedAP(bins=20, low=-1.0, high=1.0, include_self=True)
    assert torch.equal(SupervisedAP()(student, None, labels), expected(student, None, labels))


def test_ap_has_nothing_to_improve_when_labels_are_separated() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    perfect = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert SupervisedAP()(perfect, None, labels).item() == pytest.approx(0, abs=1e-6)


def test_ap_leaves_unlabelled_images_out() -> None:
    student, _, labels = batch()
    some = labels.clone()
    some[[1, 4]] = -1
    loss = SupervisedAP()(student, None, some)
    assert torch.equal(loss, SupervisedAP()(student[some >= 0], None, labels[some >= 0]))
    (gradient,) = torch.autograd.grad(loss, student)
    assert (gradient[[1, 4]] == 0).all() and (gradient[0] != 0).any()


def test_ap_of_a_batch_without_labels_is_zero_with_zero_gradient() -> None:
    student, _, labels = batch()
    loss = SupervisedAP()(student, None, torch.full_like(labels, -1))
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss == 0 and (gradient == 0).all()


def test_ap_without_itself_gives_no_loss_to_an_image_that_is_alone() -> None:
    student, _, _ = batch(4)
    alone = torch.arange(4)
    assert SupervisedAP(bins=3, include_self=False)(student, None, alone) == 0
    assert SupervisedAP(bins=3, include_self=True)(student, None, alone) > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("include_self", [True, False])
def test_a_batch_of_one_image_has_no_loss_and_no_gradient(name: str, include_self: bool) -> None:
    student, teacher, labels = batch(1)
    loss = objectives.get(name)(include_self=include_self)(student, teacher, labels)
    (gradient,) = torch.autograd.grad(loss, student)
    assert abs(loss.item()) < 1e-12 and gradient.abs().max() < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_a_descriptor_without_direction_is_refused_by_row(name: str) -> None:
    student, teacher, labels = batch()
    broken = student.detach().clone()
    broken[6] = float("nan")
    with pytest.raises(BadDescriptors, match="student's descriptor in row 6"):
        objectives.get(name)()(broken, teacher, labels)


@pytest.mark.parametrize("name", ["rank-mixup", "rank"])
def test_distillation_without_the_teacher_is_refused(name: str) -> None:
    student, _, labels = batch()
    with pytest.raises(InvalidInput, match=f"{name} needs the teacher's descriptors"):
        objectives.get(name)()(student, None, labels)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (None, "got none"),
        (torch.zeros(7, dtype=torch.long), r"shape \[7\]"),
        (torch.zeros(8), "float32"),
        (torch.zeros(8, 1, dtype=torch.long), r"shape \[8, 1\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Tensor | None, found: str) -> None:
    with pytest.raises(InvalidInput, match=found):
        SupervisedAP()(batch()[0], None, labels)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rank-mixup", {"rounds": 0}, "rounds = 0"),
        ("rank-mixup", {"rounds": 2.5}, r"rounds = 2\.5"),
        ("rank-mixup", {"alpha": 0.0}, r"alpha = 0\.0"),
        ("rank-mixup", {"alpha": float("inf")}, "alpha = inf"),
        ("rank-mixup", {"seed": -1}, "seed = -1"),
        ("rank-mixup", {"tau": 1.0}, r"tau = 1\.0"),
        ("rank-mixup", {"bins": 1}, "bins = 1"),
        ("rank-mixup", {"backend": "abacus"}, "no backend 'abacus'"),
        ("rank", {"tau": 7.0}, r"tau = 7\.0"),
        ("rank", {"high": -1.0}, "low must be below high"),
        ("ap", {"bins": 0}, "bins = 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_at_once(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        objectives.get(name)(**settings)

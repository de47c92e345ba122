"""``hint`` is half the mean squared difference of maps after a learned 1 x 1 convolution."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.hint import hint
from student_trainer.errors import InvalidInput

Maps = np.ndarray


def maps(images: int, channels: int, height: int, width: int, seed: int = 0) -> Maps:
    return np.random.default_rng([seed, channels, height]).standard_normal((images, channels, height, width))


def pooled(grid: Maps, height: int, width: int) -> Maps:
    """Adaptive average pooling of [h, w], cell by cell: from floor(i h / H) to ceil((i + 1) h / H)."""
    rows, columns = grid.shape

    def span(place: int, length: int, cells: int) -> slice:
        return slice(place * length // cells, -(-(place + 1) * length // cells))

    return np.array(
        [
            [grid[span(y, rows, height), span(x, columns, width)].mean() for x in range(width)]
            for y in range(height)
        ]
    )


def from_the_definition(student: Maps, teacher: Maps, weights: Maps) -> float:
    """Eq. 3 of FitNets over the numbers of the map, one cell after the other."""
    height, width = (min(sides) for sides in zip(student.shape[2:], teacher.shape[2:], strict=True))
    losses = []
    for ours, theirs in zip(student, teacher, strict=True):
        mine = np.stack([pooled(grid, height, width) for grid in ours])
        wanted = np.stack([pooled(grid, height, width) for grid in theirs])
        squares = [
            (weights[channel] @ mine[:, y, x] - wanted[channel, y, x]) ** 2
            for channel in range(len(wanted))
            for y in range(height)
            for x in range(width)
        ]
        losses.append(0.5 * np.mean(squares))
    return float(np.mean(losses))


def regressor(weights: Maps) -> nn.Conv2d:
    layer = nn.Conv2d(weights.shape[1], weights.shape[0], 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights)[:, :, None, None])
    return layer


SHAPES = [((2, 3, 4, 5), (2, 4, 4, 5)), ((1, 3, 7, 6), (1, 2, 3, 4)), ((2, 2, 2, 5), (2, 3, 4, 3))]


@pytest.mark.parametrize(("ours", "theirs"), SHAPES)
def test_it_has_the_value_of_its_definition_for_maps_of_any_two_sizes(
    ours: tuple[int, ...], theirs: tuple[int, ...]
) -> None:
    student, teacher = maps(*ours), maps(*theirs, seed=1)
    weights = np.random.default_rng(2).standard_normal((theirs[1], ours[1]))
    found = hint(torch.from_numpy(student), torch.from_numpy(teacher), regressor(weights)).mean()
    assert found.item() == pytest.approx(from_the_definition(student, teacher, weights), rel=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), SHAPES)
def test_it_has_the_gradient_of_its_value_in_maps_and_weights(
    ours: tuple[int, ...], theirs: tuple[int, ...]
) -> None:
    student = torch.from_numpy(maps(*ours)).requires_grad_()
    teacher = torch.from_numpy(maps(*theirs, seed=1))
    weights = torch.randn(theirs[1], ours[1], 1, 1, dtype=torch.float64, requires_grad=True)

    def loss(found: Tensor, kernel: Tensor) -> Tensor:
        class Convolution(nn.Module):
            def forward(self, features: Tensor) -> Tensor:
                return nn.functional.conv2d(features, kernel)

        return hint(found, teacher, Convolution()).sum()

    assert torch.autograd.gradcheck(loss, (student, weights))


def test_called_by_name_it_makes_its_regressor_once_and_can_be_trained_to_0() -> None:
    objective = get("hint")(seed=3)
    student = torch.from_numpy(maps(4, 3, 5, 5))
    teacher = nn.functional.conv2d(student, torch.randn(2, 3, 1, 1, dtype=torch.float64))
    before = objective(student, teacher).item()
    assert objective.regressor.weight.shape == (2, 3, 1, 1)
    optimiser = torch.optim.LBFGS(objective.regressor.parameters(), max_iter=50)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = objective(student, teacher)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert objective(student, teacher).item() < 1e-9 * before


def test_its_first_weights_are_a_function_of_the_seed_and_leave_the_shared_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (get("hint")().make_regressor(64, 48, seed).weight for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.std().item() == pytest.approx(64**-0.5, rel=0.1)


def test_a_batch_of_equal_images_and_one_of_a_single_image_have_a_finite_loss() -> None:
    for images in (1, 6):
        student = torch.from_numpy(np.repeat(maps(1, 3, 2, 2), images, axis=0)).requires_grad_()
        loss = get("hint")()(student, torch.from_numpy(np.repeat(maps(1, 2, 2, 2), images, axis=0)))
        loss.backward()
        assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize("name", ["hint", "attention"])
class TestBoth:
    def test_it_says_that_it_needs_a_white_box_and_nothing_else(self, name: str) -> None:
        objective = get(name)()
        assert objective.facts.needs_white_box and objective.of_descriptors is None
        assert not (objective.needs_labels or objective.needs_teacher or objective.facts.in_teachers_space)

    def test_beside_a_base_it_needs_what_the_base_needs(self, name: str) -> None:
        objective = get(name)(base="lmt-absolute", base_settings={"weight": 2.5})
        assert objective.needs_labels and objective.needs_teacher and objective.facts.in_teachers_space
        assert objective.facts.learns_unlabelled
        base = objective.of_descriptors
        assert base is not None and base.name == "lmt-absolute" and base.weight == 2.5  # type: ignore[attr-defined]

    def test_a_base_that_draws_follows_the_seed(self, name: str) -> None:
        assert get(name)(base="rank-mixup", seed=9).of_descriptors.seed == 9
        assert get(name)(base="rank-mixup", base_settings={"seed": 4}, seed=9).of_descriptors.seed == 4

    def test_a_head_of_the_base_is_made_for_it(self, name: str) -> None:
        objective = get(name)(base="regression")
        made = objective.make_head(4, 7, 0)
        assert made is not None and made is objective.of_descriptors.head
        assert get(name)().make_head(4, 7, 0) is None
        assert get(name)(base="rkd").make_head(4, 7, 0) is None

    def test_descriptors_are_no_maps(self, name: str) -> None:
        rows = torch.randn(4, 8)
        for student, teacher in ((rows, rows), (torch.randn(4, 8, 2, 2), None)):
            with pytest.raises(InvalidInput, match=rf"The objective {name} compares feature maps"):
                get(name)()(student, teacher)
        with pytest.raises(InvalidInput, match="of the same images"):
            get(name)()(torch.randn(4, 8, 2, 2), torch.randn(3, 8, 2, 2))

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({"weight": 0.0}, "by a number above 0"),
            ({"weight": float("nan")}, "by a number above 0"),
            ({"layers": "6"}, "'6' is no pair"),
            ({"layers": "6:"}, "'6:' is no pair"),
            ({"layers": "6:6,6:6"}, "names a pair twice"),
            ({"base_settings": {"tau": 0.5}}, "and none is named"),
            ({"base": "regresion"}, "Did you mean 'regression'"),
            ({"base": "regression", "base_settings": {"tau": 0.5}}, r"objective\.tau is unknown"),
            (
                {"base": "rank", "base_settings": {"tau": "auto"}},
                "give the number that the training of 'rank'",
            ),
            ({"base": "hint"}, "does not go with feature maps"),
            ({"base": "contrastive"}, "does not go with feature maps"),
            ({"base": "csq"}, "does not go with feature maps"),
        ],
    )
    def test_a_setting_out_of_range_is_refused(
        self, name: str, settings: dict[str, object], reason: str
    ) -> None:
        with pytest.raises(InvalidInput, match=reason):
            get(name)(**settings)

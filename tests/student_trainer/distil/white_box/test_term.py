"""A term of feature maps that is taken chunk by chunk has the gradient of the whole batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.network import DescriptorNet, NetworkSpec, build_network, calibrate_batch_norm
from student_trainer.distil.backward import BadNumbers, Chunk, Chunks, Step, three_stage_backward
from student_trainer.distil.heads import Head
from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.feature_maps import FeatureMapObjective
from student_trainer.distil.precision import InBFloat16
from student_trainer.distil.white_box.layers import heard, map_shapes
from student_trainer.distil.white_box.term import MapTerm, MapWeights, kept_head

B, LAYERS = 12, "10:4,last:last"
CASES = [
    ("hint", ""),
    ("attention", ""),
    ("hint", "regression"),
    ("attention", "rank"),
]


@dataclass(frozen=True)
class World:
    """A student, a teacher and a batch, all in float64."""

    student: DescriptorNet
    teacher: DescriptorNet
    images: Tensor
    bought: Tensor

    def objective(self, name: str, base: str = "") -> FeatureMapObjective:
        made: Any = get(name)(layers=LAYERS, base=base, weight=2.0, seed=1)
        return made

    def term(self, objective: FeatureMapObjective, weights: MapWeights) -> MapTerm:
        return MapTerm(
            objective, self.student.trunk, self.teacher.trunk, self.teacher.trunk, weights.regressors
        )

    def weights(self, objective: FeatureMapObjective) -> MapWeights:
        ours = map_shapes(self.student.trunk, ["10", ""], (64, 48), "student")
        theirs = map_shapes(self.teacher.trunk, ["4", ""], (64, 48), "teacher")
        regressors = nn.ModuleList(
            objective.make_regressor(mine[0], wanted[0], seed=0)
            for mine, wanted in zip(ours, theirs, strict=True)
        )
        return MapWeights(regressors, objective.make_head(self.student.dim, 8, 0)).double()

    def backward(
        self,
        objective: FeatureMapObjective,
        weights: MapWeights,
        chunk_size: int,
        images: Tensor | None = None,
    ) -> Step:
        base = objective.of_descriptors
        shown = self.images if images is None else images

        def chunks() -> Iterator[Chunk]:
            for positions in torch.arange(len(shown)).split(chunk_size):
                yield Chunk(positions, shown[positions])

        found: Chunks = chunks
        loss_of = None if base is None else lambda rows: base(rows, self.bought)
        term = self.term(objective, weights)
        return three_stage_backward(self.student, found, len(shown), loss_of, beside=weights, term=term)


@pytest.fixture(scope="module")
def world() -> World:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(B, 3, 64, 48, dtype=torch.float64, generator=generator)
    networks = [
        build_network(NetworkSpec(arch), seed=seed).double().eval()
        for seed, arch in enumerate(("mobilenet_v2-320x0.1", "resnet18-128"))
    ]
    for network in networks:
        calibrate_batch_norm(network, [images])
    networks[1].requires_grad_(False)
    bought = torch.randn(B, 8, dtype=torch.float64, generator=generator)
    return World(networks[0], networks[1], images, bought)


def direct(world: World, objective: FeatureMapObjective, weights: MapWeights) -> tuple[float, list[Tensor]]:
    """The loss of the whole batch at once, straight from its parts, and its gradient by autograd."""
    with heard(world.student.trunk, ["10", ""]) as ours:
        descriptors = world.student(world.images)
    with heard(world.teacher.trunk, ["4", ""]) as theirs:
        world.teacher(world.images)
    first, last = weights.regressors
    loss = 2 * objective.of_maps(ours["10"], theirs["4"], first).mean()
    loss = loss + 2 * objective.of_maps(ours[""], theirs[""], last).mean()
    base = objective.of_descriptors
    if base is not None:
        loss = loss + base(descriptors, world.bought)
    parameters = [*world.student.parameters(), *weights.parameters()]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss.item(), [
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
    ]


def left(world: World, weights: MapWeights) -> list[Tensor]:
    parameters = [*world.student.parameters(), *weights.parameters()]
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


@pytest.mark.parametrize(("name", "base"), CASES)
@pytest.mark.parametrize("chunk_size", [12, 5])
def test_loss_and_gradient_in_chunks_are_those_of_the_whole_batch(
    world: World, name: str, base: str, chunk_size: int
) -> None:
    objective = world.objective(name, base)
    weights = world.weights(objective)
    loss, expected = direct(world, objective, weights)
    step = world.backward(objective, weights, chunk_size)
    assert step.loss == pytest.approx(loss, rel=1e-12)
    for ours, theirs in zip(left(world, weights), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13)
    norm = torch.cat([gradient.flatten() for gradient in expected]).norm().item()
    assert step.gradient_norm == pytest.approx(norm, rel=1e-9)
    assert any((gradient != 0).any() for gradient in expected)


def test_a_second_step_starts_from_no_gradient(world: World) -> None:
    objective = world.objective("hint")
    weights = world.weights(objective)
    first, second = (world.backward(objective, weights, 5) for _ in range(2))
    assert first == second


def test_alone_it_passes_over_the_images_once_and_with_a_base_twice(world: World) -> None:
    seen = []
    handle = world.student.register_forward_hook(lambda *_: seen.append(1))
    with handle:
        for base, passes in (("", 3), ("regression", 6)):
            seen.clear()
            objective = world.objective("hint", base)
            world.backward(objective, world.weights(objective), 5)
            assert len(seen) == passes


def test_the_teacher_is_shown_the_students_pixels_and_gets_no_gradient(world: World) -> None:
    shown = []
    objective = world.objective("attention")
    weights = world.weights(objective)
    with world.teacher.trunk.register_forward_hook(lambda _, inputs, __: shown.append(inputs[0])):
        world.backward(objective, weights, 5)
    assert torch.equal(torch.cat(shown), world.images)
    assert all(parameter.grad is None for parameter in world.teacher.parameters())


def test_an_image_whose_maps_are_not_finite_is_named(world: World) -> None:
    broken = world.images.clone()
    broken[[3, 7]] = torch.nan
    objective = world.objective("hint")
    with pytest.raises(BadNumbers, match="The loss of feature maps is not finite") as error:
        world.backward(objective, world.weights(objective), 5, broken)
    assert error.value.rows == (3, 7)


def test_an_image_whose_gradient_is_not_finite_is_named(world: World) -> None:
    class Root(nn.Module):
        """A finite loss whose slope at 0 is not."""

        weights = nn.ModuleList()

        def __call__(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            rows = network(images)
            hidden = images[:, 0, 0, 0].sign().clamp(max=0)  # 0 for a positive pixel
            return rows, (rows.sum(dim=1) * hidden).abs().sqrt()

    def chunks() -> Iterator[Chunk]:
        for positions in torch.arange(4).split(2):
            yield Chunk(positions, images[positions])

    images = -world.images[:4].abs() - 0.1
    images[2, 0, 0, 0] = 1.0
    with pytest.raises(BadNumbers, match="The gradient of the weights is not finite") as error:
        three_stage_backward(world.student, chunks, 4, None, term=Root())
    assert error.value.rows == (2,)


def test_maps_in_bfloat16_are_compared_in_full_precision(world: World) -> None:
    student, teacher = (
        build_network(NetworkSpec(a), seed=0).eval() for a in ("mobilenet_v2-320x0.1", "resnet18-128")
    )
    objective = world.objective("hint")
    weights = world.weights(objective).float()
    images = world.images.float()
    full = MapTerm(objective, student.trunk, teacher.trunk, teacher.trunk, weights.regressors)
    half = MapTerm(objective, student.trunk, teacher.trunk, InBFloat16(teacher.trunk), weights.regressors)
    _, exact = full(student, images)
    _, rounded = half(InBFloat16(student), images)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=1e-3)


def test_only_a_head_is_kept_after_a_training(world: World) -> None:
    head = Head("projection", 4, 8)
    assert kept_head(head) is head
    assert kept_head(MapWeights(nn.ModuleList(), head)) is head
    assert kept_head(MapWeights(nn.ModuleList(), None)) is None
    assert kept_head(None) is None

"""The gradient in chunks is that of the whole batch, and what would make it another is refused."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from shared.network import DescriptorNet, NetworkSpec, build_network, calibrate_batch_norm
from student_trainer.distil.backward import (
    BadNumbers,
    Chunk,
    Chunks,
    InexactBackward,
    describe_without_graph,
    three_stage_backward,
)

B = 64


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(B, 3, 32, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def network(images: Tensor) -> DescriptorNet:
    """Calibrated, because the descriptors of a random network are nearly the same for all images."""
    network = build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=0).double().eval()
    calibrate_batch_norm(network, [images])
    return network


@pytest.fixture(scope="module")
def direct(network: DescriptorNet, images: Tensor) -> tuple[float, list[Tensor]]:
    network.zero_grad()
    loss = listwise(network(images))
    loss.backward()
    return loss.item(), gradients(network)


def listwise(descriptors: Tensor) -> Tensor:
    """A smooth loss in which every descriptor depends on every other."""
    similarity = descriptors @ descriptors.T
    return torch.logsumexp(3 * similarity, dim=1).mean() + (similarity[0] * similarity[1]).sum()


def gradients(network: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


def cut(images: Tensor, size: int) -> Chunks:
    def chunks() -> Iterator[Chunk]:
        for positions in torch.arange(len(images)).split(size):
            yield Chunk(positions, images[positions])

    return chunks


def relative_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    error = sum((a - b).square().sum() for a, b in zip(found, expected, strict=True))
    size = sum(b.square().sum() for b in expected)
    return float((error / size).sqrt())


@pytest.mark.parametrize("chunk_size", [64, 16, 7, 1])
def test_the_gradient_in_chunks_is_the_direct_gradient(
    network: DescriptorNet, images: Tensor, direct: tuple[float, list[Tensor]], chunk_size: int
) -> None:
    step = three_stage_backward(network, cut(images, chunk_size), B, listwise)
    loss, expected = direct
    assert step.loss == pytest.approx(loss, rel=1e-13)
    assert relative_difference(gradients(network), expected) < 1e-12
    norm = torch.cat([gradient.flatten() for gradient in expected]).norm().item()
    assert step.gradient_norm == pytest.approx(norm, rel=1e-12)


def test_chunks_of_several_shapes_in_any_order_give_the_direct_gradient(network: DescriptorNet) -> None:
    generator = torch.Generator().manual_seed(2)
    wide = torch.randn(5, 3, 32, 48, dtype=torch.float64, generator=generator)
    tall = torch.randn(4, 3, 48, 32, dtype=torch.float64, generator=generator)
    at_wide, at_tall = torch.tensor([8, 0, 3, 4, 6]), torch.tensor([1, 7, 2, 5])

    def chunks() -> Iterator[Chunk]:
        yield Chunk(at_tall, tall)
        yield Chunk(at_wide[:2], wide[:2])
        yield Chunk(at_wide[2:], wide[2:])

    network.zero_grad()
    descriptors = torch.empty(9, network.dim, dtype=torch.float64)
    descriptors[at_wide], descriptors[at_tall] = network(wide), network(tall)
    listwise(descriptors).backward()
    expected = gradients(network)
    three_stage_backward(network, chunks, 9, listwise)
    assert relative_difference(gradients(network), expected) < 1e-12


def test_gradients_of_an_earlier_step_do_not_linger(network: DescriptorNet, images: Tensor) -> None:
    three_stage_backward(network, cut(images, 16), B, listwise)
    once = gradients(network)
    three_stage_backward(network, cut(images, 16), B, listwise)
    assert relative_difference(gradients(network), once) == 0


def test_a_loss_without_any_gradient_leaves_the_weights_alone(network: DescriptorNet, images: Tensor) -> None:
    step = three_stage_backward(network, cut(images, 16), B, lambda descriptors: 0 * descriptors.sum())
    assert step.loss == 0
    assert step.gradient_norm == 0


def test_a_loss_that_does_not_depend_on_the_descriptors_leaves_the_weights_alone(
    network: DescriptorNet, images: Tensor
) -> None:
    step = three_stage_backward(network, cut(images, 16), B, lambda descriptors: torch.tensor(2.0))
    assert (step.loss, step.gradient_norm) == (2, 0)


def test_only_the_activations_of_one_chunk_live_at_a_time(network: DescriptorNet, images: Tensor) -> None:
    alive, most = 0, 0

    def pack(tensor: Tensor) -> "Kept":
        return Kept(tensor)

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal alive, most
            self.tensor, self.bytes = tensor, tensor.nbytes
            alive += self.bytes
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= self.bytes

    def peak(count: int, chunk_size: int) -> int:
        nonlocal alive, most
        alive = most = 0
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            three_stage_backward(network, cut(images[:count], chunk_size), count, lambda f: f.sum())
        return most

    assert peak(64, 8) == peak(16, 8)
    assert peak(64, 8) * 7 < peak(64, 64)


def test_each_chunk_is_announced_once_it_is_done(network: DescriptorNet, images: Tensor) -> None:
    announced: list[int] = []
    three_stage_backward(network, cut(images[:20], 8), 20, listwise, on_chunk=announced.append)
    assert announced == [8, 8, 4]


class TestRefusals:
    def test_batch_norm_in_training_mode_is_refused_by_name(self, images: Tensor) -> None:
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()).double()
        with pytest.raises(InexactBackward, match=r"Batch norm '1' is in training mode"):
            three_stage_backward(network, cut(images, 16), B, listwise)

    def test_active_dropout_is_refused_by_name(self, images: Tensor) -> None:
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5)).double()
        with pytest.raises(InexactBackward, match="Dropout '1' is active"):
            three_stage_backward(network, cut(images, 16), B, listwise)

    def test_dropout_of_nothing_is_not_refused(self, images: Tensor) -> None:
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(3840, 4)).double()
        three_stage_backward(network, cut(images, 16), B, listwise)

    def test_batch_norm_in_training_mode_is_another_objective_when_it_is_allowed(
        self, images: Tensor
    ) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()).double()
        listwise(network(images)).backward()
        whole = gradients(network)
        three_stage_backward(network, cut(images, 16), B, listwise, allow_inexact=True)
        assert relative_difference(gradients(network), whole) > 1e-3

    @pytest.mark.parametrize("positions", [[0, 1], [0, 1, 1], [0, 1, 3]])
    def test_chunks_that_do_not_cover_the_batch_once_are_refused(self, positions: list[int]) -> None:
        chunk = Chunk(torch.tensor(positions), torch.zeros(len(positions), 3, 1, 1))
        with pytest.raises(ValueError, match="not each of the batch's 3 once"):
            describe_without_graph(nn.Flatten(), lambda: [chunk], 3)


class TestWhatIsBadNumbers:
    def test_an_image_with_nan_is_found(self, network: DescriptorNet, images: Tensor) -> None:
        broken = images[:20].clone()
        broken[13, 0, 0, 0] = torch.nan
        with pytest.raises(BadNumbers, match="A descriptor is not finite") as caught:
            three_stage_backward(network, cut(broken, 8), 20, listwise)
        assert caught.value.rows == (13,)

    def test_a_descriptor_without_a_direction_is_found(self) -> None:
        images = torch.ones(6, 2, 1, 1)
        images[2] = 0
        with pytest.raises(BadNumbers, match="zero and has no direction") as caught:
            describe_without_graph(nn.Flatten(), cut(images, 4), 6)
        assert caught.value.rows == (2,)

    def test_a_loss_that_is_not_finite_is_refused(self, network: DescriptorNet, images: Tensor) -> None:
        with pytest.raises(BadNumbers, match="The loss") as caught:
            three_stage_backward(network, cut(images, 16), B, lambda f: f.sum() / 0)
        assert caught.value.rows == ()  # all descriptors alike

    def test_the_row_that_makes_the_loss_infinite_is_named(
        self, network: DescriptorNet, images: Tensor
    ) -> None:
        def logarithm_of_zero(descriptors: Tensor) -> Tensor:
            return (descriptors - descriptors.detach()).square().sum(dim=1)[9].log() + descriptors.sum()

        with pytest.raises(BadNumbers, match="The loss is not finite") as caught:
            three_stage_backward(network, cut(images, 16), B, logarithm_of_zero)
        assert caught.value.rows == (9,)

    def test_the_row_with_an_infinite_gradient_is_named(self, network: DescriptorNet, images: Tensor) -> None:
        def square_root_at_zero(descriptors: Tensor) -> Tensor:
            distances = (descriptors - descriptors.detach()[5]).square().sum(dim=1)
            return distances.sqrt().sum()

        with pytest.raises(BadNumbers, match="gradient of a descriptor") as caught:
            three_stage_backward(network, cut(images, 16), B, square_root_at_zero)
        assert caught.value.rows == (5,)

    def test_the_image_that_makes_the_weights_gradient_infinite_is_named(self) -> None:
        class Root(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(2))

            def forward(self, images: Tensor) -> Tensor:
                return 1 + (images.flatten(1) * self.weight).abs().sqrt()

        images = torch.ones(6, 2, 1, 1)
        images[4] = 0

        with pytest.raises(BadNumbers, match="gradient of the weights") as caught:
            three_stage_backward(Root(), cut(images, 2), 6, lambda f: f.sum())
        assert caught.value.rows == (4,)

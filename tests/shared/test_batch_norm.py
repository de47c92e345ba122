"""Batch norm: frozen statistics stay frozen, measured ones are those of the data."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from shared.batch_norm import batch_norm_layers, calibrate_batch_norm, modes_kept
from shared.network import DescriptorNet, NetworkSpec, build_network, freeze_batch_norm


def small_network(seed: int = 0) -> DescriptorNet:
    return build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=seed)


def images(batch: int = 4, seed: int = 0, side: int = 64) -> torch.Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def statistics(network: nn.Module) -> list[torch.Tensor]:
    layers = batch_norm_layers(network)
    return [value.clone() for layer in layers for value in (layer.running_mean, layer.running_var)]


def unchanged(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


# Frozen


def test_frozen_statistics_survive_every_later_call_of_train() -> None:
    network = small_network()
    freeze_batch_norm(network)
    before = statistics(network)
    for _ in range(2):
        network.train()
        assert network.training
        assert network.trunk.training
        assert not any(layer.training for layer in batch_norm_layers(network))
        network(images())
        network.eval()
    assert unchanged(before, statistics(network))


def test_without_freezing_the_statistics_move() -> None:
    network = small_network().train()
    before = statistics(network)
    network(images())
    assert not unchanged(before, statistics(network))


def test_freezing_acts_at_once_on_a_network_in_training_and_leaves_one_in_evaluation_there() -> None:
    network = small_network().train()
    freeze_batch_norm(network)
    assert not any(layer.training for layer in batch_norm_layers(network))
    evaluated = small_network().eval()
    freeze_batch_norm(evaluated)
    assert not evaluated.training


def test_affine_weights_of_frozen_layers_are_still_trained() -> None:
    network = small_network()
    calibrate_batch_norm(network, [images()])
    freeze_batch_norm(network)
    network.train()
    network(images()).pow(3).sum().backward()
    for layer in batch_norm_layers(network):
        assert layer.weight.requires_grad
        assert layer.weight.grad is not None
    assert any(layer.weight.grad.abs().sum() > 0 for layer in batch_norm_layers(network))


def test_a_frozen_network_gives_each_image_the_same_descriptor_in_any_batch() -> None:
    network = small_network()
    calibrate_batch_norm(network, [images()])
    freeze_batch_norm(network)
    network.train()
    batch = images(seed=3)
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]), rtol=1e-4, atol=1e-5)


# Calibrated


def test_one_batch_gives_exactly_its_own_statistics() -> None:
    layer = nn.BatchNorm2d(3)
    batch = images(8) * 5 + 2
    assert calibrate_batch_norm(nn.Sequential(layer), [batch]) == 8
    values = batch.transpose(0, 1).reshape(3, -1)
    torch.testing.assert_close(layer.running_mean, values.mean(dim=1))
    torch.testing.assert_close(layer.running_var, values.var(dim=1))


def test_several_batches_weigh_the_same_whatever_their_order() -> None:
    batches = [images(4, seed) + seed for seed in range(5)]
    forward, backward = (nn.Sequential(nn.BatchNorm2d(3)) for _ in range(2))
    assert calibrate_batch_norm(forward, batches) == 20
    calibrate_batch_norm(backward, batches[::-1])
    for ours, theirs in zip(statistics(forward), statistics(backward), strict=True):
        torch.testing.assert_close(ours, theirs)
    expected = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    torch.testing.assert_close(forward[0].running_mean, expected)


def test_after_calibration_evaluation_gives_what_training_gave() -> None:
    network = small_network()
    batch = images(16, side=96)
    calibrate_batch_norm(network, [batch])
    with torch.no_grad():
        evaluated = network.eval()(batch)
        trained = network.train()(batch)
    assert (evaluated * trained).sum(dim=1).min() > 0.99


def test_an_uncalibrated_random_mobilenet_tells_no_images_apart_and_a_calibrated_one_does() -> None:
    network = build_network(NetworkSpec("mobilenet_v2-320x0.35"), seed=1).eval()
    batch = images(6)
    with torch.no_grad():
        assert network(batch).std(dim=0).max() < 1e-6
        calibrate_batch_norm(network, [batch])
        assert network(batch).std(dim=0).max() > 1e-3


def test_calibration_touches_neither_weights_nor_modes_nor_momentum() -> None:
    network = small_network().train()
    network.pool.eval()
    weights = [parameter.clone() for parameter in network.parameters()]
    modes = [module.training for module in network.modules()]
    calibrate_batch_norm(network, [images()])
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))
    assert [module.training for module in network.modules()] == modes
    assert {layer.momentum for layer in batch_norm_layers(network)} == {0.1}


def test_a_frozen_network_can_be_calibrated_and_stays_frozen() -> None:
    network = small_network().train()
    freeze_batch_norm(network)
    before = statistics(network)
    calibrate_batch_norm(network, [images()])
    assert not unchanged(before, statistics(network))
    assert not any(layer.training for layer in batch_norm_layers(network))


def test_calibration_leaves_no_graph_behind() -> None:
    network = small_network()
    calibrate_batch_norm(network, [images()])
    assert not any(layer.running_mean.requires_grad for layer in batch_norm_layers(network))


def test_calibration_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="without a single batch"):
        calibrate_batch_norm(small_network(), [])


def test_a_failing_batch_leaves_modes_and_momentum_as_they_were() -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield images()
        raise OSError("disk")

    network = small_network().eval()
    with pytest.raises(OSError, match="disk"):
        calibrate_batch_norm(network, broken())
    assert not any(module.training for module in network.modules())
    assert {layer.momentum for layer in batch_norm_layers(network)} == {0.1}


def test_a_single_pixel_has_no_statistics_and_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        calibrate_batch_norm(small_network(), [images(1, side=1)])


def test_modes_are_restored_one_by_one_even_after_an_error() -> None:
    network = small_network().train()
    network.pool.eval()
    with pytest.raises(RuntimeError), modes_kept(network):
        network.eval()
        raise RuntimeError
    assert network.trunk.training
    assert not network.pool.training

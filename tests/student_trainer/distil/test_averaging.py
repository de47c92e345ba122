"""The mean of weights is the mean, survives a checkpoint, and leaves frozen values as they were."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from student_trainer.distil.averaging import WeightMean


def network(value: float) -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    for parameter in net.parameters():
        nn.init.constant_(parameter, value)
    return net


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5))
def test_the_mean_is_the_arithmetic_mean_of_all_weights(values: list[float]) -> None:
    mean = WeightMean()
    for value in values:
        mean.add(network(value))
    weights = mean.weights(like=network(0))
    expected = torch.tensor(sum(values) / len(values))
    torch.testing.assert_close(weights["0.weight"].flatten(), expected.expand(2), rtol=1e-6, atol=1e-6)
    assert mean.count == len(values)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2), st.integers(1, 7))
def test_what_does_not_change_comes_out_to_the_last_bit(values: list[float], times: int) -> None:
    net = network(values[0])
    net[1].running_mean.fill_(values[1])
    mean = WeightMean()
    for _ in range(times):
        mean.add(net)
    for name, weights in mean.weights(like=net).items():
        assert torch.equal(weights, net.state_dict()[name]), name


def test_dtypes_are_kept_and_counters_take_their_last_value() -> None:
    mean = WeightMean()
    for steps in (3, 8):
        net = network(1.0)
        net[1].num_batches_tracked.fill_(steps)
        mean.add(net)
    weights = mean.weights(like=net)
    assert weights["0.weight"].dtype is torch.float32
    assert weights["1.num_batches_tracked"].item() == 8


def test_later_training_does_not_reach_back_into_the_mean() -> None:
    net, mean = network(1.0), WeightMean()
    mean.add(net)
    nn.init.constant_(net[0].weight, 5.0)
    assert mean.weights(like=net)["0.weight"].flatten().tolist() == [1.0, 1.0]


def test_a_mean_goes_on_after_a_checkpoint() -> None:
    mean = WeightMean()
    mean.add(network(1.0))
    file = io.BytesIO()
    torch.save(mean.state(), file)
    file.seek(0)
    resumed = WeightMean.from_state(torch.load(file, weights_only=True))
    resumed.add(network(4.0))
    assert resumed.weights(like=network(0))["0.weight"].flatten().tolist() == [2.5, 2.5]


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to average"):
        WeightMean().weights(like=network(0))

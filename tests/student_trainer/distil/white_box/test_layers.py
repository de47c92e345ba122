"""Layers are found by name, and heard without being changed."""

import pytest
import torch
from torch import nn

from shared.network import NetworkSpec, build_network
from student_trainer.distil.white_box.layers import LayerPair, heard, map_shapes, parse_layers, same_size
from student_trainer.errors import InvalidInput


@pytest.fixture(scope="module")
def trunk() -> nn.Module:
    return build_network(NetworkSpec("resnet18-128"), seed=0).trunk


def test_pairs_are_read_student_first_and_last_is_the_output() -> None:
    assert parse_layers("") == parse_layers(" ") == parse_layers("last:last") == (LayerPair("", ""),)
    assert parse_layers("4:5, 6.0.conv1:last") == (LayerPair("4", "5"), LayerPair("6.0.conv1", ""))


def test_what_is_heard_is_what_the_layers_gave_before_others_worked_on_it_in_place(trunk: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 40)
    trunk.eval()
    with torch.no_grad(), heard(trunk, ["0", "1", "5", ""]) as found:
        output = trunk(images)
        stem = trunk[0](images)  # type: ignore[index]
        normalised = trunk[1](stem)  # type: ignore[index]
    assert torch.equal(found["0"], stem)
    assert torch.equal(found["1"], normalised) and (found["1"] < 0).any()  # the ReLU after it works in place
    assert torch.equal(found["5"], output) and torch.equal(found[""], output)


def test_nobody_listens_after_the_context_whatever_happened_in_it(trunk: nn.Module) -> None:
    with pytest.raises(ZeroDivisionError), heard(trunk, ["0"]) as found:
        raise ZeroDivisionError
    trunk(torch.randn(1, 3, 32, 32))
    assert not found


def test_shapes_are_those_of_an_image_and_the_trunk_is_left_as_it_was(trunk: nn.Module) -> None:
    trunk.train()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    assert map_shapes(trunk, ["4", "", "5.1.conv1"], (64, 48), "student") == [
        (64, 16, 12),
        (128, 8, 6),
        (128, 8, 6),
    ]
    assert trunk.training and all(module.training for module in trunk.modules())
    assert all(torch.equal(before[name], value) for name, value in trunk.state_dict().items())


def test_a_layer_that_is_not_there_is_answered_with_those_that_are(trunk: nn.Module) -> None:
    with pytest.raises(InvalidInput, match=r"the teacher's trunk has no layer '5\.2'.* Did you mean '5\."):
        map_shapes(trunk, ["5.2"], (32, 32), "teacher")
    with pytest.raises(InvalidInput, match=r"no layer 'layer4'\..* Its outermost are 0 to 5, and last"):
        map_shapes(trunk, ["layer4"], (32, 32), "student")


def test_a_layer_that_gives_no_maps_is_refused() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Sequential(nn.Identity()))
    with pytest.raises(InvalidInput, match=r"the student's layer '1' gives no feature maps"):
        map_shapes(flat, ["1"], (8, 8), "student")


@pytest.mark.parametrize("size", [(4, 6), (3, 5), (8, 2)])
def test_maps_are_brought_to_the_smaller_height_and_the_smaller_width(size: tuple[int, int]) -> None:
    student, teacher = torch.randn(2, 3, *size), torch.randn(2, 5, 4, 4)
    ours, theirs = same_size(student, teacher)
    assert ours.shape[2:] == theirs.shape[2:] == (min(size[0], 4), min(size[1], 4))
    if size[0] <= 4 and size[1] <= 4:
        assert ours is student


def test_pooling_keeps_the_mean_where_cells_cover_alike() -> None:
    student, teacher = torch.randn(2, 3, 8, 6), torch.randn(2, 3, 4, 3)
    ours, _ = same_size(student, teacher)
    torch.testing.assert_close(ours.mean(dim=(2, 3)), student.mean(dim=(2, 3)))

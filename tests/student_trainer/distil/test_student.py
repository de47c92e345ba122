"""The student starts from the weights that the recipe names, on its device, with batch norm as asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from shared.batch_norm import batch_norm_layers
from shared.checkpoints import load_network, save_network
from shared.images import Preprocessing, normalise
from shared.network import NetworkSpec, build_network
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import PixelStore, digest_files, open_store
from student_trainer.distil.student import build_student, build_untrained, calibrate, make_trainable
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe, changed, load
from student_trainer.run_folder import RunFolder

SMALL = Preprocessing(32)
CPU = torch.device("cpu")


@pytest.fixture
def store(paint: Callable[[int], list[Path]], tmp_path: Path) -> PixelStore:
    return open_store(tmp_path / "cache", digest_files(paint(30)), SMALL)


class TestWeights:
    def test_random_weights_depend_on_the_seed_alone(self, tiny_recipe_file: Path) -> None:
        one, two = (build_student(load(tiny_recipe_file)) for _ in range(2))
        other = build_student(load(tiny_recipe_file, ["training.seed=1"]))
        first = "trunk.0.0.weight"
        assert torch.equal(one.state_dict()[first], two.state_dict()[first])
        assert not torch.equal(one.state_dict()[first], other.state_dict()[first])

    def test_a_torchvision_file_fills_the_trunk(self, tiny_recipe_file: Path, tmp_path: Path) -> None:
        classifier = torchvision.models.mobilenet_v2(weights=None, width_mult=0.1)
        save_file(classifier.state_dict(), tmp_path / "imagenet.safetensors")
        student = build_student(
            load(tiny_recipe_file, [f"student.weights={tmp_path / 'imagenet.safetensors'}"])
        )
        assert torch.equal(
            student.state_dict()["trunk.0.0.weight"], classifier.state_dict()["features.0.0.weight"]
        )

    def test_a_saved_network_is_continued_with_its_pooling(
        self, tiny_recipe_file: Path, tmp_path: Path
    ) -> None:
        network = build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=5)
        with torch.no_grad():
            network.pool.p.fill_(4.5)
        save_network(network, tmp_path / "saved.safetensors")
        student = build_student(load(tiny_recipe_file, [f"student.weights={tmp_path / 'saved.safetensors'}"]))
        assert student.pool.p.item() == 4.5
        assert all(
            torch.equal(value, student.state_dict()[name]) for name, value in network.state_dict().items()
        )

    def test_a_saved_network_of_another_kind_is_refused(self, tiny_recipe_file: Path, tmp_path: Path) -> None:
        path = tmp_path / "saved.safetensors"
        save_network(build_network(NetworkSpec("mobilenet_v2-320x0.2"), seed=5), path)
        with pytest.raises(InvalidInput, match=r"holds a mobilenet_v2-320x0\.2-gem; the recipe asks for"):
            build_student(load(tiny_recipe_file, [f"student.weights={path}"]))

    @pytest.mark.parametrize("content", [None, b"not safetensors"])
    def test_a_file_that_cannot_be_used_is_refused(
        self, tiny_recipe_file: Path, tmp_path: Path, content: bytes | None
    ) -> None:
        path = tmp_path / "weights.safetensors"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"student\.weights: .*weights\.safetensors"):
            build_student(load(tiny_recipe_file, [f"student.weights={path}"]))

    def test_weights_of_another_architecture_are_refused(
        self, tiny_recipe_file: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "resnet.safetensors"
        save_file(torchvision.models.resnet18(weights=None).state_dict(), path)
        with pytest.raises(InvalidInput, match=r"student\.weights: .*resnet\.safetensors"):
            build_student(load(tiny_recipe_file, [f"student.weights={path}"]))


class TestCalibration:
    def test_descriptors_of_a_random_student_tell_images_apart_after_it(
        self, tiny_recipe_file: Path, store: PixelStore
    ) -> None:
        student = build_student(load(tiny_recipe_file)).eval()

        def largest_difference() -> float:
            with torch.no_grad():
                first, second = (
                    student(normalise(torch.from_numpy(store.array(index))[None], SMALL)) for index in (1, 2)
                )
            return float((first - second).abs().max())

        faded = largest_difference()
        calibrate(student, store, SMALL, seed=0)
        assert largest_difference() > 10 * faded

    def test_it_is_the_same_each_time(self, tiny_recipe_file: Path, store: PixelStore) -> None:
        one, two = (build_student(load(tiny_recipe_file)) for _ in range(2))
        for student in (one, two):
            calibrate(student, store, SMALL, seed=0)
        for first, second in zip(batch_norm_layers(one), batch_norm_layers(two), strict=True):
            assert torch.equal(first.running_mean, second.running_mean)

    def test_images_too_small_for_the_trunk_are_refused(
        self, tiny_recipe_file: Path, paint: Callable[[int], list[Path]], tmp_path: Path
    ) -> None:
        single = open_store(tmp_path / "cache", digest_files(paint(1)), Preprocessing(16))
        with pytest.raises(InvalidInput, match="Batch norm cannot take its statistics"):
            calibrate(build_student(load(tiny_recipe_file)), single, Preprocessing(16), seed=0)


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm_is_frozen_if_asked_for_and_its_affine_weights_are_trained(
    tiny_recipe_file: Path, freeze: bool
) -> None:
    student = build_untrained(load(tiny_recipe_file))
    make_trainable(student, freeze=freeze, device=CPU)
    layers = batch_norm_layers(student)
    assert all(layer.training is not freeze for layer in layers)
    assert all(layer.weight.requires_grad and layer.bias.requires_grad for layer in layers)
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_the_trunk_is_kept_in_the_faster_memory_format(tiny_recipe_file: Path) -> None:
    student = build_untrained(load(tiny_recipe_file))
    make_trainable(student, freeze=True, device=CPU)
    assert student.state_dict()["trunk.0.0.weight"].is_contiguous(memory_format=torch.channels_last)


class TestAPartThatStartsAtRandom:
    def test_its_modules_are_drawn_and_the_others_keep_their_weights(
        self, tiny_recipe: Recipe, whole: RunFolder
    ) -> None:
        kept = build_student(changed(tiny_recipe, [f"student.weights={whole.student}"]))
        drawn = build_student(
            changed(tiny_recipe, [f"student.weights={whole.student}", "student.random_from=16"])
        )
        random = build_student(tiny_recipe)
        for ours, of_kept, of_random in zip(
            drawn.trunk.children(), kept.trunk.children(), random.trunk.children(), strict=True
        ):
            source = of_random if ours is drawn.trunk[16] or ours is drawn.trunk[17] else of_kept  # type: ignore[index]
            for name, value in ours.state_dict().items():
                assert torch.equal(value, source.state_dict()[name])

    def test_only_its_batch_norm_takes_new_statistics(
        self, tiny_recipe: Recipe, whole: RunFolder, bought: TrainingData, tmp_path: Path
    ) -> None:
        recipe = changed(tiny_recipe, [f"student.weights={whole.student}", "student.random_from=16"])
        run = RunFolder.create(tmp_path / "run")
        train(recipe, bought, run)
        before, trained = load_network(run.initial_student), load_network(whole.student)
        for place, (ours, theirs) in enumerate(
            zip(before.trunk.children(), trained.trunk.children(), strict=True)
        ):
            same = [
                torch.equal(layer.running_mean, other.running_mean)  # type: ignore[arg-type]
                for layer, other in zip(batch_norm_layers(ours), batch_norm_layers(theirs), strict=True)
            ]
            assert all(same) if place < 16 else not any(same)

    def test_a_trunk_that_is_not_so_deep_is_refused(self, tiny_recipe: Recipe) -> None:
        with pytest.raises(InvalidInput, match=r"random_from = 19: the trunk of .* has \d+ modules"):
            build_student(changed(tiny_recipe, ["student.random_from=19"]))

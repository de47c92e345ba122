"""Frozen lower layers: kept features give the training that pixels would give."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.checkpoints import load_network
from shared.images import Preprocessing
from student_trainer.distil.backward import three_stage_backward
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.frozen_layers import trained_part, with_features
from student_trainer.distil.images import open_store
from student_trainer.distil.state import TrainingState
from student_trainer.distil.student import build_student
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.recipe import Recipe, load
from student_trainer.run_folder import RunFolder

FROM = 9


@pytest.fixture
def upper(tiny_recipe_file: Path) -> Recipe:
    """The tiny recipe with its lower half frozen."""
    return load(tiny_recipe_file, [f"student.trained_from={FROM}"])


@pytest.fixture
def source(bought: TrainingData, tmp_path: Path) -> BatchSource:
    """Pixels of the bought images."""
    size = Preprocessing(32)
    store = open_store(tmp_path / "cache", bought.images, size)
    return BatchSource(store, bought, size, 4, torch.device("cpu"))


def test_the_gradient_on_features_is_that_on_pixels(
    upper: Recipe, source: BatchSource, tmp_path: Path
) -> None:
    state = TrainingState.fresh(upper, build_student(upper), torch.device("cpu"))
    features = with_features(source, state.student, FROM, tmp_path)
    batch = np.arange(len(source.data))[::-1].copy()

    def loss_of(descriptors: torch.Tensor) -> torch.Tensor:
        return (descriptors @ descriptors.T).pow(2).sum()

    three_stage_backward(state.trained, lambda: features.chunks(batch), len(batch), loss_of)
    kept = {name: p.grad for name, p in state.student.named_parameters() if p.grad is not None}
    state.student.zero_grad()
    three_stage_backward(state.student, lambda: source.chunks(batch), len(batch), loss_of)
    direct = {name: p.grad for name, p in state.student.named_parameters() if p.grad is not None}
    assert kept.keys() == direct.keys()
    assert all(int(name.split(".")[1]) >= FROM for name in kept if name.startswith("trunk"))
    for name, gradient in kept.items():
        assert torch.allclose(gradient, direct[name], rtol=1e-4, atol=1e-6), name


def test_a_training_changes_the_upper_layers_and_only_them(
    upper: Recipe, bought: TrainingData, tmp_path: Path
) -> None:
    run = RunFolder.create(tmp_path / "run")
    train(upper, bought, run)
    before, after = (load_network(path).state_dict() for path in (run.initial_student, run.student))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    trunk = {int(name.split(".")[1]) for name in changed if name.startswith("trunk")}
    assert trunk and min(trunk) >= FROM
    assert "pool.p" in changed


def test_a_training_that_was_stopped_ends_at_the_same_weights(
    upper: Recipe, bought: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = (RunFolder.create(tmp_path / name) for name in ("whole", "stopped"))
    train(upper, bought, whole)
    shorter = replace_after(monkeypatch, steps=3)
    with pytest.raises(KeyboardInterrupt):
        train(upper, bought, stopped)
    shorter()
    train(upper, bought, stopped)
    one, two = (load_network(run.student).state_dict() for run in (whole, stopped))
    assert all(torch.equal(one[name], two[name]) for name in one)


def replace_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> Callable[[], None]:
    """Stop the training as Ctrl-C would, after some steps; call the result to let it run again."""
    from student_trainer.distil import train as module

    taken, original = [], module._step

    def step(*args: object, **kwargs: object) -> None:
        if len(taken) == steps:
            raise KeyboardInterrupt
        original(*args, **kwargs)  # type: ignore[arg-type]
        taken.append(None)

    monkeypatch.setattr(module, "_step", step)
    return lambda: monkeypatch.setattr(module, "_step", original)


def test_features_are_computed_once_and_again_when_a_layer_differs(
    upper: Recipe, source: BatchSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from student_trainer.distil import frozen_layers

    student = build_student(upper)
    computed: list[Path] = []
    original = frozen_layers._compute
    monkeypatch.setattr(
        frozen_layers, "_compute", lambda s, f, path: (computed.append(path), original(s, f, path))
    )
    first = with_features(source, student, FROM, tmp_path)
    again = with_features(source, student, FROM, tmp_path)
    assert len(computed) == 1
    assert np.array_equal(first.store.array(5), again.store.array(5))
    with torch.no_grad():
        next(student.trunk.parameters()).mul_(1.5)
    with_features(source, student, FROM, tmp_path)
    assert len(computed) == 2 and len(list(tmp_path.glob("features-*.f32"))) == 1


def test_a_subset_of_the_images_has_features_of_its_own(
    upper: Recipe, source: BatchSource, tmp_path: Path
) -> None:
    student = build_student(upper)
    everything = with_features(source, student, FROM, tmp_path / "cache")
    some = with_features(source.take([7, 2]), student, FROM, tmp_path / "cache")
    assert np.allclose(some.store.array(0), everything.store.array(7), atol=1e-6)


def test_nothing_frozen_is_the_student_itself(source: BatchSource, upper: Recipe, tmp_path: Path) -> None:
    student = build_student(upper)
    assert trained_part(student, 0) is student
    assert with_features(source, student, 0, tmp_path) is source


def test_a_trunk_with_nothing_left_to_train_is_refused(tiny_recipe_file: Path) -> None:
    recipe = load(tiny_recipe_file, ["student.trained_from=18"])
    with pytest.raises(InvalidInput, match=r"trained_from = 18: .* has 18 modules.* is 17"):
        TrainingState.fresh(recipe, build_student(recipe), torch.device("cpu"))


def test_such_a_recipe_is_refused_before_an_image_is_decoded(
    tiny_recipe_file: Path, bought: TrainingData, tmp_path: Path
) -> None:
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(InvalidInput, match=r"trained_from = 99: .* has 18 modules.* is 17"):
        train(load(tiny_recipe_file, ["student.trained_from=99"]), bought, run)
    assert not run.cache.exists() and not run.recipe.exists()


def test_a_damaged_file_of_features_is_refused(upper: Recipe, source: BatchSource, tmp_path: Path) -> None:
    student = build_student(upper)
    with_features(source, student, FROM, tmp_path)
    (path,) = tmp_path.glob("features-*.f32")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StorageFailed, match=r"expected .*delete it"):
        with_features(source, student, FROM, tmp_path)


def test_the_digest_of_a_recipe_that_freezes_nothing_is_what_it_was(tiny_recipe: Recipe) -> None:
    frozen = tiny_recipe.model_copy(
        update={"student": tiny_recipe.student.model_copy(update={"trained_from": 2})}
    )
    assert "trained_from" in frozen.student.model_dump() and frozen.digest() != tiny_recipe.digest()


def test_sides_are_rounded_where_the_recipe_asks(bought: TrainingData, tmp_path: Path) -> None:
    exact = open_store(tmp_path / "a", bought.images, Preprocessing(30))
    rounded = open_store(tmp_path / "b", bought.images, Preprocessing(30), side_multiple_px=8)
    assert {shape[:2] for shape in exact.shapes} == {(30, 22), (23, 30)}
    assert {shape[:2] for shape in rounded.shapes} == {(32, 24), (24, 32)}
    assert len(list(rounded.chunks(range(18), 32))) == 2


def test_modules_without_weights_count_too(
    bought: TrainingData, tmp_path: Path, tiny_recipe_file: Path
) -> None:
    """A ResNet begins with a convolution, batch norm, ReLU and pooling; each gives other features."""
    recipe = load(tiny_recipe_file, ["student.arch=resnet18-64"])
    size = Preprocessing(32)
    source = BatchSource(open_store(tmp_path, bought.images, size), bought, size, 4, torch.device("cpu"))
    student = build_student(recipe)
    depths = [with_features(source, student, depth, tmp_path).store.array(0) for depth in (2, 3, 4)]
    assert (depths[0] < 0).any() and not (depths[1] < 0).any()
    assert depths[2].shape != depths[1].shape


@pytest.mark.parametrize("kind", ["pixels", "features"])
def test_an_index_whose_numbers_are_gone_is_made_anew(
    kind: str, upper: Recipe, source: BatchSource, bought: TrainingData, tmp_path: Path
) -> None:
    student = build_student(upper)
    with_features(source, student, FROM, tmp_path / "cache")
    (numbers,) = (path for path in (tmp_path / "cache").glob(f"{kind}-*") if path.suffix != ".json")
    numbers.unlink()
    store = open_store(tmp_path / "cache", bought.images, Preprocessing(32))
    assert np.array_equal(store.array(3), source.store.array(3))
    assert len(with_features(source, student, FROM, tmp_path / "cache").store) == len(bought)

"""What an objective learns of its own is trained, kept, averaged and saved with the student."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stopped_training import StopHere, stop_at
from torch import Tensor, nn

from shared.checkpoints import load_network, weights_digest
from shared.extraction import describe
from shared.pooling import GeM
from shared.tensor_files import CheckpointError
from student_trainer.distil import objectives
from student_trainer.distil.backward import BadNumbers, Chunk, three_stage_backward
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.data import TrainingData
from student_trainer.distil.heads import Head, fit_head, head_for, project, read_head, save_head
from student_trainer.distil.optimiser import RATE_FACTOR, make_optimiser
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe, changed
from student_trainer.recipe_sections import TrainingSection
from student_trainer.run_folder import RunFolder

STUDENT_DIM, TEACHER_DIM = 6, 4


class Lstsq:
    """The least that an objective with a head needs."""

    head: Head | None = None

    def make_head(self, student_dim: int, teacher_dim: int | None, seed: int) -> Head | None:
        if teacher_dim in (None, student_dim):
            return None
        assert teacher_dim is not None
        return Head("projection", student_dim, teacher_dim, seed=seed)

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (project(student, head_for(self, student, teacher)) - teacher).square().sum()


@pytest.fixture
def recipe(tiny_recipe: Recipe) -> Recipe:
    """Regression to a teacher of another dimension, which needs a projection."""
    return changed(tiny_recipe, ["objective.name=regression"])


class TestAHead:
    def test_its_first_weights_are_a_function_of_the_seed(self) -> None:
        first, again, other = (Head("projection", 5, 3, seed=seed).linear.weight for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_making_one_draws_nothing_from_the_common_generator(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        Head("projection", 5, 3)
        assert torch.equal(torch.rand(3), expected)

    def test_a_projection_has_no_bias_and_gives_unit_rows(self) -> None:
        head = Head("projection", STUDENT_DIM, TEACHER_DIM)
        assert head.linear.bias is None
        units = nn.functional.normalize(torch.randn(7, STUDENT_DIM))
        projected = project(units, head)
        assert projected.shape == (7, TEACHER_DIM)
        assert torch.allclose(projected.norm(dim=1), torch.ones(7), atol=1e-4)

    def test_without_one_descriptors_stay_as_they_are(self) -> None:
        units = torch.randn(3, 4)
        assert project(units, None) is units

    def test_called_by_itself_an_objective_makes_its_own(self) -> None:
        objective = Lstsq()
        student = torch.randn(3, STUDENT_DIM, dtype=torch.float64)
        objective(student, torch.randn(3, TEACHER_DIM, dtype=torch.float64)).backward()
        assert objective.head is not None
        assert objective.head.linear.weight.grad is not None
        assert objective.head.linear.weight.dtype == torch.float64

    def test_where_dimensions_agree_there_is_none(self) -> None:
        objective = Lstsq()
        objective(torch.randn(3, 4), torch.randn(3, 4))
        assert objective.head is None

    def test_other_dimensions_than_it_was_made_for_are_refused(self) -> None:
        objective = Lstsq()
        objective(torch.randn(3, STUDENT_DIM), torch.randn(3, TEACHER_DIM))
        with pytest.raises(InvalidInput, match=r"leads from 6 to 4 dimensions, but the student's .* have 7"):
            objective(torch.randn(3, 7), torch.randn(3, TEACHER_DIM))

    def test_an_objective_without_the_wish_gets_none(self) -> None:
        assert fit_head(objectives.get("rank")(), 5, 3, 0) is None


class TestItsGradient:
    def test_it_is_that_of_the_direct_computation(self) -> None:
        torch.manual_seed(0)
        network, teacher = nn.Linear(5, STUDENT_DIM).double(), torch.randn(9, TEACHER_DIM).double()
        images, objective = torch.randn(9, 5).double(), Lstsq()
        head = fit_head(objective, STUDENT_DIM, TEACHER_DIM, seed=0)
        assert head is not None
        head.double()
        objective(network(images), teacher).backward()
        direct = [weight.grad.clone() for weight in [*network.parameters(), *head.parameters()]]  # type: ignore
        network.zero_grad()
        head.zero_grad()

        step = three_stage_backward(
            network,
            lambda: (Chunk(rows, images[rows]) for rows in torch.arange(9).split(4)),
            9,
            lambda descriptors: objective(descriptors, teacher),
            beside=head,
        )

        found = [weight.grad for weight in [*network.parameters(), *head.parameters()]]
        assert all(torch.allclose(a, b) for a, b in zip(direct, found, strict=True) if b is not None)
        norm = torch.cat([gradient.flatten() for gradient in direct]).norm()
        assert step.gradient_norm == pytest.approx(norm.item())

    def test_one_that_is_not_finite_is_noticed(self) -> None:
        network, head = nn.Linear(2, 2), Head("hash", 2, 2)

        def loss_of(descriptors: Tensor) -> Tensor:
            return descriptors.sum() + torch.sqrt(head.linear.weight * 0).sum()

        with pytest.raises(BadNumbers, match="gradient of the weights"):
            three_stage_backward(
                network, lambda: [Chunk(torch.arange(3), torch.randn(3, 2))], 3, loss_of, beside=head
            )


class TestItsFile:
    def test_it_comes_back_bit_for_bit(self, tmp_path: Path) -> None:
        head = Head("hash", 5, 16, bias=True, seed=3)
        save_head(head, tmp_path / "head.safetensors", objective="dch", student_digest="ab" * 32)
        saved = read_head(tmp_path / "head.safetensors")
        assert (saved.objective, saved.student_digest) == ("dch", "ab" * 32)
        assert (saved.head.kind, saved.head.in_dim, saved.head.out_dim) == ("hash", 5, 16)
        for name, value in head.state_dict().items():
            assert torch.equal(value, saved.head.state_dict()[name])

    def test_a_file_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "other.safetensors"
        save_file({"linear.weight": torch.zeros(2, 3)}, file, {"format": "something/1"})
        with pytest.raises(CheckpointError, match="it holds no head"):
            read_head(file)

    @pytest.mark.parametrize(
        ("tensors", "kind"),
        [
            ({"other": torch.zeros(2, 3)}, "projection"),
            ({"linear.weight": torch.zeros(2)}, "projection"),
            ({"linear.weight": torch.zeros(3, 0)}, "projection"),
            ({"linear.weight": torch.zeros(0, 3)}, "hash"),
            ({"linear.weight": torch.zeros(2, 3)}, "crown"),
        ],
    )
    def test_a_file_that_describes_none_is_refused(
        self, tensors: dict[str, Tensor], kind: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "head.safetensors"
        save_file(tensors, file, {"format": "ration-head/1", "kind": kind})
        with pytest.raises(CheckpointError, match="does not describe a head"):
            read_head(file)

    @pytest.mark.parametrize(
        "weight",
        [
            torch.tensor([[1.0, float("nan")]]),
            torch.tensor([[1.0, float("inf")]]),
            torch.tensor([[1.0, 1e300]], dtype=torch.float64),
            torch.ones(1, 2, dtype=torch.bool),
            torch.ones(1, 2, dtype=torch.int32),
            torch.ones(1, 2, dtype=torch.complex64),
        ],
    )
    def test_weights_that_no_descriptor_can_pass_are_refused(self, weight: Tensor, tmp_path: Path) -> None:
        file = tmp_path / "head.safetensors"
        save_file({"linear.weight": weight}, file, {"format": "ration-head/1", "kind": "hash"})
        with pytest.raises(CheckpointError, match=r"linear\.weight is not of finite floating numbers"):
            read_head(file)

    def test_a_file_with_more_in_it_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "head.safetensors"
        tensors = {"linear.weight": torch.zeros(2, 3), "second.weight": torch.zeros(2)}
        save_file(tensors, file, {"format": "ration-head/1", "kind": "hash"})
        with pytest.raises(CheckpointError, match="second"):
            read_head(file)


class TestInATraining:
    def test_it_is_trained_and_saved_with_its_student(
        self, recipe: Recipe, bought: TrainingData, tmp_path: Path
    ) -> None:
        run = RunFolder.create(tmp_path / "run")
        train(recipe, bought, run)
        saved, student = read_head(run.head), load_network(run.student)
        assert saved.objective == "regression"
        assert saved.student_digest == weights_digest(student)
        assert (saved.head.in_dim, saved.head.out_dim) == (student.dim, 8)
        untrained = Head("projection", student.dim, 8, seed=recipe.training.seed)
        assert not torch.equal(saved.head.linear.weight, untrained.linear.weight)

    def test_a_projection_starts_as_the_map_that_suits_the_student(
        self, recipe: Recipe, bought: TrainingData, tmp_path: Path
    ) -> None:
        """Least squares with a ridge, written here from the normal equations."""
        run = RunFolder.create(tmp_path / "run")
        still = ["training.epochs=1", "training.learning_rate=1e-12", "training.weight_decay=0.0"]
        train(changed(recipe, ["averaging.epochs=[]", *still]), bought, run)
        paths = [image.path for image in bought.images]
        student = describe(load_network(run.initial_student), paths, 32).astype(np.float64)
        assert bought.teacher is not None
        moment = student.T @ student
        ridge = 0.01 * np.trace(moment) / len(moment) * np.eye(len(moment))
        expected = np.linalg.inv(moment + ridge) @ student.T @ bought.teacher
        found = read_head(run.head).head.linear.weight.detach().numpy()
        assert np.allclose(found.T, expected, atol=1e-3 * np.abs(expected).max())

    def test_a_stopped_training_ends_at_the_same_head(
        self, recipe: Recipe, bought: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, stopped = RunFolder.create(tmp_path / "whole"), RunFolder.create(tmp_path / "stopped")
        train(recipe, bought, whole)
        with monkeypatch.context() as patch:
            stop_at(patch, 5)
            with pytest.raises(StopHere):
                train(recipe, bought, stopped)
        train(recipe, bought, stopped)
        assert whole.head.read_bytes() == stopped.head.read_bytes()

    def test_it_is_averaged_over_the_same_epochs(
        self, recipe: Recipe, bought: TrainingData, tmp_path: Path
    ) -> None:
        heads = []
        for name, epochs, averaged in (("two", 2, "[]"), ("three", 3, "[]"), ("mean", 3, "[2, 3]")):
            run = RunFolder.create(tmp_path / name)
            setting = [f"training.epochs={epochs}", f"averaging.epochs={averaged}"]
            train(changed(recipe, ["averaging.epochs=[]", *setting]), bought, run)
            heads.append(read_head(run.head).head.linear.weight)
        assert torch.allclose(heads[2], (heads[0] + heads[1]) / 2, atol=1e-6)

    def test_to_start_over_forgets_it(self, recipe: Recipe, bought: TrainingData, tmp_path: Path) -> None:
        run = RunFolder.create(tmp_path / "run")
        train(recipe, bought, run)
        train(changed(recipe, ["objective.name=rank"]), bought, run, restart=True)
        assert not run.head.exists()

    def test_a_checkpoint_without_one_is_read_as_before(
        self, tiny_recipe: Recipe, bought: TrainingData, tmp_path: Path
    ) -> None:
        run = RunFolder.create(tmp_path / "run")
        train(tiny_recipe, bought, run)
        checkpoint = Checkpoint.load(run.checkpoints)
        assert checkpoint is not None
        assert checkpoint.head is None
        older = vars(checkpoint).copy()
        older.pop("head")
        torch.save(older, run.checkpoints / "last.pt")
        assert Checkpoint.load(run.checkpoints) is not None


class TestTheOptimiser:
    def test_p_may_have_a_rate_of_its_own_and_then_does_not_decay(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 4, 1), GeM())
        setting = TrainingSection(weight_decay=0.5, pooling_rate_factor=10.0)
        first, powers = make_optimiser(setting, network, None).param_groups
        assert [id(weight) for weight in powers["params"]] == [id(network[1].p)]
        assert (powers["weight_decay"], powers[RATE_FACTOR]) == (0.0, 10.0)
        assert len(first["params"]) == 2
        assert first["weight_decay"] == 0.5

    def test_a_training_steps_p_at_its_own_rate(
        self, tiny_recipe: Recipe, bought: TrainingData, tmp_path: Path
    ) -> None:
        """Adam's first step is as long as the learning rate, whatever the gradient."""
        moved = []
        for factor in ("1.0", "10.0"):
            run = RunFolder.create(tmp_path / factor)
            changes = [
                "training.epochs=1",
                "averaging.epochs=[]",
                "training.batch_size=18",
                "training.weight_decay=0.0",
                f"training.pooling_rate_factor={factor}",
            ]
            train(changed(tiny_recipe, ["averaging.epochs=[]", *changes]), bought, run)
            before, after = load_network(run.initial_student), load_network(run.student)
            moved.append(abs((after.pool.p - before.pool.p).item()))  # type: ignore[operator, union-attr]
        assert moved[1] == pytest.approx(10 * moved[0], rel=1e-2)

    def test_rmsprop_is_another_way_to_step(
        self, tiny_recipe: Recipe, bought: TrainingData, tmp_path: Path
    ) -> None:
        optimiser = make_optimiser(TrainingSection(optimiser="rmsprop"), nn.Linear(2, 2), None)
        assert isinstance(optimiser, torch.optim.RMSprop)
        run = RunFolder.create(tmp_path / "run")
        train(changed(tiny_recipe, ["training.optimiser=rmsprop"]), bought, run)
        assert (
            load_network(run.student).state_dict().keys()
            == load_network(run.initial_student).state_dict().keys()
        )

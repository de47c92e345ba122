"""A student is fit for asymmetric search or not, by its objective, its projection and its dimensions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.checkpoints import weights_digest
from shared.network import DescriptorNet, NetworkSpec, build_network
from student_trainer.distil import objectives
from student_trainer.distil.heads import Head, save_head
from student_trainer.evaluate.asymmetric.fitness import Upbringing, in_teachers_space, judge
from student_trainer.evaluate.asymmetric.mark import OWN, PROJECTION
from student_trainer.recipe import Recipe

STUDENT = build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=0)


def beside(path: Path, head: Head, student: DescriptorNet = STUDENT) -> Path:
    save_head(head, path, objective="asym-triplet", student_digest=weights_digest(student))
    return path


@pytest.mark.parametrize("name", ["rank-mixup", "rank", "rkd", "pkt", "ap", "contrastive", "triplet"])
def test_objectives_of_rankings_distances_and_labels_leave_a_student_unfit(name: str) -> None:
    recipe = Recipe.model_validate({"objective": {"name": name}})
    mark = judge(STUDENT, Upbringing(name, in_teachers_space(recipe), teacher_dim=STUDENT.dim))
    assert (mark.fit, mark.way, mark.word) == (False, None, "unfit")
    assert mark.sentence == f"unfit for asymmetric search: {name} leaves it in coordinates of its own"


@pytest.mark.parametrize(
    "name",
    [
        "regression",
        "absolute",
        "csd",
        "asym-contrastive",
        "asym-contrastive+",
        "asym-triplet",
        "asym-multi-similarity",
    ],
)
def test_objectives_against_the_teacher_itself_make_a_student_of_its_dimensions_fit(name: str) -> None:
    recipe = Recipe.model_validate({"objective": {"name": name}})
    mark = judge(STUDENT, Upbringing(name, in_teachers_space(recipe), teacher_dim=STUDENT.dim))
    assert (mark.fit, mark.way, mark.word) == (True, OWN, "fit")
    assert mark.sentence == (
        f"fit for asymmetric search by own descriptors: {name} trained it in the teacher's space"
    )


@given(st.sampled_from(sorted(objectives.OBJECTIVES)))
def test_every_objective_that_compares_with_the_teacher_needs_one(name: str) -> None:
    objective = objectives.get(name)
    assert objective.needs_teacher or not objective.facts.in_teachers_space


def test_where_nobody_knows_how_it_was_trained_it_is_unfit() -> None:
    assert judge(STUDENT, Upbringing()).why == "its run folder does not say what it was trained with"


class TestProjection:
    def upbringing(self, head: Path, teacher_dim: int | None = 64) -> Upbringing:
        return Upbringing("asym-triplet", in_teachers_space=True, head=head, teacher_dim=teacher_dim)

    @pytest.mark.parametrize("teacher_dim", [64, None])
    def test_the_projection_that_was_trained_with_it_makes_it_fit(
        self, tmp_path: Path, teacher_dim: int | None
    ) -> None:
        head = beside(tmp_path / "head.safetensors", Head("projection", STUDENT.dim, 64))
        mark = judge(STUDENT, self.upbringing(head, teacher_dim))
        assert (mark.fit, mark.way) == (True, PROJECTION)
        assert mark.why == "asym-triplet trained it with a projection to the teacher's 64 dimensions"

    def test_without_it_a_narrower_student_is_unfit(self, tmp_path: Path) -> None:
        mark = judge(STUDENT, self.upbringing(tmp_path / "head.safetensors"))
        assert not mark.fit
        assert f"have {STUDENT.dim} dimensions and the teacher's 64, and the projection" in mark.why

    def test_that_of_another_student_does_not_count(self, tmp_path: Path) -> None:
        other = build_network(STUDENT.spec, seed=1)
        head = beside(tmp_path / "head.safetensors", Head("projection", STUDENT.dim, 64), other)
        mark = judge(STUDENT, self.upbringing(head))
        assert (mark.fit, mark.why) == (False, "the projection beside it was trained with another student")

    def test_one_for_another_teacher_does_not_count(self, tmp_path: Path) -> None:
        head = beside(tmp_path / "head.safetensors", Head("projection", STUDENT.dim, 64))
        mark = judge(STUDENT, self.upbringing(head, teacher_dim=2048))
        assert not mark.fit and "leads from" in mark.why and "2,048" in mark.why

    def test_a_hash_layer_is_no_projection(self, tmp_path: Path) -> None:
        head = beside(tmp_path / "head.safetensors", Head("hash", STUDENT.dim, 16, bias=True))
        mark = judge(STUDENT, self.upbringing(head, teacher_dim=STUDENT.dim))
        assert (mark.fit, mark.way) == (True, OWN)

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "head.safetensors").write_bytes(b"broken")
        mark = judge(STUDENT, self.upbringing(tmp_path / "head.safetensors"))
        assert not mark.fit and "cannot be read" in mark.why and "head.safetensors" in mark.why

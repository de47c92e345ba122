"""What all label-free objectives keep to: any batch, any dimensions, both types, and a plain refusal."""

import inspect
from collections.abc import Callable

import pytest
import torch
from independent_forms import rows
from torch import Tensor

from student_trainer.distil.descriptors import BadDescriptors
from student_trainer.distil.objectives import OBJECTIVES, get
from student_trainer.distil.objectives.absolute import absolute
from student_trainer.distil.objectives.csd import csd
from student_trainer.distil.objectives.darkrank_hard import darkrank_hard
from student_trainer.distil.objectives.darkrank_soft import darkrank_soft
from student_trainer.distil.objectives.label_free import LabelFree
from student_trainer.distil.objectives.mse import mean_squared_error
from student_trainer.distil.objectives.pkt import pkt
from student_trainer.distil.objectives.regression import regression
from student_trainer.distil.objectives.relative import relative
from student_trainer.distil.objectives.rkd import rkd
from student_trainer.distil.objectives.rkd_angle import rkd_angle
from student_trainer.distil.objectives.rkd_distance import rkd_distance
from student_trainer.errors import InvalidInput

FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "regression": regression,
    "absolute": absolute,
    "csd": csd,
    "relative": relative,
    "rkd-distance": rkd_distance,
    "rkd-angle": rkd_angle,
    "rkd": rkd,
    "darkrank-soft": darkrank_soft,
    "darkrank-hard": darkrank_hard,
    "pkt": pkt,
    "mse": mean_squared_error,
}
RANKING = {"rank", "rank-mixup"}
"""Label-free too, with tests of their own."""
NAMES = [name for name, kind in OBJECTIVES.items() if issubclass(kind, LabelFree) and name not in RANKING]
IN_TEACHERS_SPACE = [name for name in NAMES if OBJECTIVES[name].facts.in_teachers_space]


def test_every_label_free_objective_is_looked_at_and_is_a_function_too() -> None:
    without = {
        name
        for name, kind in OBJECTIVES.items()
        if not (kind.facts.needs_labels or kind.facts.needs_white_box)
    }
    assert without == {*NAMES, *RANKING} and set(FUNCTIONS) == set(NAMES)


def batch(
    images: int = 8, student_dim: int = 5, teacher_dim: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    student, teacher = rows(images, student_dim), rows(images, teacher_dim, seed=1)
    return torch.from_numpy(student).to(dtype).requires_grad_(), torch.from_numpy(teacher).to(dtype)


def value_and_gradient(name: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    loss = get(name)()(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    return loss, gradient


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_needs_and_where_its_students_end(name: str) -> None:
    objective = get(name)()
    assert objective.name == name
    assert not objective.needs_labels and objective.needs_teacher
    assert not OBJECTIVES[name].facts.needs_white_box
    assert OBJECTIVES[name].facts.in_teachers_space is (name in IN_TEACHERS_SPACE)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_function_of_its_name(name: str) -> None:
    """Which its own tests hold, through the objective, to an independent form."""
    student, teacher = batch()
    torch.testing.assert_close(
        get(name)()(student, teacher), FUNCTIONS[name](student, teacher), rtol=1e-13, atol=0
    )


def test_their_settings_are_those_of_the_papers() -> None:
    found = {
        name: {key: parameter.default for key, parameter in inspect.signature(get(name)).parameters.items()}
        for name in NAMES
    }
    orders = {"alpha": 3.0, "beta": 3.0, "list_length": 4}
    assert found == {
        "regression": {},
        "absolute": {},
        "csd": {"k": 10, "temperature": 0.1},
        "relative": {},
        "rkd-distance": {"normalise_student": False},
        "rkd-angle": {"normalise_student": False},
        "rkd": {"distance_weight": 1.0, "angle_weight": 2.0, "normalise_student": False},
        "darkrank-soft": orders,
        "darkrank-hard": orders,
        "pkt": {},
        "mse": {"scale": 1.0},
    }


@pytest.mark.parametrize("name", NAMES)
def test_float32_gives_the_loss_and_gradient_of_float64(name: str) -> None:
    for dtype, rounding in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        rounded = batch(40, 12, 12, dtype)
        loss, gradient = value_and_gradient(name, *rounded)
        assert loss.dtype == torch.float32 and gradient.dtype == dtype
        exact, slope = value_and_gradient(name, *(part.double() for part in rounded))
        assert abs(loss.item() - exact.item()) <= 1e-5 * exact.item()
        assert (gradient - slope).norm() <= rounding * slope.norm()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_along_the_gradient_lowers_the_loss(name: str) -> None:
    student, teacher = batch(24, 6, 6)
    loss, gradient = value_and_gradient(name, student, teacher)
    assert get(name)()(student - 0.01 * gradient / gradient.norm(), teacher) < loss


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_flows_into_the_teacher(name: str) -> None:
    student, teacher = batch()
    get(name)()(student, teacher.requires_grad_()).backward()
    assert teacher.grad is None or (teacher.grad == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("who", ["the student's", "the teacher's", "both"])
def test_a_batch_of_equal_images_has_a_finite_loss_and_gradient(
    name: str, dtype: torch.dtype, who: str
) -> None:
    student, teacher = (part.detach() for part in batch(dtype=dtype))
    if who != "the teacher's":
        student[:] = student[0].clone()
    if who != "the student's":
        teacher[:] = teacher[0].clone()
    loss, gradient = value_and_gradient(name, student.requires_grad_(), teacher)
    assert loss.isfinite() and gradient.isfinite().all()
    assert gradient.norm() < 100


@pytest.mark.parametrize("name", NAMES)
def test_copies_in_a_batch_leave_a_finite_gradient_that_is_the_same_for_both(name: str) -> None:
    """The same but for ``darkrank-hard``, to which one of them comes before the other."""
    student, teacher = (part.detach() for part in batch(dtype=torch.float32))
    student[5], teacher[5] = student[2].clone(), teacher[2].clone()
    loss, gradient = value_and_gradient(name, student.requires_grad_(), teacher)
    assert loss.isfinite() and gradient.isfinite().all()
    if name != "darkrank-hard":
        torch.testing.assert_close(gradient[5], gradient[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if "darkrank" not in name])
def test_one_image_has_a_finite_loss_and_teaches_only_where_the_teacher_is(name: str) -> None:
    loss, gradient = value_and_gradient(name, *batch(1))
    assert loss.isfinite() and gradient.isfinite().all()
    if name not in {"regression", "absolute", "mse"}:
        assert loss.abs() < 1e-15 and gradient.abs().max() < 1e-15


@pytest.mark.parametrize("name", NAMES)
def test_what_the_caller_has_set_for_products_makes_no_difference(name: str) -> None:
    student, teacher = batch(16, 6, 6, torch.float32)
    expected = value_and_gradient(name, student, teacher)
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        found = value_and_gradient(name, student, teacher)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
@pytest.mark.parametrize("name", NAMES)
def test_a_graphics_card_finds_what_a_processor_finds(name: str) -> None:
    student, teacher = batch(40, 12, 12)
    loss, gradient = value_and_gradient(name, student, teacher)
    found, slope = value_and_gradient(name, student.detach().cuda().requires_grad_(), teacher.cuda())
    torch.testing.assert_close(found.cpu(), loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(slope.cpu(), gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_descriptor_without_direction_is_refused_by_row(name: str) -> None:
    student, teacher = batch()
    for wrong in (float("nan"), float("inf"), 0.0):
        broken = student.detach().clone()
        broken[6] = wrong
        with pytest.raises(BadDescriptors, match="student's descriptor in row 6"):
            get(name)()(broken, teacher)
        broken = teacher.clone()
        broken[3] = wrong
        with pytest.raises(BadDescriptors, match="teacher's descriptor in row 3"):
            get(name)()(student, broken)


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_of_other_images_or_none_is_refused(name: str) -> None:
    student, teacher = batch()
    with pytest.raises(InvalidInput, match=f"{name} needs the teacher's descriptors"):
        get(name)()(student, None)
    with pytest.raises(InvalidInput, match="8 descriptors of the student, 7 of the teacher"):
        get(name)()(student, teacher[:7])
    with pytest.raises(InvalidInput, match="teacher's descriptors must be a floating matrix"):
        get(name)()(student, teacher[0])


class TestTheTeachersSpace:
    @pytest.mark.parametrize("name", IN_TEACHERS_SPACE)
    def test_equal_dimensions_need_no_head(self, name: str) -> None:
        objective = get(name)()
        objective(*batch())
        assert objective.head is None
        assert objective.make_head(5, None, 0) is None

    @pytest.mark.parametrize("name", IN_TEACHERS_SPACE)
    def test_other_dimensions_are_reached_by_a_projection_without_bias(self, name: str) -> None:
        objective, (student, teacher) = get(name)(), batch(12, 5, 9)
        loss = objective(student, teacher)
        head = objective.head
        assert head.kind == "projection" and head.linear.bias is None
        projected = torch.nn.functional.normalize(student) @ head.linear.weight.T
        torch.testing.assert_close(loss, get(name)()(projected, teacher), rtol=1e-5, atol=1e-7)
        loss.backward()
        assert student.grad is not None and (student.grad != 0).any()
        assert (head.linear.weight.grad != 0).any()

    @pytest.mark.parametrize("name", IN_TEACHERS_SPACE)
    def test_the_projection_learns(self, name: str) -> None:
        objective, (student, _) = get(name)(), batch(12, 5, 9)
        teacher = student.detach() @ torch.from_numpy(rows(5, 9, seed=3))
        before = objective(student, teacher)
        optimiser = torch.optim.Adam(objective.head.parameters(), 0.02)
        for _ in range(150):
            optimiser.zero_grad()
            objective(student.detach(), teacher).backward()
            optimiser.step()
        assert objective(student, teacher) < 0.3 * before

    @pytest.mark.parametrize("name", IN_TEACHERS_SPACE)
    def test_a_head_for_other_dimensions_is_refused(self, name: str) -> None:
        objective = get(name)()
        objective(*batch(4, 5, 9))
        with pytest.raises(InvalidInput, match="projection head leads from 5 to 9"):
            objective(*batch(4, 5, 7))

    def test_a_function_does_not_project(self) -> None:
        with pytest.raises(InvalidInput, match="have 5 dimensions and the teacher's 9"):
            regression(*batch(4, 5, 9))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in IN_TEACHERS_SPACE])
def test_relations_are_compared_across_dimensions(name: str) -> None:
    loss, gradient = value_and_gradient(name, *batch(8, 3, 20))
    assert loss.isfinite() and gradient.isfinite().all() and (gradient != 0).any()
    assert get(name)().make_head(4, 7, 0) is None


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"Did you mean 'rkd-distance'\?$"):
        get("rkd-dist")
    with pytest.raises(InvalidInput, match=r"Did you mean 'darkrank-hard', 'darkrank-soft' or 'rank'\?$"):
        get("darkrank")

"""The rank distillation loss: Algorithm 1 told with loops, the dense form, and the fast form."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from student_trainer.distil import average_precision
from student_trainer.distil.average_precision import binned_ap_loss
from student_trainer.distil.descriptors import BadDescriptors, similarities, unit_rows
from student_trainer.distil.labels import mixup_labels, similarity_labels
from student_trainer.distil.mixup import mix
from student_trainer.distil.rank_loss import rank_distillation_loss
from student_trainer.distil.rank_loss.backends import BACKENDS, triton_is_interpreted
from student_trainer.errors import InvalidInput

# Without a GPU, test_triton_gpu.py runs this file once more, with Triton's interpreter.
HAS_GPU = torch.cuda.is_available()
USABLE = [name for name in BACKENDS if name != "triton" or HAS_GPU or triton_is_interpreted()]
EXAMPLES = 40 if triton_is_interpreted() else 150

every_backend = pytest.mark.parametrize("backend", [*USABLE, "auto"])
fast_backends = pytest.mark.parametrize("backend", [name for name in USABLE if name != "reference"])


def ranked(student: Tensor, teacher: Tensor, *rest: Any, backend: str = "auto", **options: Any) -> Tensor:
    """The loss, computed where the backend works, and brought here."""
    device = "cuda" if backend == "triton" and HAS_GPU else "cpu"
    loss = rank_distillation_loss(student.to(device), teacher.to(device), *rest, backend=backend, **options)
    return loss.to(student.device)


def batch(
    images: int, dim: int = 4, teacher_dim: int = 6, rounds: int = 2, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Student, teacher (a few clusters, so that some images resemble each other) and partners."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=random)

    centres = normal(max(1, images // 3), teacher_dim)
    cluster = torch.randint(len(centres), (images,), generator=random)
    teacher = centres[cluster] + 0.5 * normal(images, teacher_dim)
    partners = torch.randint(images, (rounds, images), generator=random)
    return normal(images, dim).requires_grad_(), teacher, partners


def loss_and_gradient(student: Tensor, *rest: Any, **settings: Any) -> tuple[Tensor, Tensor]:
    student = student.detach().clone().requires_grad_()
    loss = ranked(student, *rest, **settings)
    loss.backward()
    assert student.grad is not None
    return loss.detach(), student.grad


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """To 1e-12 in value, and to 1e-10 of the gradient's norm (or of 1, where that is smaller)."""
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-12)
    error, size = (found[1] - expected[1]).norm().item(), expected[1].norm().item()
    assert error <= 1e-10 * max(size, 1e-3)


def loss_of_fixed_mixtures(
    student: Tensor, mixtures: Tensor, teacher: Tensor, partners: Tensor, lam: float, tau: float
) -> Tensor:
    """One round with the mixtures given as constants: what line 10 of Algorithm 1 differentiates."""
    teacher = unit_rows(teacher, "teacher")
    joint = similarities(torch.cat([teacher, mix(teacher, partners, lam)]))
    labels = mixup_labels(similarity_labels(joint, tau), partners)
    return binned_ap_loss(similarities(torch.cat([unit_rows(student, "student"), mixtures])), labels)


def algorithm_1(
    student: Tensor, teacher: Tensor, partners: Tensor, lam: float, tau: float, bins: int
) -> float:
    """The paper's loss with plain numbers, loops and sets."""

    def unit(vector: list[float]) -> list[float]:
        length = math.sqrt(sum(x * x for x in vector))
        return [x / length for x in vector]

    def joint(rows: list[list[float]], partner: list[int]) -> list[list[float]]:
        pairs = [(rows[k], rows[r]) for k, r in enumerate(partner)]
        return rows + [unit([lam * x + (1 - lam) * y for x, y in zip(f, g, strict=True)]) for f, g in pairs]

    def cosine(f: list[float], g: list[float]) -> float:
        return min(1.0, max(-1.0, sum(x * y for x, y in zip(f, g, strict=True))))

    def quantised_ap(row: list[float], positives: set[int]) -> float:
        delta, seen, found, ap = 2 / (bins - 1), 0.0, 0.0, 0.0
        for b in range(bins):
            p = [max(1 - abs(s - (1 - b * delta)) / delta, 0) for s in row]
            step = sum(p[z] for z in positives)
            seen, found = seen + sum(p), found + step
            ap += found / seen * step / len(positives) if seen else 0
        return ap

    losses = []
    for partner in partners.tolist():
        students = joint([unit(f) for f in student.tolist()], partner)
        teachers = joint([unit(f) for f in teacher.tolist()], partner)
        images, everything = len(partner), range(len(students))
        before = [
            {z for z in everything if z == q or cosine(teachers[q], teachers[z]) > tau} for q in everything
        ]
        after = [set(p) for p in before]
        for k, r in enumerate(partner):
            after[images + k] |= before[k] | before[r]
        for q in everything:
            positives = {z for z in everything if z in after[q] or q in after[z]}
            row = [1.0 if z == q else cosine(students[q], students[z]) for z in everything]
            losses.append(1 - quantised_ap(row, positives))
    return sum(losses) / len(losses)


@every_backend
@pytest.mark.parametrize("lam", [0.0, 0.3, 0.5, 1.0])
def test_it_is_algorithm_1(backend: str, lam: float) -> None:
    student, teacher, partners = batch(7)
    found = ranked(student, teacher, partners, lam, tau=0.6, bins=9, backend=backend)
    assert found.item() == pytest.approx(algorithm_1(student, teacher, partners, lam, 0.6, 9), abs=1e-12)


@fast_backends
@settings(max_examples=EXAMPLES)
@given(
    images=st.integers(2, 14),
    dim=st.integers(2, 6),
    teacher_dim=st.integers(2, 6),
    rounds=st.integers(1, 3),
    lam=st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.05, 0.95)),
    tau=st.floats(-0.9, 0.95),
    bins=st.integers(2, 26),
    low=st.sampled_from([-1.0, 0.0]),
    label_mixed=st.booleans(),
    include_self=st.booleans(),
    grad_through_mixed=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_the_fast_form_is_the_dense_form(
    backend: str, images: int, dim: int, teacher_dim: int, rounds: int, lam: float, seed: int, **rest: Any
) -> None:
    data = batch(images, dim, teacher_dim, rounds, seed)
    try:
        expected = loss_and_gradient(*data, lam, **rest, backend="reference")
    except BadDescriptors as refusal:  # a mixture of opposite descriptors: both must refuse it
        with pytest.raises(BadDescriptors, match=str(refusal).partition(" leaves")[0]):
            loss_and_gradient(*data, lam, **rest, backend=backend)
    else:
        assert_same(loss_and_gradient(*data, lam, **rest, backend=backend), expected)


@fast_backends
@pytest.mark.parametrize("grad_through_mixed", [False, True])
@pytest.mark.parametrize("label_mixed", [False, True])
def test_the_fast_form_is_the_dense_form_in_a_larger_batch_cut_into_tiles(
    backend: str, grad_through_mixed: bool, label_mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(average_precision, "TILE_ELEMENTS", 7 * 61)
    data = batch(61, dim=16, teacher_dim=24, rounds=3)
    options = {"bins": 25, "grad_through_mixed": grad_through_mixed, "label_mixed": label_mixed}
    expected = loss_and_gradient(*data, 0.37, **options, backend="reference")
    assert_same(loss_and_gradient(*data, 0.37, **options, backend=backend), expected)


@every_backend
def test_the_gradient_is_that_of_fixed_mixtures(backend: str) -> None:
    student, teacher, partners = batch(6, rounds=1)
    lam, tau = 0.4, 0.5
    mixtures = mix(unit_rows(student, "student"), partners[0], lam).detach()

    def fixed(f: Tensor) -> Tensor:
        return loss_of_fixed_mixtures(f, mixtures, teacher, partners[0], lam, tau)

    numeric = numerical_gradient(fixed, student)
    _, gradient = loss_and_gradient(student, teacher, partners, lam, tau=tau, backend=backend)
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-8)


def numerical_gradient(function: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-6) -> Tensor:
    at = at.detach()
    gradient = torch.zeros_like(at)
    for index in range(at.numel()):
        change = torch.zeros_like(at)
        change.view(-1)[index] = step
        gradient.view(-1)[index] = (function(at + change) - function(at - change)) / (2 * step)
    return gradient


@every_backend
@pytest.mark.parametrize("include_self", [False, True])
def test_with_gradient_through_mixtures_it_is_the_derivative_of_the_loss(
    backend: str, include_self: bool
) -> None:
    student, teacher, partners = batch(6)

    def loss(f: Tensor) -> Tensor:
        options = {"grad_through_mixed": True, "include_self": include_self, "backend": backend}
        return ranked(f, teacher, partners, 0.4, tau=0.5, **options)

    assert torch.autograd.gradcheck(loss, student)


@every_backend
def test_gradient_through_mixtures_changes_the_gradient_and_not_the_loss(backend: str) -> None:
    data = batch(9)
    detached = loss_and_gradient(*data, 0.4, backend=backend)
    through = loss_and_gradient(*data, 0.4, grad_through_mixed=True, backend=backend)
    assert torch.equal(detached[0], through[0])
    assert (detached[1] - through[1]).norm() > 1e-3 * detached[1].norm()


@every_backend
def test_rounds_are_averaged(backend: str) -> None:
    student, teacher, partners = batch(8, rounds=3)
    whole = loss_and_gradient(student, teacher, partners, 0.3, backend=backend)
    each = [loss_and_gradient(student, teacher, p[None], 0.3, backend=backend) for p in partners]
    mean = tuple(torch.stack(parts).mean(0) for parts in zip(*each, strict=True))
    assert_same(whole, (mean[0], mean[1]))


@every_backend
@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_images_mixed_with_themselves_are_duplicates(backend: str, lam: float) -> None:
    student, teacher, _ = batch(6)
    partners = torch.arange(6)[None]
    with_itself = loss_and_gradient(student, teacher, partners, lam, backend=backend)
    doubled = similarities(unit_rows(torch.cat([student, student]), "student"))
    labels = similarity_labels(similarities(unit_rows(torch.cat([teacher, teacher]), "teacher")), 0.75)
    torch.testing.assert_close(with_itself[0], binned_ap_loss(doubled, labels).detach(), rtol=0, atol=1e-12)
    assert_same(with_itself, loss_and_gradient(student, teacher, partners, lam, backend="reference"))


@fast_backends
def test_duplicated_images_are_ranked_as_in_the_dense_form(backend: str) -> None:
    student, teacher, partners = batch(9)
    same = torch.tensor([0, 0, 0, 3, 3, 5, 6, 7, 7])
    student, teacher = student.detach()[same], teacher[same]
    expected = loss_and_gradient(student, teacher, partners, 0.3, backend="reference")
    assert expected[1].norm() > 1e-3
    assert_same(loss_and_gradient(student, teacher, partners, 0.3, backend=backend), expected)


@every_backend
def test_similarities_that_round_above_one_are_as_good_as_one(backend: str) -> None:
    row = torch.randn(1, 300, generator=torch.Generator().manual_seed(5))
    student = row.repeat(8, 1) * torch.linspace(0.5, 3, 8)[:, None]
    loss, gradient = loss_and_gradient(
        student, torch.eye(8), torch.randint(8, (2, 8)), 0.3, backend=backend, include_self=False
    )
    assert loss.isfinite() and gradient.isfinite().all()
    assert gradient.abs().max() < 1e-5


@every_backend
def test_when_everything_is_relevant_nothing_is_to_be_learnt(backend: str) -> None:
    student, _, partners = batch(6)
    loss, gradient = loss_and_gradient(student, torch.ones(6, 3), partners, 0.3, backend=backend)
    assert abs(loss.item()) < 1e-14 and gradient.abs().max() < 1e-13


@every_backend
def test_when_nothing_is_relevant_nothing_is_to_be_learnt(backend: str) -> None:
    student, _, _ = batch(6)
    options = {"include_self": False, "label_mixed": False, "tau": 0.99, "backend": backend}
    teacher, partners = torch.eye(6), torch.tensor([[1, 2, 3, 4, 5, 0]])
    loss, gradient = loss_and_gradient(student, teacher, partners, 0.5, **options)
    assert loss == 0 and (gradient == 0).all()


@every_backend
def test_a_batch_of_one_image_has_no_loss(backend: str) -> None:
    for include_self in (True, False):
        loss, gradient = loss_and_gradient(
            torch.tensor([[3.0, 4.0]]),
            torch.ones(1, 5),
            torch.zeros(2, 1, dtype=torch.long),
            0.3,
            include_self=include_self,
            backend=backend,
        )
        assert abs(loss.item()) < 1e-6 and gradient.abs().max() < 1e-6


@every_backend
def test_without_itself_a_mixture_is_not_positive_to_its_parents(backend: str) -> None:
    # The teacher finds all images unrelated, and no mixture similar enough to its parents.
    teacher, partners = torch.eye(4), torch.tensor([[1, 2, 3, 0]])
    student = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    options = {"tau": 0.9, "backend": backend}
    assert ranked(student, teacher, partners, 0.5, include_self=False, **options) == 0
    assert ranked(student, teacher, partners, 0.5, include_self=True, **options) > 0


@every_backend
def test_labels_of_mixtures_can_be_left_to_similarity_alone(backend: str) -> None:
    student, teacher, partners = batch(9)
    inherited = ranked(student, teacher, partners, 0.5, tau=0.9, backend=backend)
    alone = ranked(student, teacher, partners, 0.5, tau=0.9, label_mixed=False, backend=backend)
    assert abs(inherited - alone) > 1e-3


@every_backend
def test_lengths_of_descriptors_do_not_matter_and_the_gradient_is_tangential(backend: str) -> None:
    student, teacher, partners = batch(8)
    loss, gradient = loss_and_gradient(student, teacher, partners, 0.3, backend=backend)
    stretch = torch.linspace(0.1, 9, 8, dtype=torch.float64)[:, None]
    stretched = loss_and_gradient(student * stretch, teacher / stretch, partners, 0.3, backend=backend)
    assert_same((stretched[0], stretched[1] * stretch), (loss, gradient))
    assert (gradient * student.detach()).sum(1).abs().max() < 1e-14


@every_backend
def test_no_gradient_flows_into_the_teacher(backend: str) -> None:
    student, teacher, partners = batch(5)
    teacher.requires_grad_()
    ranked(student, teacher, partners, 0.3, backend=backend).backward()
    assert teacher.grad is None


@every_backend
def test_without_a_gradient_to_compute_the_loss_is_the_same(backend: str) -> None:
    student, teacher, partners = batch(8)
    with_graph = ranked(student, teacher, partners, 0.3, backend=backend)
    plain = ranked(student.detach(), teacher, partners, 0.3, backend=backend)
    assert torch.equal(with_graph, plain) and not plain.requires_grad


@every_backend
def test_a_loss_that_is_scaled_has_a_gradient_that_is_scaled(backend: str) -> None:
    student, teacher, partners = batch(8)
    loss = ranked(student, teacher, partners, 0.3, backend=backend)
    (scaled,) = torch.autograd.grad(3 * loss, student)
    torch.testing.assert_close(scaled, 3 * loss_and_gradient(student, teacher, partners, 0.3)[1])


@pytest.fixture
def thread_count() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_the_number_of_threads_does_not_matter(backend: str, thread_count: Callable[[int], None]) -> None:
    data = batch(400, dim=24, teacher_dim=32)
    thread_count(1)
    alone = loss_and_gradient(*data, 0.3, backend=backend)
    thread_count(2)
    together = loss_and_gradient(*data, 0.3, backend=backend)
    again = loss_and_gradient(*data, 0.3, backend=backend)
    assert_same(together, alone)
    assert torch.equal(together[0], again[0]) and torch.equal(together[1], again[1])


@every_backend
def test_the_number_of_threads_is_as_before_also_after_a_refusal(
    backend: str, thread_count: Callable[[int], None]
) -> None:
    student, teacher, partners = batch(4)
    thread_count(2)
    ranked(student, teacher, partners, 0.5, backend=backend)
    assert torch.get_num_threads() == 2
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    with pytest.raises(BadDescriptors):
        ranked(opposite, opposite, torch.tensor([[1, 0]]), 0.5, backend=backend)
    assert torch.get_num_threads() == 2


@fast_backends
@pytest.mark.parametrize("seed", range(3))
def test_in_float32_it_errs_no_more_than_twice_as_much_as_the_dense_form(backend: str, seed: int) -> None:
    student, teacher, partners = batch(90, dim=32, teacher_dim=48, seed=seed)
    narrow = (student.detach().float(), teacher.float(), partners)
    exact = loss_and_gradient(narrow[0].double(), narrow[1].double(), partners, 0.3, backend="reference")

    def error(name: str) -> float:
        found = loss_and_gradient(*narrow, 0.3, backend=name)
        assert found[0].dtype == found[1].dtype == torch.float32
        assert abs(found[0].double() - exact[0]) < 1e-6
        return ((found[1].double() - exact[1]).norm() / exact[1].norm()).item()

    assert error(backend) <= 2 * error("reference")


@every_backend
def test_autocast_and_loose_settings_change_nothing(backend: str) -> None:
    student, teacher, partners = batch(40, dim=64, teacher_dim=64)
    narrow, rest = student.detach().float().requires_grad_(), (teacher.float(), partners, 0.3)
    expected = loss_and_gradient(narrow, *rest, backend=backend)
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = ranked(narrow, *rest, backend=backend)
    finally:
        matmul.fp32_precision = before
    assert torch.equal(loss, expected[0])
    assert torch.equal(*torch.autograd.grad(loss, narrow), expected[1])


@every_backend
def test_half_precision_descriptors_are_widened(backend: str) -> None:
    student, teacher, partners = batch(8)
    halves = (student.detach().bfloat16(), teacher.bfloat16())
    loss, gradient = loss_and_gradient(*halves, partners, 0.3, backend=backend)
    assert loss.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    wide = ranked(halves[0].float(), halves[1].float(), partners, 0.3, backend=backend)
    torch.testing.assert_close(loss, wide)


@every_backend
@pytest.mark.parametrize("whose", ["student", "teacher"])
@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_a_zero_or_nan_descriptor_is_refused_by_row(backend: str, whose: str, bad: float) -> None:
    student, teacher, partners = batch(5)
    rows = {"student": student.detach().clone(), "teacher": teacher.clone()}
    rows[whose][3] = bad
    with pytest.raises(BadDescriptors, match=f"{whose}'s descriptor in row 3"):
        ranked(rows["student"], rows["teacher"], partners, 0.3, backend=backend)


@fast_backends
@pytest.mark.parametrize("grad_through_mixed", [False, True])
def test_mixtures_that_nearly_cancel_out_lose_no_precision(backend: str, grad_through_mixed: bool) -> None:
    student, teacher, partners = batch(9)
    rows, partners = student.detach().clone(), partners.clone()
    rows[4] = -rows[1] * 1.7 + torch.full((4,), 5e-3, dtype=torch.float64)
    partners[:, 4] = 1
    options = {"grad_through_mixed": grad_through_mixed}
    expected = loss_and_gradient(rows, teacher, partners, 0.5, **options, backend="reference")
    assert_same(loss_and_gradient(rows, teacher, partners, 0.5, **options, backend=backend), expected)


@every_backend
@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_opposite_images_mixed_half_and_half_are_refused_by_row(backend: str, whose: str) -> None:
    student, teacher, _ = batch(4)
    rows = {"student": student.detach().clone(), "teacher": teacher.clone()}
    rows[whose][2] = -2 * rows[whose][0]
    with pytest.raises(BadDescriptors, match=f"row 2 of the {whose} descriptors with row 0"):
        ranked(rows["student"], rows["teacher"], torch.tensor([[1, 0, 0, 2]]), 0.5, backend=backend)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lam": 1.5}, r"lam = 1\.5"),
        ({"lam": float("nan")}, "lam = nan"),
        ({"tau": 1.0}, r"tau = 1\.0"),
        ({"tau": -2.0}, r"tau = -2\.0"),
        ({"bins": 1}, "bins = 1"),
        ({"low": 1.0}, "low must be below high"),
        ({"backend": "cuda"}, "no backend 'cuda'. Choose one of: auto, reference, torch, cpu, triton"),
        ({"teacher": torch.ones(5, 3)}, "4 descriptors of the student, 5 of the teacher"),
        ({"partners": torch.zeros(4, dtype=torch.long)}, r"long \[rounds, 4\]"),
        ({"partners": torch.zeros(0, 4, dtype=torch.long)}, "at least one round"),
        ({"partners": torch.zeros(2, 5, dtype=torch.long)}, r"shape \[2, 5\]"),
        ({"partners": torch.zeros(2, 4)}, "float32"),
        ({"partners": torch.tensor([[0, 1, 2, 4]])}, "from 0 to 4; a batch of 4 has rows 0 to 3"),
        ({"partners": torch.tensor([[0, 1, -1, 2]])}, "from -1 to 2"),
        ({"student": torch.zeros(0, 3)}, "not empty"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    student, teacher, partners = batch(4)
    arguments = {"student": student, "teacher": teacher, "partners": partners, "lam": 0.3} | changed
    with pytest.raises(InvalidInput, match=message):
        ranked(**arguments)

"""The Triton kernels: run by Triton's interpreter where there is no GPU, and compiled for GPUs anyway."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from student_trainer.distil.rank_loss import rank_distillation_loss
from student_trainer.distil.rank_loss.backends import triton_is_interpreted

triton = pytest.importorskip("triton", reason="Triton is not made for this platform")

needs_compiler = pytest.mark.skipif(triton_is_interpreted(), reason="the interpreter compiles nothing")
POINTERS = {"partners": "*i32", "tables": "*i64"}
NUMBERS = {"n": "i32", "width": "i32", "positive": "i32", "unit": "i64"}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="test_rank_loss.py runs the kernels on the GPU")
def test_interpreted_they_pass_every_test_of_the_loss() -> None:
    tests = Path(__file__).with_name("test_rank_loss.py")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "triton", "-p", "no:cacheprovider", str(tests)],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-5000:]
    passed = re.search(r"(\d+) passed", answer.stdout)
    assert passed and int(passed[1]) >= 40 and "skipped" not in answer.stdout


@needs_compiler
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("number", ["fp32", "fp64"])
@pytest.mark.parametrize(
    "kernel", ["count_originals", "count_mixtures", "slopes_to_originals", "slopes_to_mixtures"]
)
def test_they_compile_for_gpus_that_need_not_be_here(kernel: str, number: str, capability: int) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from student_trainer.distil.rank_loss import triton_kernels as kernels

    function = getattr(kernels, kernel)
    launch = dict(kernels.LAUNCH)
    constants = {name: launch.get(name, True) for name in function.arg_names if name.isupper()}
    known = POINTERS | NUMBERS | dict.fromkeys(constants, "constexpr")
    signature = {name: known.get(name, f"*{number}") for name in function.arg_names}
    source = ASTSource(function, signature, constexprs=constants)
    made = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": launch["num_warps"]}
    )
    assert made.asm["cubin"] and f"sm_{capability}" in made.asm["ptx"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("grad_through_mixed", [False, True])
def test_on_a_gpu_every_run_has_the_same_bits(grad_through_mixed: bool) -> None:
    random = torch.Generator("cuda").manual_seed(0)
    student = torch.randn(500, 64, device="cuda", generator=random).requires_grad_()
    teacher = torch.randn(500, 8, device="cuda", generator=random)
    partners = torch.randint(500, (4, 500), device="cuda", generator=random)
    options = {"tau": 0.5, "grad_through_mixed": grad_through_mixed, "backend": "triton"}
    found = []
    for _ in range(5):
        loss = rank_distillation_loss(student, teacher, partners, 0.3, **options)
        found.append((loss.detach(), *torch.autograd.grad(loss, student)))
    assert all(torch.equal(a, b) for run in found[1:] for a, b in zip(run, found[0], strict=True))

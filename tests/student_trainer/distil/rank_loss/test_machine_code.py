"""Machine code on disk: found again, never stale, and not needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import student_trainer

PROGRAM = """
import torch
from student_trainer.distil.average_precision import Bins
from student_trainer.distil.rank_loss.cpu_kernels import count_originals
from student_trainer.distil.rank_loss.problem import RankProblem
from student_trainer.distil.rank_loss.rows import Batch, Grid

student, teacher = torch.tensor([[1, 0.3], [0.3, 1]]), torch.tensor([[1, 0.8], [0.8, 1]])
problem = RankProblem(student, teacher, torch.zeros(1, 2).long(), 0.3, 0.75, Bins(5), True, True, False)
batch, grid = Batch.of(problem, student, teacher, with_gradient=False), Grid.of(problem)
count_originals(0, 2, batch, grid)
print((batch.tables[0] >> grid.shift).tolist(), "|", sum(count_originals.stats.cache_hits.values()))
"""
COUNTS = [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0]
"""One positive at 1, and one at 0.3: between the second centre from above, 0.5, and the third."""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, beside whose sources nothing can be written."""
    shutil.copytree(
        Path(student_trainer.__file__).parent,
        tmp_path / "student_trainer",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (tmp_path / "student_trainer" / "distil" / "__pycache__").write_text("not a folder")
    return tmp_path


def run(package: Path, **environment: str) -> tuple[list[int], int]:
    """What the function counts, and how often its machine code was found on disk."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=package,
        env=inherited | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    counts, _, found = answer.stdout.partition(" | ")
    return json.loads(counts), int(found)


def test_without_any_folder_to_keep_it_in_it_is_made_anew(package: Path) -> None:
    (package / "home").write_text("not a folder")
    nowhere = {"HOME": str(package / "home"), "XDG_CACHE_HOME": str(package / "home")}
    assert run(package, **nowhere) == (COUNTS, 0)


def test_it_is_found_again_and_made_anew_when_a_source_changes(package: Path) -> None:
    kept = {"NUMBA_CACHE_DIR": str(package / "kept")}
    assert run(package, **kept) == (COUNTS, 0)
    assert run(package, **kept) == (COUNTS, 1)

    # The same types in another order: numba would take the code it kept, and read the wrong arrays.
    source = package / "student_trainer" / "distil" / "rank_loss" / "rows.py"
    before, text = source.stat(), source.read_text()
    swapped = text.replace(
        "    losses: Any\n    mixed_losses: Any\n", "    mixed_losses: Any\n    losses: Any\n"
    )
    assert swapped != text
    source.write_text(swapped)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(package, **kept) == (COUNTS, 0)

"""The rules of the house that no type checker knows: who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HTTP_LIBRARIES = {"httpx", "requests", "urllib", "http", "aiohttp", "urllib3"}


def imported_modules(path: Path) -> Iterator[str]:
    """Every module named by an import statement of the file, wherever it stands in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction of a dependency"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_imported_by(package: str) -> dict[str, set[str]]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"no source found in {package}"
    return {
        str(file.relative_to(ROOT)): {module.split(".")[0] for module in imported_modules(file)}
        for file in files
    }


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("shared", {"teacher_service", "student_trainer"}),
        ("teacher_service", {"student_trainer"}),
        ("student_trainer", {"teacher_service"}),
    ],
)
def test_a_package_imports_only_what_it_may(package: str, forbidden: set[str]) -> None:
    wrong = {file: found & forbidden for file, found in packages_imported_by(package).items()}
    assert not {file: found for file, found in wrong.items() if found}


LATER = ("evaluate", "publish", "reproduce", "trials", "curve", "demo")


@pytest.mark.parametrize(
    ("room", "other"),
    [
        *(("distil", later) for later in LATER),  # training knows nothing of what is done with its students
        ("acquire", "distil"),
        ("curve", "publish"),
    ],
)
def test_a_room_of_the_trainer_imports_nothing_of_one_that_stands_on_it(room: str, other: str) -> None:
    files = sorted((ROOT / "student_trainer" / room).rglob("*.py"))
    assert files
    wrong = {
        str(file.relative_to(ROOT)): name
        for file in files
        for name in imported_modules(file)
        if f"{name}.".startswith(f"student_trainer.{other}.")
    }
    assert not wrong


def test_nothing_outside_the_tests_imports_the_tests() -> None:
    for package in ("shared", "teacher_service", "student_trainer"):
        for file, found in packages_imported_by(package).items():
            assert not found & {"tests", "benchmarks", "pytest", "hypothesis"}, file


def test_one_module_of_the_trainer_speaks_http() -> None:
    speaking = {
        file for file, found in packages_imported_by("student_trainer").items() if found & HTTP_LIBRARIES
    }
    assert speaking == {"student_trainer/acquire/client.py"}


LOSSES = ("objectives", "hash_centres.py", "rank_loss", "tuples/draws.py", "tuples/in_batch.py")


def test_losses_import_neither_what_buys_nor_what_reads_data_sets() -> None:
    distil = ROOT / "student_trainer" / "distil"
    files = [path for name in LOSSES for path in (distil / name).rglob("*.py")]
    files += [distil / name for name in LOSSES if name.endswith(".py")]
    files = [path for path in files if "triton" not in path.name]  # is not everywhere
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {modules!r}]; "
        "print(*sorted(sys.modules), sep=chr(10))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    bought_or_read = ("student_trainer.acquire", "student_trainer.datasets", "student_trainer.distil.data")
    assert "student_trainer.distil.objectives.rank" in done.stdout
    assert not [name for name in done.stdout.splitlines() if name.startswith((*bought_or_read, "sqlite3"))]


@pytest.mark.parametrize("module", ["shared.protocol", "shared.certificate", "student_trainer.cli"])
def test_what_a_client_or_an_auditor_starts_with_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

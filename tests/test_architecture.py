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


def test_nothing_outside_the_tests_imports_the_tests() -> None:
    for package in ("shared", "teacher_service", "student_trainer"):
        for file, found in packages_imported_by(package).items():
            assert not found & {"tests", "benchmarks", "pytest", "hypothesis"}, file


def test_one_module_of_the_trainer_speaks_http() -> None:
    speaking = {
        file for file, found in packages_imported_by("student_trainer").items() if found & HTTP_LIBRARIES
    }
    assert speaking == {"student_trainer/acquire/client.py"}


@pytest.mark.parametrize("module", ["shared.protocol", "shared.certificate", "student_trainer.cli"])
def test_what_a_client_or_an_auditor_starts_with_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

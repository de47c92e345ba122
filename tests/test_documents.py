"""What the documents name exists, and the pinned versions cover the project."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from student_trainer.cli import app as trainer
from teacher_service.cli import app as service

ROOT = Path(__file__).parent.parent
SOURCE = r"[\w.-]+(/[\w.-]+)*(/|\.(py|lua|sql|toml|yml|md|css|j2))"
MADE_BY_A_RUN = {"cache/"}
STANDING = [
    path
    for folder in ("shared", "teacher_service", "student_trainer", "tests", "benchmarks", "docs")
    for path in (ROOT / folder, *(ROOT / folder).rglob("*"))
] + [path for path in ROOT.iterdir() if path.is_file()]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_and_document_that_is_named_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"tests/[\w/]+\.py", text):
        assert (ROOT / name).is_file(), name
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (document.parent / link).exists(), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_source_file_and_folder_that_is_named_exists(document: Path) -> None:
    """By its whole path, or by the end of it: ``embed.py`` is in ``teacher_service``."""
    for name in re.findall(r"`([^`\s]+)`", document.read_text(encoding="utf-8")):
        if re.fullmatch(SOURCE, name) and name not in MADE_BY_A_RUN:
            assert any(path.match(name) for path in STANDING), f"{document.name} names {name}"


def test_the_architecture_names_every_module_that_both_sides_share() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "shared").glob("*.py")} - {"__init__.py"}
    assert not {name for name in modules if f"`{name}`" not in text}


@pytest.mark.parametrize("package", ["teacher_service", "student_trainer"])
def test_the_architecture_names_every_room(package: str) -> None:
    """Alone, as ``routes/``, or with one of its files."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    rooms = {file.parent.name for file in (ROOT / package).glob("*/**/__init__.py")}
    assert len(rooms) > 5
    assert not {room for room in rooms if f"{room}/" not in text}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_flag_that_is_shown_exists(document: Path) -> None:
    commands = {"student-trainer": get_command(trainer), "teacher-service": get_command(service)}
    for line in re.findall(r"^((?:student-trainer|teacher-service) .+)$", document.read_text("utf-8"), re.M):
        words = line.split("#")[0].split()
        command = commands[words[0]]
        for word in words[1:]:
            if not hasattr(command, "commands") or word.startswith("--"):
                break
            assert word in command.commands, line
            command = command.commands[word]
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_the_pinned_versions_are_names_and_versions_only_and_cover_every_dependency() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!]+", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in wanted}  # type: ignore[index]
    assert names <= pinned

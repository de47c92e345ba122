"""What a demo is made of: where its photographs come from, the budget, and two recipes.

In: the options of ``student-trainer demo``. Out: frozen settings, and their record in the run folder, by
which a demo that is run again knows whether it may continue.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from student_trainer.errors import InvalidInput
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Scenery:
    """How much is rendered where no photographs are given, and what networks know before they see it.

    Nothing is downloaded, so there are no ImageNet weights to start from. In their place the student begins
    with a short supervised training on the landmarks ``basics``, which occur nowhere else.
    """

    landmarks_basics: int = 32
    landmarks_train: int = 80
    landmarks_test: int = 24
    views: int = 10
    side_px: int = 96


@dataclass(frozen=True)
class DemoSettings:
    """Everything that decides what a demo computes."""

    run: Path
    images: Path | None
    """A folder with one sub-folder for each label; None to render landmarks."""
    manifest: Path | None
    """A labelled CSV, with or without the splits train and test; None to render landmarks."""
    queries: int
    seed: int
    teacher_recipe: str
    student_recipe: str
    teacher_changes: tuple[str, ...] = ()
    """``section.key=value`` overrides of the teacher's recipe."""
    student_changes: tuple[str, ...] = ()
    start_recipe: str = "demo-start"
    """How the student gets its initial weights where landmarks are rendered."""
    start_changes: tuple[str, ...] = ()
    scenery: Scenery = Scenery()

    @property
    def record(self) -> Path:
        """Where the settings of a demo are kept."""
        return self.run / "demo.json"

    @property
    def teacher_run(self) -> RunFolder:
        """The teacher is a supervised student in a run folder of its own."""
        return RunFolder(self.run / "teacher")

    @property
    def rendered(self) -> bool:
        """Whether the demo makes its own photographs."""
        return self.images is None and self.manifest is None

    @property
    def start_run(self) -> RunFolder:
        """Where the student's initial weights are made, in place of ImageNet's."""
        return RunFolder(self.run / "start")

    @property
    def rank_run(self) -> RunFolder:
        """The student without mixing, trained on the same descriptors."""
        return RunFolder(self.run / "rank")

    @property
    def service_data(self) -> Path:
        """Ledger and signing key of the demo's service."""
        return self.run / "service"

    @property
    def api_key(self) -> Path:
        """The demo's API key, for a demo that is continued."""
        return self.service_data / "demo.key"


def check_recipes(settings: DemoSettings) -> None:
    """Refuse recipes that cannot be loaded, before anything is written.

    Raises:
        InvalidInput: as :func:`student_trainer.recipe.load`.
    """
    load(settings.teacher_recipe, settings.teacher_changes)
    load(settings.student_recipe, settings.student_changes)
    if settings.rendered:
        load(settings.start_recipe, settings.start_changes)


def begin_or_continue(settings: DemoSettings, *, fresh: bool) -> bool:
    """Prepare the run folder; True if an earlier demo with the same settings is continued.

    Raises:
        InvalidInput: the folder holds a demo with other settings, or something that is not a demo.
    """
    record = json.dumps(_plain(settings), indent=1, sort_keys=True)
    if settings.run.exists() and any(settings.run.iterdir()):
        if not settings.record.is_file():
            raise InvalidInput(f"{settings.run} is not empty and holds no demo. Give another --run.")
        if not fresh:
            if settings.record.read_text(encoding="utf-8") != record:
                raise InvalidInput(
                    f"{settings.run} holds a demo with other settings. Give another --run, "
                    "or start over with --fresh."
                )
            return True
        shutil.rmtree(settings.run)
    settings.run.mkdir(parents=True, exist_ok=True)
    settings.record.write_text(record, encoding="utf-8")
    return False


def _plain(settings: DemoSettings) -> dict[str, object]:
    plain = asdict(settings)
    plain.pop("run")
    for name in ("images", "manifest"):
        path = getattr(settings, name)
        plain[name] = None if path is None else str(path.resolve())
    return plain

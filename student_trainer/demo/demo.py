"""The whole line, as a user would type it: photographs, teacher, budget, student, certificate.

In: settings. Out: a run folder with everything that the commands leave there, and the measured scores.
The teacher is trained here only because a demo needs one; from then on it is a black box behind HTTP.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shared.images import ImageLimits
from student_trainer.acquire.client import Access, TeacherClient, Upload
from student_trainer.acquire.plan import limits_of, take_stock
from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.session import meet
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import read_manifest
from student_trainer.demo.narrator import Narrator, RunTrainer
from student_trainer.demo.photographs import BASICS, TEST, TRAIN, labelled_manifest
from student_trainer.demo.settings import DemoSettings
from student_trainer.demo.teacher_process import create_key, keep_key, running_teacher
from student_trainer.errors import BudgetTooSmall, VerificationFailed
from student_trainer.evaluate.document import Evaluation, read_evaluation
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

STAGES = 9
"""One more where landmarks are rendered."""


def run_demo(settings: DemoSettings, run_trainer: RunTrainer) -> Evaluation:
    """Run or continue every stage, with ``run_trainer`` for the commands.

    Raises:
        TrainerError: from the stage that failed; running the demo again continues there.
        VerificationFailed: the service delivered more than the budget.
    """
    tell, run = Narrator(STAGES + settings.rendered, run_trainer), RunFolder(settings.run)

    with tell.stage("Rendering landmarks" if settings.rendered else "Photographs"):
        manifest = labelled_manifest(settings)
        print(f"  {len(read_manifest(manifest)):,} images, listed in {manifest}")

    if settings.rendered:
        with tell.stage("Giving the student a start on landmarks of its own, in place of ImageNet weights"):
            tell.trainer(
                *("train", "--run", settings.start_run.root, "--recipe", settings.start_recipe),
                *_changes(settings.start_changes, settings.seed),
                *("--manifest", manifest, "--split", BASICS),
            )

    with tell.stage("Training a teacher on labelled landmarks that the test never shows"):
        tell.trainer(
            *("train", "--run", settings.teacher_run.root, "--recipe", settings.teacher_recipe),
            *_changes(settings.teacher_changes, settings.seed),
            *("--manifest", manifest, "--split", TRAIN),
        )

    with _served(settings, tell) as (url, key, public_key):
        _buy(settings, tell, run, manifest, url)
        with tell.stage("Asking for one query more"):
            print(f"  {ask_for_one_more(run, manifest, Access(url, key))}")
        with tell.stage("Auditing what was spent"):
            tell.trainer("audit", "--run", run.root, "--url", url)

    with tell.stage("Distilling offline; the service is stopped"):
        start = (f"student.weights={settings.start_run.student}",) if settings.rendered else ()
        changes = _changes((*start, *settings.student_changes), settings.seed)
        student = ("--recipe", settings.student_recipe, *changes)
        tell.trainer("train", "--run", run.root, *student)
        others = ("--objective", "rank", "--transfer-set", run.transfer_set)
        tell.trainer("train", "--run", settings.rank_run.root, *student, *others)

    with tell.stage("Measuring retrieval on landmarks that nobody has seen"):
        size = load(settings.teacher_run.recipe).images.longest_side_px
        tell.trainer(
            *("evaluate", "--run", run.root, "--also", f"rank={settings.rank_run.root}"),
            *("--teacher", settings.teacher_run.student, "--teacher-image-size", size),
            *("--manifest", manifest, "--split", TEST),
        )

    with tell.stage("Checking the certificate offline, and writing the report"):
        tell.trainer("verify", "--run", run.root, "--public-key", public_key)
        tell.trainer("report", "--run", run.root)
    return read_evaluation(run.evaluation)


def ask_for_one_more(run: RunFolder, manifest: Path, access: Access) -> str:
    """Ask for an image beyond the budget, and tell what the service says; or why nothing was asked.

    Raises:
        VerificationFailed: it was delivered.
    """
    model, usage = meet(access)
    if usage.remaining:
        return (
            f"Not asked: the teacher refused planned images, so the key has {usage.remaining:,} queries left."
        )
    with TransferSet.open(run.transfer_set) as transfer_set:
        bought = set(transfer_set.bought().images)
    image = _first_new(manifest, limits_of(model.limits), bought)
    if image is None:
        return "Not asked: no test image that can be read is new to the key."
    upload = Upload(image.path.read_bytes(), f"image/{image.format.lower()}")

    async def ask() -> None:
        async with TeacherClient(access) as client:
            await client.embed([upload], f"one-more-{image.digest}")

    try:
        asyncio.run(ask())
    except BudgetTooSmall as refusal:
        return f"refused: {refusal}"
    raise VerificationFailed("The service delivered a descriptor beyond the budget.")


def _first_new(manifest: Path, limits: ImageLimits, bought: set[str]) -> PlannedImage | None:
    """The first test image that decodes and whose bytes were not bought, under whatever name."""
    for entry in read_manifest(manifest, TEST):
        for image in take_stock([entry], limits).candidates:
            if image.digest not in bought:
                return image
    return None


def _buy(settings: DemoSettings, tell: Narrator, run: RunFolder, manifest: Path, url: str) -> None:
    """Plan once, then fetch whatever is missing; images that the teacher refuses do not end the demo."""
    with tell.stage(f"Buying {settings.queries:,} descriptors: no label, one query an image"):
        if not run.transfer_set.is_file():
            tell.trainer(
                *("plan", "--run", run.root, "--manifest", manifest, "--split", TRAIN),
                *("--queries", settings.queries, "--seed", settings.seed, "--url", url),
            )
        tell.trainer("fetch", "--run", run.root, "--url", url, "--yes")


@contextmanager
def _served(settings: DemoSettings, tell: Narrator) -> Iterator[tuple[str, str, str]]:
    """The teacher behind HTTP, and a key for exactly the budget in the environment of the commands."""
    size = load(settings.teacher_run.recipe).images.longest_side_px
    data_dir = settings.service_data
    serve = [
        *("--checkpoint", str(settings.teacher_run.student), "--image-size", str(size)),
        *("--data-dir", str(data_dir), "--port", "0"),
    ]
    data_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with tell.stage(f"Serving it in a process of its own, with a key for {settings.queries:,} queries"):
            tell.show("teacher-service", ["serve", *serve])
            teacher = stack.enter_context(running_teacher(serve, data_dir / "service.log"))
            print(f"  listening at {teacher.address}, teacher revision {teacher.teacher_revision[:12]}")
            key = _key(settings, tell)
        stack.enter_context(_environment("TEACHER_API_KEY", key))
        yield teacher.address, key, teacher.public_key


def _key(settings: DemoSettings, tell: Narrator) -> str:
    """The key of an interrupted demo, or a new one."""
    if not settings.api_key.is_file():
        words = ["keys", "create", "demo", "--budget", str(settings.queries)]
        tell.show("teacher-service", [*words, "--data-dir", str(settings.service_data)])
        keep_key(create_key(settings.service_data, "demo", settings.queries), settings.api_key)
    return settings.api_key.read_text(encoding="utf-8")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _changes(changes: tuple[str, ...], seed: int) -> list[str]:
    return [word for change in (f"training.seed={seed}", *changes) for word in ("--set", change)]

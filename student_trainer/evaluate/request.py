"""One evaluation, from the words of the command line to the document.

In: what was asked for. Out: the evaluation, and the file that it is to be written to; progress on standard
error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from student_trainer.datasets.labelled.catalogue import LABELLED, TEST
from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.datasets.manifest import Entry, labelled_entries
from student_trainer.datasets.present import require_files
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.bridge import pairs_of
from student_trainer.evaluate.benchmark.command import Payment, Wishes, evaluate_benchmark
from student_trainer.evaluate.comparison import compare
from student_trainer.evaluate.contestant import Contestant, require_teacher_among
from student_trainer.evaluate.contestants import line_up
from student_trainer.evaluate.destination import destination, say_what_is_replaced
from student_trainer.evaluate.document import Evaluation
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.evaluate.labelled_document import Source
from student_trainer.evaluate.scales import parse_scales
from student_trainer.progress import progress
from student_trainer.run_folder import RunFolder, transfer_set_file


@dataclass(frozen=True)
class Request:
    """The options of ``evaluate``, as they were given."""

    run: Path
    manifest: Path | None = None
    split: str | None = None
    wishes: Wishes = field(default_factory=Wishes)
    """What is named of public sets, and all that is about benchmarks."""
    payment: Payment = field(default_factory=Payment)
    transfer_set: Path | None = None
    """What the student learned from, where that does not lie in its run folder."""
    teacher: Path | None = None
    also: Sequence[str] = ()
    scales: str = "1"
    image_size: int | None = None
    teacher_image_size: int | None = None
    degrade: str | None = None
    device: str = "auto"
    out: Path | None = None

    @property
    def on_labelled_images(self) -> bool:
        """Whether it is no benchmark that is measured on."""
        return self.manifest is not None or self.wishes.dataset in LABELLED


def carry_out(request: Request) -> tuple[Evaluation, Path]:
    """Measure what was asked for; the evaluation, and the file to write it to, which was tried first.

    Raises:
        InvalidInput: options that do not go together, or something that is not there or cannot be read.
        StorageFailed: the file cannot be written, or descriptors cannot be kept.
        TrainerError: see :func:`student_trainer.evaluate.benchmark.command.evaluate_benchmark`.
    """
    folder = _folder(request)
    scales = parse_scales(request.scales)
    _check(request)
    contestants = line_up(
        folder,
        request.teacher,
        request.also,
        request.image_size,
        request.teacher_image_size,
        degrade=request.degrade,
    )
    if request.wishes.asymmetric and request.wishes.teacher_url is None:
        require_teacher_among(contestants)
    file = destination(folder, request.out)

    def on_begin() -> None:
        say_what_is_replaced(file)

    if request.on_labelled_images:
        return _on_labelled_images(request, folder, contestants, on_begin), file
    evaluation = evaluate_benchmark(
        request.wishes,
        contestants,
        folder,
        scales,
        payment=request.payment,
        device=request.device,
        on_begin=on_begin,
    )
    return evaluation, file


def _folder(request: Request) -> RunFolder:
    """The run's, with the transfer set that is named.

    Raises:
        InvalidInput: one of them is not there.
    """
    folder = RunFolder.existing(request.run)
    if request.transfer_set is None:
        return folder
    file = transfer_set_file(request.transfer_set)
    if not file.is_file():
        raise InvalidInput(f"--transfer-set: there is no transfer set {file}. Name the run that bought it.")
    return replace(folder, bought_in=file)


def _check(request: Request) -> None:
    """Refuse options that do not go together."""
    wishes = request.wishes
    if (request.manifest is None) == (wishes.dataset is None):
        raise InvalidInput("Give either --manifest FILE, or --dataset NAME with --root DIR.")
    if not request.on_labelled_images and request.split is not None:
        raise InvalidInput(
            "--split is for --manifest and sets of labelled images: a benchmark has its own queries and "
            "database."
        )
    if wishes.teacher_url is not None and request.teacher is not None:
        raise InvalidInput("Give the teacher once: --teacher FILE where you have it, or --teacher-url URL.")
    if request.payment.yes and wishes.teacher_url is None:
        raise InvalidInput(
            "--yes agrees to what --teacher-url costs; without it nothing is spent: drop --yes."
        )
    if request.manifest is not None:
        wishes.refuse_any()
    elif request.on_labelled_images:
        instead = f"leave it out, or name a benchmark instead of {wishes.dataset}"
        replace(wishes, dataset=None, root=None).refuse_any(instead)


def _on_labelled_images(
    request: Request,
    folder: RunFolder,
    contestants: Sequence[Contestant],
    on_begin: Callable[[], None],
) -> Evaluation:
    entries, source = _labelled(request)
    gallery = gallery_of(entries)
    across = folder if request.wishes.asymmetric else None
    images = len(gallery.paths) * len(contestants) + (pairs_of(across) if across else 0)
    with progress("Describing", images, "images") as bar:
        return compare(
            contestants,
            gallery,
            source,
            parse_scales(request.scales),
            device=request.device,
            asymmetric=across,
            on_begin=on_begin,
            on_images=lambda name, done: bar.advance(done, note=name),
        )


def _labelled(request: Request) -> tuple[Sequence[Entry], Source]:
    """The images to measure on, and what they are called."""
    if request.manifest is not None:
        entries = labelled_entries(request.manifest, request.split)
        return entries, Source(request.manifest, request.split)
    public = open_labelled(request.wishes.dataset or "", request.wishes.root, request.split or TEST)
    require_files(public.paths, f"{public.words},")
    return public.entries, Source(public.root, public.split, public.name)

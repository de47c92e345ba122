"""``evaluate --dataset``: from the command line's wishes to a benchmark, its options and its evaluation.

In: what was asked for. Out: the evaluation document; progress on standard error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from student_trainer.acquire.manifest import scan_folder
from student_trainer.acquire.session import access_to
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.image_list import read_image_list
from student_trainer.datasets.known import DISTRACTORS, KNOWN, SFM120K, find_set
from student_trainer.datasets.present import require_files
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.datasets.sfm120k import open_sfm120k
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asked_teacher import AskedTeacher, ask
from student_trainer.evaluate.asymmetric import pairs_of
from student_trainer.evaluate.benchmark import Options, passes
from student_trainer.evaluate.benchmark_comparison import Comparison, Watch, require_everything
from student_trainer.evaluate.comparison import Contestant
from student_trainer.evaluate.document import Evaluation
from student_trainer.evaluate.expansion import Expansion
from student_trainer.evaluate.revisited import SETUPS
from student_trainer.evaluate.whitening import SQUARE_ROOTED
from student_trainer.evaluate.whitening_sources import FromDatabase, FromPairs, WhiteningSource, open_file
from student_trainer.progress import progress
from student_trainer.run_folder import RunFolder

OLD_NAMES = {"roxford5k": "oxford5k", "rparis6k": "paris6k"}
"""The benchmarks of the old protocol on the photographs of the revisited ones."""


@dataclass(frozen=True)
class Payment:
    """With which key a teacher behind an API is asked, and whether that was agreed to."""

    key: str | None = field(default=None, repr=False)
    yes: bool = False


@dataclass(frozen=True)
class Wishes:
    """The options of ``evaluate`` that are about benchmarks, as they were given."""

    dataset: str | None = None
    root: Path | None = None
    protocol: str | None = None
    whiten_on: str | None = None
    whiten_power: float | None = None
    """None for the square-rooted PCA."""
    whitening: str | None = None
    whiten_dims: int | None = None
    asymmetric: bool = False
    alpha_qe: str | None = None
    dba: str | None = None
    distractors: Path | None = None
    half: bool = False
    teacher_url: str | None = None

    def refuse_any(self) -> None:
        """Labelled images have none of this.

        Raises:
            InvalidInput: one of the options was given.
        """
        for wish in fields(self):
            if getattr(self, wish.name) != wish.default:
                option = f"--{wish.name.replace('_', '-')}"
                raise InvalidInput(f"{option} is for benchmarks: give --dataset instead of --manifest.")


def evaluate_benchmark(
    wishes: Wishes,
    contestants: Sequence[Contestant],
    run: RunFolder,
    scales: tuple[float, ...],
    *,
    payment: Payment = Payment(),
    device: str = "auto",
) -> Evaluation:
    """Open everything that is named, buy what the teacher has to be asked for, then measure every model.

    Raises:
        InvalidInput: something is not there, or does not fit.
        StorageFailed: descriptors cannot be kept.
        TrainerError: see :func:`student_trainer.evaluate.purchase.purchase`.
    """
    benchmark = open_named(wishes.dataset or "", wishes.root, wishes.protocol)
    options = _options(wishes, scales, benchmark.name)
    whitened = options.whitening.images if options.whitening else ()
    asked = _asked(wishes, run, benchmark, options, payment)
    each = len(benchmark.images) + len(benchmark.queries) + len(options.distractors) + len(whitened)
    images = each * len(contestants) + (pairs_of(run) if wishes.asymmetric else 0)
    rows = (len(benchmark.images) + len(options.distractors)) * passes(options)
    with progress("Describing", images, "images") as bar:
        compared = 0

        def on_rows(name: str, done: int) -> None:
            nonlocal compared
            compared = done if compared >= rows else compared + done
            bar.advance(0, f"{name}: compared {compared:,} of {rows:,} rows")

        watch = Watch(on_images=lambda name, done: bar.advance(done, name), on_rows=on_rows)
        comparison = Comparison(benchmark, options, run, scales, device, watch)
        return comparison.evaluate(contestants, asymmetric=wishes.asymmetric, asked=asked)


def _asked(
    wishes: Wishes, run: RunFolder, benchmark: Benchmark, options: Options, payment: Payment
) -> AskedTeacher | None:
    if wishes.teacher_url is None:
        return None
    require_everything(benchmark, options)
    others = [*options.distractors, *(options.whitening.images if options.whitening else ())]
    access = access_to(wishes.teacher_url, payment.key)
    return ask(run, benchmark, others, access, yes=payment.yes)


def open_named(dataset: str, root: Path | None, protocol: str | None = None) -> Benchmark:
    """A public benchmark below ``root``, or one in a folder of its own.

    Args:
        dataset: a public name, or a folder with a ground truth in it (also below ``root``).
        root: the folder of data sets.
        protocol: ``revisited`` or ``old``; of the public ones, the data set of that protocol is opened.

    Raises:
        InvalidInput: it is not there (what to download is said), or of the other protocol.
    """
    if protocol is not None and protocol not in SETUPS:
        raise InvalidInput(f"--protocol {protocol!r}: choose {' or '.join(SETUPS)}.")
    name = _of_protocol(dataset, protocol)
    if name in KNOWN:
        if root is None:
            raise InvalidInput(f"--dataset {dataset}: give the folder of data sets with --root DIR.")
        benchmark = open_benchmark(find_set(root, name))
    else:
        below = None if root is None else root / name
        benchmark = open_benchmark(below if below is not None and below.exists() else Path(name))
    if protocol is not None and benchmark.protocol != protocol:
        raise InvalidInput(
            f"--protocol {protocol}: the ground truth of {benchmark.name} follows the {benchmark.protocol} "
            "protocol. Leave --protocol out, or name another data set."
        )
    return benchmark


def _of_protocol(dataset: str, protocol: str | None) -> str:
    if protocol == "old":
        return OLD_NAMES.get(dataset, dataset)
    if protocol == "revisited":
        return {old: new for new, old in OLD_NAMES.items()}.get(dataset, dataset)
    return dataset


def _options(wishes: Wishes, scales: tuple[float, ...], measured: str) -> Options:
    return Options(
        whitening=_whitening(wishes, scales, measured),
        dims=wishes.whiten_dims,
        query_expansion=None if wishes.alpha_qe is None else Expansion.parse(wishes.alpha_qe, "--alpha-qe"),
        augmentation=None if wishes.dba is None else Expansion.parse(wishes.dba, "--dba"),
        distractors=() if wishes.distractors is None else tuple(_distractors(wishes.distractors)),
        half=wishes.half,
    )


def _whitening(wishes: Wishes, scales: tuple[float, ...], measured: str) -> WhiteningSource | None:
    if wishes.whiten_on is not None and wishes.whitening is not None:
        raise InvalidInput(
            "Give either --whiten-on, which learns a whitening, or --whitening FILE, not both."
        )
    if wishes.whiten_power is not None and wishes.whiten_on in (None, SFM120K):
        raise InvalidInput(
            "--whiten-power is for PCA whitening: name a benchmark with --whiten-on, on whose database it is "
            "learned, or leave --whiten-power out."
        )
    if wishes.whitening is not None:
        path, _, name = wishes.whitening.partition("#")
        return open_file(Path(path), scales, name or None)
    if wishes.whiten_on is None:
        return None
    if wishes.whiten_on == SFM120K:
        if wishes.root is None:
            raise InvalidInput(f"--whiten-on {SFM120K}: give the folder of data sets with --root DIR.")
        pairs = FromPairs(open_sfm120k(find_set(wishes.root, SFM120K), "val"))
        require_files(pairs.images, SFM120K)
        return pairs
    power = SQUARE_ROOTED if wishes.whiten_power is None else wishes.whiten_power
    other = FromDatabase(open_named(wishes.whiten_on, wishes.root), power)
    if OLD_NAMES.get(other.benchmark.name, other.benchmark.name) == OLD_NAMES.get(measured, measured):
        raise InvalidInput(
            f"--whiten-on {wishes.whiten_on}: its photographs are those that {measured} measures on. Learn "
            "the whitening on other ones, as of Paris for Oxford."
        )
    require_files(other.images, other.benchmark.name)
    return other


def _distractors(where: Path) -> list[Path]:
    """Of a folder with a public list the images that it lists, of another folder all files."""
    listed = where / KNOWN[DISTRACTORS].index_file
    if listed.is_file() or where.is_file():
        return [entry.path for entry in read_image_list(listed if listed.is_file() else where)]
    return [entry.path for entry in scan_folder(where)]

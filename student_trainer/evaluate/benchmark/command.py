"""``evaluate --dataset``: from the command line's wishes to a benchmark, its options and its evaluation.

In: what was asked for. Out: the evaluation document; progress on standard error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from student_trainer.acquire.session import access_to
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.image_list import find_distractors, set_of_distractors
from student_trainer.datasets.known import (
    KNOWN,
    SFM120K,
    benchmarks,
    find_set,
    in_protocol,
    not_among,
    same_photographs,
)
from student_trainer.datasets.labelled.catalogue import LABELLED
from student_trainer.datasets.present import require_files, require_images
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.datasets.sfm120k import open_sfm120k
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.bridge import pairs_of
from student_trainer.evaluate.benchmark.asked_teacher import AskedTeacher, ask
from student_trainer.evaluate.benchmark.comparison import Comparison, Watch
from student_trainer.evaluate.benchmark.scoring import Options, passes
from student_trainer.evaluate.contestant import Contestant
from student_trainer.evaluate.document import Evaluation
from student_trainer.evaluate.revisited import SETUPS
from student_trainer.evaluate.search.expansion import Expansion
from student_trainer.evaluate.whitening import SQUARE_ROOTED
from student_trainer.evaluate.whitening_sources import (
    FromDatabase,
    FromPairs,
    WhiteningSource,
    open_file,
    require_apart,
)
from student_trainer.progress import progress
from student_trainer.run_folder import RunFolder


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

    def refuse_any(self, instead: str = "give --dataset instead of --manifest") -> None:
        """Labelled images have none of this but asymmetric search.

        Args:
            instead: what to do, in words.

        Raises:
            InvalidInput: one of the options was given.
        """
        for wish in fields(self):
            if wish.name != "asymmetric" and getattr(self, wish.name) != wish.default:
                option = f"--{wish.name.replace('_', '-')}"
                raise InvalidInput(f"{option} is for landmark benchmarks: {instead}.")


def evaluate_benchmark(
    wishes: Wishes,
    contestants: Sequence[Contestant],
    run: RunFolder,
    scales: tuple[float, ...],
    *,
    payment: Payment = Payment(),
    device: str = "auto",
    on_begin: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Open everything that is named, buy what the teacher has to be asked for, then measure every model.

    Args:
        wishes: the options about benchmarks.
        contestants: who is measured.
        run: keeps descriptors, and what is bought.
        scales: image scales whose descriptors are combined.
        payment: for a teacher that is an API.
        device: torch device, or ``auto``.
        on_begin: called once, when everything is open and bought, and the first image is described next.

    Raises:
        InvalidInput: something is not there, or does not fit.
        StorageFailed: descriptors cannot be kept.
        TrainerError: see :func:`student_trainer.evaluate.benchmark.purchase.purchase`.
    """
    benchmark = open_named(wishes.dataset or "", wishes.root, wishes.protocol, also_known=list(LABELLED))
    options = _options(wishes, scales, benchmark.name)
    whitened = options.whitening.images if options.whitening else ()
    if whitened:
        require_images(benchmark)
        require_apart(whitened, benchmark, f"--whiten-on {wishes.whiten_on}")
    comparison = Comparison(benchmark, options, run, scales, device)
    asked = _asked(wishes, payment, comparison, contestants)
    each = len(benchmark.images) + len(benchmark.queries) + len(options.distractors) + len(whitened)
    images = each * len(contestants) + (pairs_of(run) if wishes.asymmetric else 0)
    rows = (len(benchmark.images) + len(options.distractors)) * passes(options)
    with progress("Describing", images, "images") as bar:
        compared = 0

        def on_rows(name: str, done: int) -> None:
            nonlocal compared
            compared = done if compared >= rows else compared + done
            bar.advance(0, f"{name}: compared {compared:,} of {rows:,} rows")

        watch = Watch(on_begin, on_images=lambda name, done: bar.advance(done, name), on_rows=on_rows)
        watched = replace(comparison, watch=watch)
        return watched.evaluate(contestants, asymmetric=wishes.asymmetric, asked=asked)


def _asked(
    wishes: Wishes, payment: Payment, comparison: Comparison, contestants: Sequence[Contestant]
) -> AskedTeacher | None:
    if wishes.teacher_url is None:
        return None
    comparison.require(contestants)
    options = comparison.options
    others = [*options.distractors, *(options.whitening.images if options.whitening else ())]
    access = access_to(wishes.teacher_url, payment.key)
    return ask(comparison.run, comparison.benchmark, others, access, yes=payment.yes)


def open_named(
    dataset: str,
    root: Path | None,
    protocol: str | None = None,
    option: str = "--dataset",
    also_known: Sequence[str] = (),
) -> Benchmark:
    """A public benchmark below ``root``, or one in a folder of its own.

    Args:
        dataset: a public name, or a folder with a ground truth in it (also below ``root``).
        root: the folder of data sets.
        protocol: ``revisited`` or ``old``; of the public ones, the data set of that protocol is opened.
        option: by which it was named.
        also_known: further names that the option takes, for the refusal of a mistyped one.

    Raises:
        InvalidInput: it is not there (what to download is said), not known, or of the other protocol.
    """
    if protocol is not None and protocol not in SETUPS:
        raise InvalidInput(f"--protocol {protocol!r}: choose {' or '.join(SETUPS)}.")
    name = in_protocol(dataset, protocol) if protocol is not None else dataset
    if name in benchmarks():
        if root is None:
            raise InvalidInput(f"{option} {dataset}: give the folder of data sets with --root DIR.")
        benchmark = open_benchmark(find_set(root, name))
    else:
        benchmark = open_benchmark(_own_folder(name, root, option, also_known))
    if protocol is not None and benchmark.protocol != protocol:
        raise InvalidInput(
            f"--protocol {protocol}: the ground truth of {benchmark.name} follows the {benchmark.protocol} "
            "protocol. Leave --protocol out, or name another data set."
        )
    return benchmark


def _own_folder(name: str, root: Path | None, option: str, also_known: Sequence[str]) -> Path:
    """Where a benchmark of one's own lies; a bare word that is no folder is taken for a mistyped name."""
    below = None if root is None else root / name
    if below is not None and below.exists() and name not in KNOWN:
        return below
    if name in KNOWN or (not Path(name).exists() and Path(name).name == name):
        known = [*benchmarks(), *([SFM120K] if option == "--whiten-on" else []), *also_known]
        raise not_among(option, name, known, ", or name the folder of another in their layout")
    return Path(name)


def _options(wishes: Wishes, scales: tuple[float, ...], measured: str) -> Options:
    return Options(
        whitening=_whitening(wishes, scales, measured),
        dims=wishes.whiten_dims,
        query_expansion=None if wishes.alpha_qe is None else Expansion.parse(wishes.alpha_qe, "--alpha-qe"),
        augmentation=None if wishes.dba is None else Expansion.parse(wishes.dba, "--dba"),
        distractors=() if wishes.distractors is None else tuple(find_distractors(wishes.distractors)),
        distractors_from=None if wishes.distractors is None else set_of_distractors(wishes.distractors),
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
    other = FromDatabase(open_named(wishes.whiten_on, wishes.root, option="--whiten-on"), power)
    if same_photographs(other.benchmark.name, measured):
        raise InvalidInput(
            f"--whiten-on {wishes.whiten_on}: its photographs are those that {measured} measures on. Learn "
            "the whitening on other ones, as of Paris for Oxford."
        )
    require_files(other.images, other.benchmark.name)
    return other

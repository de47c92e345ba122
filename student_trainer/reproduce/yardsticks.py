"""What a run measures on: labelled photographs, or landmark benchmarks.

In: a manifest, or the names of benchmarks and the folder that they lie in. Out: for each kind of table its
measure, for the students and for the teacher; or why there is none; and the digests of what is measured on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.known import benchmarks, find_set, not_among
from student_trainer.datasets.manifest import labelled_entries
from student_trainer.datasets.present import require_images
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import SourceImage
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.evaluate.whitening_sources import require_apart
from student_trainer.recipe import Recipe
from student_trainer.reproduce.arguments import MeasureOn
from student_trainer.reproduce.measures import PAPER_SCALES, Cost, MeasurePair
from student_trainer.reproduce.methods import Methods
from student_trainer.reproduce.on_benchmarks import OnBenchmarks, elsewhere, files_of
from student_trainer.reproduce.on_manifest import OnManifest
from student_trainer.trials.file_digests import FileDigests
from student_trainer.trials.yardsticks import Labelled

TIMED_IMAGES = 20
BENCHMARK_PX = 1024
"""Longest side at which the field measures on these benchmarks."""


@dataclass(frozen=True)
class Yardsticks:
    """What tables are measured by."""

    measures: Mapping[str, MeasurePair]
    """By what a table's ``measures`` names; a kind that cannot be measured is left out."""
    images: frozenset[str]
    """Digests of the images that are measured on."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Kind -> why it cannot be measured, where there is more to say than that nothing is there."""

    def among(self, images: Sequence[SourceImage]) -> list[SourceImage]:
        """Those that are measured on."""
        return [image for image in images if image.digest in self.images]


def yardsticks(
    wish: MeasureOn,
    recipe: Recipe,
    bought: TrainingData | None,
    files: FileDigests,
    teacher: Path | None = None,
) -> Yardsticks:
    """What each kind of table is measured by.

    Args:
        wish: what was named.
        recipe: its image size is the default on a manifest.
        bought: what a whitening, or a map into the teacher's space, may be learned from, unless some of its
            images are measured on.
        files: reads the images that are measured on.
        teacher: its checkpoint, for asymmetric search.

    Raises:
        InvalidInput: nothing is named, or both, or something that is not there.
    """
    if wish.datasets and wish.manifest is not None:
        raise InvalidInput("A run measures on one thing: give --manifest or --dataset, not both.")
    if wish.datasets:
        return _on_benchmarks(wish, recipe, files)
    if wish.manifest is None:
        raise InvalidInput(
            "There is nothing to measure on: give --manifest FILE --split NAME for labelled photographs, or "
            "--dataset roxford5k,rparis6k --root DIR."
        )
    return _on_manifest(wish, wish.manifest, recipe, bought, files=files, teacher=teacher)


def _on_manifest(
    wish: MeasureOn,
    manifest: Path,
    recipe: Recipe,
    bought: TrainingData | None,
    *,
    files: FileDigests,
    teacher: Path | None,
) -> Yardsticks:
    gallery = gallery_of(labelled_entries(manifest, wish.split))
    size_px = wish.image_size or recipe.images.longest_side_px
    teacher_px = wish.teacher_image_size or size_px
    view = recipe.images.view if wish.image_size is None else recipe.images.view.whole()
    of_teacher = view.clean() if wish.teacher_image_size is None else view.clean().whole()
    scales, device = wish.scales or (1.0,), recipe.training.device
    labelled = Labelled(gallery, manifest.name, size_px, device, scales, view=view)
    for_teacher = replace(labelled, longest_side_px=teacher_px, view=of_teacher)
    cost = Cost(gallery.paths[:TIMED_IMAGES], size_px, device, view=view)
    found = {
        "retrieval": MeasurePair(OnManifest(labelled), OnManifest(for_teacher)),
        "cost": MeasurePair(cost, replace(cost, longest_side_px=teacher_px, view=of_teacher)),
    }
    methods = Methods(labelled, for_teacher, teacher)
    alone = Yardsticks({**found, "methods": _both(methods)}, frozenset(files.of(gallery.paths)))
    if bought is None:
        return alone
    if both := alone.among(bought.images):
        why = (
            f"a whitening is learned from the bought images, and {len(both):,} of {len(bought):,} are "
            f"measured on too, the first is {both[0].path.name}"
        )
        return replace(alone, left_out={"whitened": why})
    images = bought.images
    whitened = MeasurePair(OnManifest(labelled, images), OnManifest(for_teacher, images))
    methods = replace(methods, bought=bought)
    return replace(alone, measures={**found, "whitened": whitened, "methods": _both(methods)})


def _both(methods: Methods) -> MeasurePair:
    return MeasurePair(methods, replace(methods, labelled=methods.for_teacher))


def _on_benchmarks(wish: MeasureOn, recipe: Recipe, files: FileDigests) -> Yardsticks:
    benchmarks = tuple(_benchmark(name, wish.root) for name in wish.datasets)
    size_px = wish.image_size or BENCHMARK_PX
    teacher_px = wish.teacher_image_size or size_px
    device = recipe.training.device
    for benchmark in benchmarks:
        if (other := elsewhere(benchmark, benchmarks)) is not None:
            require_apart(other.image_paths, benchmark, f"The whitening that is learned on {other.name}")
    measure = OnBenchmarks(benchmarks, size_px, wish.scales or PAPER_SCALES, device, files=files)
    for_teacher = replace(measure, longest_side_px=teacher_px)
    cost = Cost(benchmarks[0].image_paths[:TIMED_IMAGES], size_px, device)
    found = {
        "retrieval": MeasurePair(measure, for_teacher),
        "cost": MeasurePair(cost, replace(cost, longest_side_px=teacher_px)),
    }
    if all(elsewhere(benchmark, benchmarks) for benchmark in benchmarks):
        found["whitened"] = MeasurePair(replace(measure, whitened=True), replace(for_teacher, whitened=True))
    images = [path for benchmark in benchmarks for path in files_of(benchmark)]
    left_out = {"methods": "they are compared on labelled photographs: --manifest FILE"}
    return Yardsticks(found, frozenset(files.of(images)), left_out)


def _benchmark(name: str, root: Path | None) -> Benchmark:
    if name not in benchmarks():
        raise not_among("--dataset", name, benchmarks(), ", several with a comma")
    if root is None:
        raise InvalidInput(f"--dataset {name} lies in a folder of data sets: name it with --root DIR.")
    benchmark = open_benchmark(find_set(root, name))
    require_images(benchmark)
    return benchmark

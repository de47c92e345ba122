"""When does mixing help, and which part of it does harm? Variants of the mixed loss beside the plain one.

In: a run folder with bought descriptors, a labelled manifest, weights of MobileNetV2. Out: how similar
photographs and mixtures are to student and teacher, and a line for each variant, on standard output; every
training in a file of JSON lines, by which a run that was stopped continues. Only the upper modules of the
student are trained (``--trained-from``), on kept features, with the whole subset as one batch and a constant
learning rate, so that a training takes seconds and nothing but the loss differs. Each variant is compared
with ``rank`` on the same images, seed by seed.

    python -m benchmarks.studies.mixing RUN --manifest M --split test --weights W --out FILE
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.studies.mixed_labels import MixedLabels
from shared.images import Preprocessing
from shared.network import DescriptorNet
from student_trainer.datasets.manifest import read_manifest
from student_trainer.distil.backward import describe_without_graph, three_stage_backward
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData, from_transfer_set
from student_trainer.distil.frozen_layers import trained_part, with_features
from student_trainer.distil.images import digest_files, open_store
from student_trainer.distil.objectives import get
from student_trainer.distil.student import build_student, calibrate, make_trainable
from student_trainer.evaluate.gallery import Gallery, gallery_of
from student_trainer.evaluate.labelled import score
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder
from student_trainer.trials.subsets import nested_rows, sparse_rows

SIDE_PX, SIDE_MULTIPLE_PX, CHUNK = 160, 8, 64
TAU, SPARSE_AT_MOST = 0.75, 3
STEPS, LEARNING_RATE, WEIGHT_DECAY = 20, 1e-4, 1e-6
RANK = "rank"

Loss = Callable[[Tensor, Tensor, None], Tensor]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """A loss on a kind of subset."""

    name: str
    images: int
    loss: Callable[[int], Loss]
    """From a seed."""
    sparse: bool = False

    @property
    def title(self) -> str:
        """``500 sparse: rank``."""
        return f"{self.images}{' sparse' if self.sparse else ''}: {self.name}"

    @property
    def baseline(self) -> tuple[int, bool, str]:
        """What it is compared with."""
        return self.images, self.sparse, RANK


def variants() -> Iterator[Variant]:
    """The whole study."""
    for images in (150, 500):
        yield Variant(RANK, images, rank())
        for inherit in ("both", "none", "dominant"):
            for alpha in (0.2, 1.0):
                yield Variant(
                    f"labels of {inherit}, alpha {alpha:g}", images, mixed(inherit=inherit, alpha=alpha)
                )
        yield Variant("lambda for each round", images, mixed(drawn="round"))
        yield Variant("lambda for each pair", images, mixed(drawn="pair"))
        yield Variant("lambda 0.5", images, mixed(lam=0.5))
        yield Variant("lambda 0.5, labels of none", images, mixed(lam=0.5, inherit="none"))
        yield Variant("gradient through mixtures", images, mixed(through=True))
        yield Variant("only originals ask", images, mixed(queries="originals"))
        yield Variant(
            "only originals ask, labels of none", images, mixed(queries="originals", inherit="none")
        )
    for tau in (0.6, 0.65):
        yield Variant(f"rank, tau {tau:g}", 500, rank(tau=tau))
        yield Variant(f"rank-mixup, alpha 0.2, tau {tau:g}", 500, rank_mixup(alpha=0.2, tau=tau))
    for alpha in (0.1, 0.4):
        yield Variant(f"rank-mixup, alpha {alpha:g}", 500, rank_mixup(alpha=alpha))
    for bins in (25, 40):
        yield Variant(f"rank, {bins} bins on [0, 1]", 500, rank(low=0.0, bins=bins))
    yield Variant("rank-mixup, alpha 0.2, 40 bins on [0, 1]", 500, rank_mixup(alpha=0.2, low=0.0, bins=40))
    yield Variant("rank-mixup, 25 bins on [0, 1]", 500, rank_mixup(low=0.0, bins=25))
    yield Variant(RANK, 500, rank(), sparse=True)
    yield Variant("rank, tau 0.65", 500, rank(tau=0.65), sparse=True)
    for alpha in (0.2, 1.0):
        yield Variant(f"rank-mixup, alpha {alpha:g}", 500, rank_mixup(alpha=alpha), sparse=True)
    for tau in (0.75, 0.65):
        yield Variant(
            f"rank-mixup, no mixup labels, tau {tau:g}",
            500,
            rank_mixup(label_mixed=False, tau=tau),
            sparse=True,
        )
    yield Variant("rank-mixup, alpha 0.2, tau 0.65", 500, rank_mixup(alpha=0.2, tau=0.65), sparse=True)
    # The teacher's own labels alone, at a threshold that the parents of a mixture reach.
    yield Variant("rank, tau 0.65", 150, rank(tau=0.65))
    for images, sparse, tau in (
        (150, False, 0.65),
        (500, False, 0.65),
        (500, False, 0.6),
        (500, True, 0.6),
    ):
        loss = rank_mixup(label_mixed=False, tau=tau)
        yield Variant(f"rank-mixup, no mixup labels, tau {tau:g}", images, loss, sparse)
    yield Variant("rank, tau 0.6", 500, rank(tau=0.6), sparse=True)


def rank(**settings: float) -> Callable[[int], Loss]:
    """The product's ``rank``."""
    return lambda seed: get("rank")(**settings)


def rank_mixup(**settings: float) -> Callable[[int], Loss]:
    """The product's ``rank-mixup``, ten rounds."""
    return lambda seed: get("rank-mixup")(seed=seed, **settings)


def mixed(**settings: object) -> Callable[[int], Loss]:
    """A variant that the product does not have, five rounds."""
    return lambda seed: MixedLabels(seed=seed, **settings)  # type: ignore[arg-type]


class Bench:
    """What the trainings share: features of the frozen modules, of the bought images and of the test's."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.trained_from: int = arguments.trained_from
        self.steps: int = arguments.steps
        start = [f"student.weights={arguments.weights}", f"student.random_from={arguments.random_from}"]
        self.recipe = load("quick-cpu", start)
        self.bought = from_transfer_set(RunFolder.existing(arguments.run).transfer_set, partial=True)
        self.gallery: Gallery = gallery_of(read_manifest(arguments.manifest, arguments.split))
        size = Preprocessing(SIDE_PX)
        bought = open_store(folder / "bought", self.bought.images, size, side_multiple_px=SIDE_MULTIPLE_PX)
        self.pixels = bought, size
        self.start = self._student()
        tested = TrainingData(tuple(digest_files(self.gallery.paths)))
        self.learned = self._features(self.bought, folder / "bought")
        self.tested = self._features(tested, folder / "tested")

    @cached_property
    def teacher(self) -> Tensor:
        """[n, D]."""
        assert self.bought.teacher is not None
        return torch.from_numpy(self.bought.teacher)

    def before(self) -> NDArray[np.float32]:
        """What the student says of the bought images before it learns, [n, d]."""
        upper = trained_part(self._student(), self.trained_from)
        rows = np.arange(len(self.learned.store))
        return describe_without_graph(upper, lambda: self.learned.chunks(rows), len(rows)).numpy()

    def rows(self, variant: Variant, seed: int) -> list[int]:
        """Which bought images."""
        digests = [image.digest for image in self.bought.images]
        order = nested_rows(digests, seed, in_order_of_choice=False)
        if not variant.sparse:
            return order[: variant.images]
        return sparse_rows(self.teacher.numpy(), order, TAU, SPARSE_AT_MOST, variant.images)

    def train(self, variant: Variant, seed: int) -> dict[str, float]:
        """One training: mAP half way and at the end, and the loss at first and at last."""
        upper = trained_part(self._student(), self.trained_from)
        adam = torch.optim.Adam(upper.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        loss, rows = variant.loss(seed), np.array(self.rows(variant, seed))
        teacher, half = self.teacher[rows], float("nan")
        losses = []
        for step in range(self.steps):
            if hasattr(loss, "step"):
                loss.step = step
            found = three_stage_backward(
                upper, lambda: self.learned.chunks(rows), len(rows), lambda found: loss(found, teacher, None)
            )
            adam.step()
            losses.append(found.loss)
            if step + 1 == self.steps // 2:
                half = self.map_step(upper)
        return {"half": half, "end": self.map_step(upper), "first_loss": losses[0], "last_loss": losses[-1]}

    def map_step(self, network: nn.Module) -> float:
        """On the labelled images."""
        rows = np.arange(len(self.tested.store))
        found = describe_without_graph(network, lambda: self.tested.chunks(rows), len(rows)).numpy()
        gallery = self.gallery
        return score(
            found[gallery.queries],
            found[gallery.database],
            gallery.query_labels,
            gallery.database_labels,
            gallery.own_places,
        ).map_step

    def _student(self) -> DescriptorNet:
        student = build_student(self.recipe)
        if self.recipe.student.random_from:
            store, size = self.pixels
            calibrate(student, store, size, seed=0, drawn_from=self.recipe.student.drawn_from)
        make_trainable(student, freeze=True, device=CPU)
        return student

    def _features(self, data: TrainingData, folder: Path) -> BatchSource:
        size = Preprocessing(SIDE_PX)
        store = open_store(folder, data.images, size, side_multiple_px=SIDE_MULTIPLE_PX)
        source = BatchSource(store, data, size, CHUNK, CPU)
        return with_features(source, self.start, self.trained_from, folder)


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.mixing")
    parser.add_argument("run", type=Path, help="run folder with bought descriptors")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; features lie beside it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trained-from", type=int, default=14)
    parser.add_argument("--random-from", type=int, default=0, help="modules from here on start at random")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="such as '500: rank*'; repeatable"
    )
    arguments = parser.parse_args(words)
    done = _done(arguments.out)
    bench = Bench(arguments, arguments.out.with_suffix(".cache"))
    print(_spread("student before", bench.before()), _spread("teacher", bench.teacher.numpy()), sep="\n")
    patterns = arguments.only or ["*"]
    for variant in (v for v in variants() if any(fnmatchcase(v.title, pattern) for pattern in patterns)):
        for seed in range(arguments.seeds):
            key = (variant.images, variant.sparse, variant.name, seed)
            if key not in done:
                started_s = time.perf_counter()
                done[key] = bench.train(variant, seed)
                _append(arguments.out, key, done[key] | {"seconds": time.perf_counter() - started_s})
        print(_line(variant, done, arguments.seeds), flush=True)


def _spread(whose: str, units: NDArray[np.float32]) -> str:
    """How similar photographs are to each other, and to even mixtures of two others."""
    pairs = (units @ units.T)[np.triu_indices(len(units), k=1)]
    partners = np.random.default_rng(0).integers(len(units), size=len(units))
    mixed = units + units[partners]
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return (
        f"{whose}: similarity of two photographs {pairs.mean():.2f} (standard deviation {pairs.std():.2f}), "
        f"of one and an even mixture {(units @ mixed.T).mean():.2f}"
    )


Key = tuple[int, bool, str, int]


def _done(path: Path) -> dict[Key, dict[str, float]]:
    lines = path.read_text().splitlines() if path.exists() else []
    found: dict[Key, dict[str, float]] = defaultdict(dict)
    for line in map(json.loads, lines):
        found[line["images"], line["sparse"], line["name"], line["seed"]] = line
    return dict(found)


def _append(path: Path, key: Key, values: dict[str, float]) -> None:
    names = ("images", "sparse", "name", "seed")
    with path.open("a") as file:
        file.write(json.dumps(dict(zip(names, key, strict=True)) | values) + "\n")


def _line(variant: Variant, done: dict[Key, dict[str, float]], seeds: int) -> str:
    """Means over the seeds, and the differences to ``rank`` with their standard errors, in points."""
    parts = [f"{variant.title:<54}"]
    for moment in ("half", "end"):
        ours = [done[variant.images, variant.sparse, variant.name, seed][moment] for seed in range(seeds)]
        base = [done[(*variant.baseline, seed)][moment] for seed in range(seeds)]
        gain = 100 * (np.array(ours) - np.array(base))
        error = gain.std(ddof=1) / seeds**0.5 if seeds > 1 else float("nan")
        parts.append(f"{moment} {np.mean(ours):.3f} ({gain.mean():+.1f} +- {error:.1f})")
    return "  ".join(parts)


if __name__ == "__main__":
    main()

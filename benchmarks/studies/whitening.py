"""How many dimensions of a whitening do good, where it is learned from few images?

In: a network, a labelled manifest with a split to learn the whitening from and one to measure on. Out: mAP by
the power of the eigenvalues that components are divided by, and by the dimensions kept, on standard output.

    python -m benchmarks.studies.whitening NETWORK --manifest M --split test --train-split train
"""

import argparse
from pathlib import Path

from shared.allocator import keep_pages
from student_trainer.datasets.manifest import labelled_entries
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.evaluate.whitening import learn_pca
from student_trainer.trials.yardsticks import Labelled

SIDE_PX = 160
POWERS = (0.5, 0.25)
"""Laskar and Kannala's "square rooted PCA", and its square root."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.whitening")
    parser.add_argument("network", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--train-split", required=True)
    given = parser.parse_args()
    keep_pages()

    measured = gallery_of(labelled_entries(given.manifest, given.split))
    learned_from = labelled_entries(given.manifest, given.train_split)
    yardstick = Labelled(measured, given.manifest.name, SIDE_PX)
    rows = yardstick.described(given.network, measured.paths)
    others = yardstick.described(given.network, [entry.path for entry in learned_from])
    print(f"without: {yardstick.scores(rows)['mAP']:.3f}; whitened by {len(others):,} other images:\n")
    dims = [rows.shape[1] // divisor for divisor in (1, 2, 4, 10, 20, 40)]
    print("power" + "".join(f"{kept:>8,}" for kept in dims))
    for power in POWERS:
        whitened = (learn_pca(others, kept, power).apply(rows) for kept in dims)
        print(
            f"{power:>5}" + "".join(f"{yardstick.scores(one)['mAP']:>8.3f}" for one in whitened), flush=True
        )


if __name__ == "__main__":
    main()

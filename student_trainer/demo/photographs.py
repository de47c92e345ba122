"""Where the demo's photographs come from: rendered, or the user's own with labels.

In: settings. Out: a manifest with the splits ``train`` and ``test`` whose labels are disjoint.
"""

import csv
import random
from collections import Counter
from pathlib import Path

from student_trainer.acquire.sources import open_source
from student_trainer.datasets.manifest import Entry, Label
from student_trainer.demo.settings import DemoSettings
from student_trainer.errors import InvalidInput

BASICS, TRAIN, TEST = "basics", "train", "test"


def labelled_manifest(settings: DemoSettings) -> Path:
    """The manifest of the demo's photographs; rendered or divided first where that is needed.

    Raises:
        InvalidInput: the photographs carry no labels, or too few to learn from some and test on others.
    """
    if settings.rendered:
        from student_trainer.demo.scenes import render_landmarks

        scenery = settings.scenery
        return render_landmarks(
            settings.run / "landmarks",
            landmarks_basics=scenery.landmarks_basics,
            landmarks_train=scenery.landmarks_train,
            landmarks_test=scenery.landmarks_test,
            views=scenery.views,
            side_px=scenery.side_px,
            seed=settings.seed,
        )
    entries, split = _own(settings)
    if split is None:
        assert settings.manifest is not None
        return settings.manifest
    return _write(entries, split, settings.run / "photographs.csv")


def check_photographs(settings: DemoSettings) -> None:
    """Refuse photographs that a demo cannot be made of, before anything is written.

    Raises:
        InvalidInput: as :func:`labelled_manifest`; or there are fewer to buy from than queries.
    """
    if settings.rendered:
        training = settings.scenery.landmarks_train * settings.scenery.views
    else:
        entries, split = _own(settings)
        if split is None and (unlabelled := [entry.path for entry in entries if entry.label is None]):
            raise InvalidInput(
                f"{len(unlabelled):,} of {len(entries):,} images of the manifest {settings.manifest} have no "
                f"label, the first {unlabelled[0]}. The demo needs a label for each."
            )
        named = [entry.split if split is None else split.get(entry.label or "") for entry in entries]
        training = sum(name == TRAIN for name in named)
    if settings.queries > training:
        raise InvalidInput(
            f"--queries {settings.queries:,}, but there are only {training:,} training images to spend them "
            "on. Ask for fewer, or give more photographs."
        )


def _own(settings: DemoSettings) -> tuple[list[Entry], dict[Label, str] | None]:
    """The user's own photographs and the split of each label; None if their manifest names the splits."""
    source = open_source(images=settings.images, manifest=settings.manifest)
    entries = source.entries
    if several := [entry.path for entry in entries if isinstance(entry.label, tuple)]:
        raise InvalidInput(
            f"{len(several):,} of {len(entries):,} images have several labels, the first {several[0]}. The "
            "demo's teacher learns from one label for each: give a column 'label'."
        )
    if settings.manifest is not None and {TRAIN, TEST} <= {entry.split for entry in entries}:
        return entries, None
    return entries, _divide(entries, source.words, settings.seed)


def _divide(entries: list[Entry], source: str, seed: int) -> dict[Label, str]:
    """Half of the labels to learn from, the other half to test on, drawn by the seed."""
    counts = Counter(entry.label for entry in entries if entry.label is not None)
    labels = sorted(str(label) for label, count in counts.items() if count > 1)
    if len(labels) < 4:
        raise InvalidInput(
            f"The {source} has {len(labels)} labels with two images or more; the demo needs at least 4: "
            "its teacher learns from one half of them and is tested on the other. Sub-folders are labels."
        )
    random.Random(seed).shuffle(labels)  # noqa: S311 (a draw, not a secret)
    return {label: TRAIN if place % 2 == 0 else TEST for place, label in enumerate(labels)}


def _write(entries: list[Entry], split: dict[Label, str], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows(
            [str(entry.path.resolve()), entry.label, split[entry.label]]
            for entry in entries
            if entry.label in split
        )
    return path

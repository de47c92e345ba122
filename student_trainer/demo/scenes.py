"""Rendered landmarks: a small labelled set of photographs of buildings that never stood anywhere.

In: how many landmarks and views, and a seed. Out: ``images/<landmark>/<view>.jpg`` and ``manifest.csv`` with
the columns path, label, split and query. The landmarks of the splits ``basics``, ``train`` and ``test`` are
disjoint; houses, trees and cars around them are shared, so that the surroundings give nothing away.
"""

import csv
import io
import multiprocessing
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shared.whole_files import write_whole
from student_trainer.demo.scenery.buildings import STYLES, build
from student_trainer.demo.scenery.photograph import Surroundings, photograph
from student_trainer.demo.scenery.street import make_stock
from student_trainer.demo.scenery.weather import cloud_map
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.progress import progress

BASICS, TRAIN, TEST = "basics", "train", "test"
JPEG_QUALITY = (70, 92)
VIEWS_A_QUERY = 5
"""One test view in so many is a query; the others are the database."""
_SURROUNDINGS, _BUILDING, _VIEW = range(3)
"""First words of the seeds, so that no two generators draw alike."""


@dataclass(frozen=True)
class Landmark:
    """One building: which one, how it is built, and what its images are for."""

    number: int
    style: str
    split: str

    @property
    def label(self) -> str:
        """Also the name of its folder."""
        return f"{self.style}-{self.number:03d}"


def render_landmarks(
    out_dir: Path,
    *,
    landmarks_basics: int,
    landmarks_train: int,
    landmarks_test: int,
    views: int,
    side_px: int,
    seed: int,
) -> Path:
    """Render the set unless it is there, and return its manifest.

    The manifest is written last, so an interrupted rendering is never mistaken for a whole one; run again,
    it begins anew and makes the same images.

    Args:
        out_dir: the folder of the set.
        landmarks_basics: landmarks of the split ``basics``; may be 0.
        landmarks_train: others, of the split ``train``.
        landmarks_test: others again, of the split ``test``.
        views: photographs of each landmark.
        side_px: longest side of a photograph.
        seed: draws everything.

    Raises:
        InvalidInput: too few landmarks or views to train on and to test with, or images too small.
        StorageFailed: the images cannot be written.
    """
    if min(landmarks_train, landmarks_test, views) < 2 or side_px < 32:
        raise InvalidInput(
            f"{landmarks_train} + {landmarks_test} landmarks with {views} views of {side_px} px: "
            "at least 2 of each are needed, and 32 px."
        )
    manifest = out_dir / "manifest.csv"
    if manifest.is_file():
        return manifest
    landmarks = cast_landmarks({BASICS: landmarks_basics, TRAIN: landmarks_train, TEST: landmarks_test})
    try:
        _render_all(landmarks, out_dir / "images", views, side_px, seed)
        _write_manifest(landmarks, views, manifest)
    except OSError as error:
        raise StorageFailed(f"The landmarks cannot be written to {out_dir}: {error.strerror}.") from None
    return manifest


def cast_landmarks(counts: Mapping[str, int]) -> list[Landmark]:
    """So many landmarks of each split; each split goes through all styles in turn."""
    styles = list(STYLES)
    places = [(split, place) for split, count in counts.items() for place in range(count)]
    return [
        Landmark(number, styles[place % len(styles)], split) for number, (split, place) in enumerate(places)
    ]


def render_views(landmark: Landmark, folder: Path, views: int, side_px: int, seed: int) -> int:
    """Write all photographs of one landmark; returns how many."""
    surroundings = _surroundings(seed)
    building = build(np.random.default_rng([seed, _BUILDING, landmark.number]), landmark.style, 2 * side_px)
    place = folder / landmark.label
    place.mkdir(parents=True, exist_ok=True)
    for view in range(views):
        rng = np.random.default_rng([seed, _VIEW, landmark.number, view])
        picture = photograph(rng, building, surroundings, side_px)
        picture.save(place / f"{view:02d}.jpg", quality=int(rng.integers(*JPEG_QUALITY)))
    return views


def _surroundings(seed: int) -> Surroundings:
    rng = np.random.default_rng([seed, _SURROUNDINGS])
    return Surroundings(make_stock(rng), cloud_map(rng))


def _render_all(landmarks: list[Landmark], folder: Path, views: int, side_px: int, seed: int) -> None:
    """One landmark at a time in each of a few processes: drawing holds the interpreter's lock."""
    render = partial(render_views, folder=folder, views=views, side_px=side_px, seed=seed)
    with (
        ProcessPoolExecutor(
            min(os.cpu_count() or 1, len(landmarks)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_leave_interrupts_to_the_parent,
        ) as pool,
        progress("Rendering", len(landmarks) * views, "photographs") as bar,
    ):
        try:
            for done in pool.map(render, landmarks):
                bar.advance(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_manifest(landmarks: list[Landmark], views: int, path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "label", "split", "query"])
    for landmark in landmarks:
        for view in range(views):
            query = landmark.split == TEST and view % VIEWS_A_QUERY == 0
            row = (f"images/{landmark.label}/{view:02d}.jpg", landmark.label, landmark.split, int(query))
            writer.writerow(row)
    write_whole(path, text.getvalue())

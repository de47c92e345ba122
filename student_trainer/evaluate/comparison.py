"""Teacher and students side by side on one gallery, under one protocol.

In: checkpoints, a gallery, scales. Out: the evaluation document. Every model sees the same files, each
image once; what differs between models (longest side) is written into its line.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.checkpoints import load_network
from shared.extraction import describe, pick_device
from shared.images import InvalidImage, Preprocessing
from shared.network import DescriptorNet
from shared.tensor_files import CheckpointError
from shared.views import WHOLE, ImageView
from student_trainer.errors import InvalidInput
from student_trainer.evaluate import examples
from student_trainer.evaluate.bootstrap import interval
from student_trainer.evaluate.document import (
    BEFORE,
    STUDENT,
    TEACHER,
    Evaluation,
    Example,
    Hit,
    Interval,
    ModelScores,
    Ranking,
    sha256_of_file,
)
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.labelled import MEASURES, QueryScores, score_queries
from student_trainer.evaluate.protocol import Protocol
from student_trainer.evaluate.relevance import in_words


@dataclass(frozen=True)
class Contestant:
    """A model to be measured."""

    name: str
    checkpoint: Path
    longest_side_px: int
    objective: str | None = None
    images_bought: int | None = None
    view: ImageView = WHOLE
    """How it is shown images, where that is not whole at the longest side."""

    @property
    def view_words(self) -> str | None:
        """The view for people; None of whole images."""
        return None if self.view == WHOLE else self.view.words(self.longest_side_px)


@dataclass(frozen=True)
class Source:
    """Where the gallery came from: a manifest, or a folder of labelled sub-folders."""

    manifest: Path
    split: str | None = None

    @property
    def root(self) -> Path:
        """The folder to which paths in the document are relative."""
        return (self.manifest if self.manifest.is_dir() else self.manifest.parent).resolve()


@dataclass(frozen=True)
class _Measured:
    contestant: Contestant
    arch: str
    dim: int
    parameters: int
    queries: QueryScores


def compare(
    contestants: Sequence[Contestant],
    gallery: Gallery,
    source: Source,
    scales: Sequence[float] = (1.0,),
    *,
    device: str = "auto",
    on_images: Callable[[str, int], None] | None = None,
) -> Evaluation:
    """Describe the gallery with every model, score, and pick the examples.

    Args:
        contestants: at least one, names distinct.
        gallery: images with labels, all files present.
        source: named in the protocol.
        scales: image scales whose descriptors are combined.
        device: torch device, or ``auto``.
        on_images: called with (model name, images done since the last call).

    Raises:
        InvalidInput: an image or checkpoint that cannot be read, no such device, or no query with a
            relevant image.
    """
    check_device(device)
    measured = {
        contestant.name: _measure(contestant, gallery, scales, device, on_images)
        for contestant in contestants
    }
    first = next(iter(measured.values())).queries
    try:
        means = first.means()
    except ValueError as error:
        raise InvalidInput(f"{source.manifest}: {error}") from None
    return Evaluation(
        protocol=Protocol(
            manifest=source.manifest.resolve().name,
            split=source.split,
            queries=means.queries,
            queries_without_positives=means.queries_without_positives,
            database=means.database,
            leave_one_out=gallery.leave_one_out,
            scales=tuple(scales),
            several_labels=gallery.several_labels,
        ),
        models={name: _line(model, measured.get(BEFORE)) for name, model in measured.items()},
        images_root=str(source.root),
        examples=_examples(measured, gallery, source.root),
    )


def _measure(
    contestant: Contestant,
    gallery: Gallery,
    scales: Sequence[float],
    device: str,
    on_images: Callable[[str, int], None] | None,
) -> _Measured:
    network = open_network(contestant)
    try:
        descriptors = describe(
            network,
            gallery.paths,
            contestant.longest_side_px,
            scales=tuple(scales),
            device=device,
            preprocessing=Preprocessing(contestant.longest_side_px, view=contestant.view),
            on_progress=None if on_images is None else lambda done: on_images(contestant.name, done),
        )
    except (InvalidImage, OSError) as error:
        raise InvalidInput(
            f"An image of the manifest cannot be read: {error} Mend it or take it out of the manifest."
        ) from None
    queries = score_queries(
        descriptors[gallery.queries],
        descriptors[gallery.database],
        gallery.query_labels,
        gallery.database_labels,
        own_index=gallery.own_index,
    )
    return _Measured(
        contestant=contestant,
        arch=network.spec.arch,
        dim=network.dim,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        queries=queries,
    )


def open_network(contestant: Contestant) -> DescriptorNet:
    """The network of a contestant.

    Raises:
        InvalidInput: its file cannot be read.
    """
    try:
        return load_network(contestant.checkpoint)
    except CheckpointError as error:
        raise InvalidInput(f"The checkpoint of {contestant.name}: {error}") from None


def check_device(device: str) -> None:
    """Raises InvalidInput where there is no such device."""
    try:
        pick_device(device)
    except ValueError as error:
        raise InvalidInput(f"--device: {error}") from None


def _line(model: _Measured, before: _Measured | None) -> ModelScores:
    queries = model.queries
    means = {name: value for name, value in asdict(queries.means()).items() if name in MEASURES}
    gain: NDArray[np.float64] | None = None
    if before is not None and model.contestant.name not in (BEFORE, TEACHER):
        gain = (queries.map_step - before.queries.map_step)[queries.scored]
    return ModelScores(
        **means,
        intervals=_intervals(queries),
        gain_over_before=None if gain is None else float(gain.mean()),
        gain_interval=None if gain is None else interval(gain),
        arch=model.arch,
        objective=model.contestant.objective,
        images_bought=model.contestant.images_bought,
        dim=model.dim,
        parameters=model.parameters,
        file_bytes=model.contestant.checkpoint.stat().st_size,
        image_size=model.contestant.view.side_px(model.contestant.longest_side_px),
        view=model.contestant.view_words,
        checkpoint_sha256=sha256_of_file(model.contestant.checkpoint),
    )


def _intervals(queries: QueryScores) -> dict[str, Interval]:
    return {name: interval(getattr(queries, name)[queries.scored]) for name in MEASURES}


def _examples(measured: Mapping[str, _Measured], gallery: Gallery, root: Path) -> tuple[Example, ...]:
    after = measured[STUDENT] if STUDENT in measured else next(iter(measured.values()))
    before = measured[BEFORE].queries.map_step if BEFORE in measured else None
    chosen = examples.choose(
        after.queries.map_step, before, [in_words(label) for label in gallery.query_labels]
    )
    return tuple(_example(query, why, measured, gallery, root) for query, why in chosen)


def _example(
    query: int, why: str, measured: Mapping[str, _Measured], gallery: Gallery, root: Path
) -> Example:
    place = gallery.queries[query]
    relatives = int(np.count_nonzero(gallery.relevance.of(query))) - gallery.leave_one_out
    return Example(
        query=_relative(gallery.paths[place], root),
        label=in_words(gallery.labels[place]),
        why=why,
        relevant_in_database=relatives,
        rankings={name: _ranking(model.queries, query, gallery, root) for name, model in measured.items()},
    )


def _ranking(queries: QueryScores, query: int, gallery: Gallery, root: Path) -> Ranking:
    found = queries.top[query]
    relevant = gallery.relevance.of(query)[found].tolist()
    places = gallery.database[found]
    hits = (
        Hit(path=_relative(gallery.paths[place], root), relevant=is_relevant)
        for place, is_relevant in zip(places, relevant, strict=True)
    )
    return Ranking(ap_step=float(queries.map_step[query]), top=tuple(hits))


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path.absolute(), root)

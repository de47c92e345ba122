"""Teacher and students side by side on one gallery, under one protocol.

In: checkpoints, a gallery, scales. Out: the evaluation document. Every model sees the same files, each
image once; what differs between models (longest side) is written into its line.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.checkpoints import load_network
from shared.extraction import describe, pick_device
from shared.images import InvalidImage, Preprocessing
from shared.network import DescriptorNet
from shared.tensor_files import CheckpointError
from shared.vectors import Float32Rows
from shared.views import WHOLE, ImageView
from student_trainer.errors import InvalidInput
from student_trainer.evaluate import examples
from student_trainer.evaluate.asymmetric.bridge import Bridge, Crossing
from student_trainer.evaluate.asymmetric.fitness import NOT_YET, Upbringing, judge
from student_trainer.evaluate.asymmetric.mark import Mark
from student_trainer.evaluate.asymmetric.on_manifest import search
from student_trainer.evaluate.bootstrap import interval
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.document import (
    BEFORE,
    STUDENT,
    TEACHER,
    Evaluation,
    Example,
    Hit,
    Interval,
    LearnedLabels,
    ModelScores,
    Ranking,
    sha256_of_file,
)
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.labelled import MEASURES, RECALLS, QueryScores
from student_trainer.evaluate.protocol import Protocol
from student_trainer.evaluate.relevance import in_words
from student_trainer.run_folder import RunFolder

_MEASURES = {**MEASURES, **RECALLS}
_NAMED_LABELS = 3


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
    upbringing: Upbringing = field(default_factory=Upbringing)
    """How it was trained, as far as that decides whether it may ask the teacher's database."""
    learned_labels: frozenset[str] | None = None
    """Names of the labels that it learned from, where they are known."""

    @property
    def view_words(self) -> str | None:
        """The view for people; None of whole images."""
        return None if self.view == WHOLE else self.view.words(self.longest_side_px)

    def mark(self, network: DescriptorNet) -> Mark | None:
        """Whether a student, whose network this is, is fit for asymmetric search; None of the teacher."""
        if self.name == TEACHER:
            return None
        return NOT_YET if self.name == BEFORE else judge(network, self.upbringing)


@dataclass(frozen=True)
class Source:
    """Where the gallery came from: a manifest, a folder of labelled sub-folders, or that of a public set."""

    manifest: Path
    split: str | None = None
    name: str | None = None
    """Of a public set; others go by the name of the file or folder."""

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
    describer: Describer = field(repr=False)
    rows: Float32Rows = field(repr=False)
    """Of all images of the gallery."""
    mark: Mark | None
    bridge: Bridge | None = None
    """By which it asked the teacher's database."""


def compare(
    contestants: Sequence[Contestant],
    gallery: Gallery,
    source: Source,
    scales: Sequence[float] = (1.0,),
    *,
    device: str = "auto",
    asymmetric: RunFolder | None = None,
    on_images: Callable[[str, int], None] | None = None,
) -> Evaluation:
    """Describe the gallery with every model, score, and pick the examples.

    Args:
        contestants: at least one, names distinct.
        gallery: images with labels, all files present.
        source: named in the protocol.
        scales: image scales whose descriptors are combined.
        device: torch device, or ``auto``.
        asymmetric: also ask the teacher's database with the student's queries; the run folder of the student,
            with what it bought.
        on_images: called with (model name, images done since the last call).

    Raises:
        InvalidInput: an image or checkpoint that cannot be read, no such device, no query with a
            relevant image, or no way from the student to the teacher's database.
    """
    check_device(device)
    if asymmetric is not None:
        require_teacher(contestants)
    measured = {
        contestant.name: _measure(contestant, gallery, scales, device, on_images)
        for contestant in contestants
    }
    if asymmetric is not None:
        measured |= _across(measured[STUDENT], measured[TEACHER], asymmetric, gallery)
    first = next(iter(measured.values())).queries
    try:
        means = first.means()
    except ValueError as error:
        raise InvalidInput(f"{source.manifest}: {error}") from None
    return Evaluation(
        protocol=Protocol(
            manifest=source.name or source.manifest.resolve().name,
            split=source.split,
            queries=means.queries,
            queries_without_positives=means.queries_without_positives,
            database=means.database,
            leave_one_out=gallery.leave_one_out,
            scales=tuple(scales),
            measures=_MEASURES,
            several_labels=gallery.several_labels,
        ),
        models={name: _line(model, measured.get(BEFORE), gallery) for name, model in measured.items()},
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
    on_progress = None if on_images is None else partial(on_images, contestant.name)
    try:
        rows = describe(
            network,
            gallery.paths,
            contestant.longest_side_px,
            scales=tuple(scales),
            device=device,
            preprocessing=Preprocessing(contestant.longest_side_px, view=contestant.view),
            on_progress=on_progress,
        )
    except (InvalidImage, OSError) as error:
        raise InvalidInput(
            f"An image of the manifest cannot be read: {error} Mend it or take it out of the manifest."
        ) from None
    describer = Describer(network, contestant.longest_side_px, tuple(scales), device, view=contestant.view)
    if on_progress is not None:
        describer = replace(describer, on_images=on_progress)
    return _Measured(
        contestant=contestant,
        arch=network.spec.arch,
        dim=network.dim,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        queries=search(rows, rows, gallery),
        describer=describer,
        rows=rows,
        mark=contestant.mark(network),
    )


def _across(student: _Measured, teacher: _Measured, run: RunFolder, gallery: Gallery) -> dict[str, _Measured]:
    """The student's queries, brought into the teacher's space and asked of its database."""
    assert student.mark is not None
    looking = replace(student.describer, cache=run.cache)
    crossing = Crossing(
        run, looking, student.mark, student.contestant.upbringing, teacher.describer, teacher.dim
    )
    return {
        name: replace(
            student,
            contestant=replace(student.contestant, name=name),
            dim=teacher.dim,
            queries=search(bridge.apply(student.rows), teacher.rows, gallery),
            mark=None,
            bridge=bridge,
        )
        for name, bridge in crossing.bridges().items()
    }


def require_teacher(contestants: Sequence[Contestant]) -> None:
    """Raises InvalidInput where there is no teacher whose database could be asked."""
    if TEACHER not in {contestant.name for contestant in contestants}:
        raise InvalidInput("--asymmetric asks the teacher's database: give --teacher as well.")


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


def _line(model: _Measured, before: _Measured | None, gallery: Gallery) -> ModelScores:
    queries = model.queries
    means = {name: value for name, value in asdict(queries.means()).items() if name in _MEASURES}
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
        bridge=model.bridge.words if model.bridge else None,
        bridge_way=model.bridge.way if model.bridge else None,
        bridge_fit=model.bridge.fit if model.bridge else None,
        asymmetric=model.mark,
        learned_labels=_labels_met_before(model.contestant.learned_labels, gallery),
    )


def _labels_met_before(learned: frozenset[str] | None, gallery: Gallery) -> LearnedLabels | None:
    if learned is None:
        return None
    evaluated = {name for label in gallery.labels for name in ([label] if isinstance(label, str) else label)}
    shared = sorted(evaluated & learned)
    return LearnedLabels(
        learned=len(learned),
        evaluated=len(evaluated),
        shared=len(shared),
        examples=tuple(shared[:_NAMED_LABELS]),
    )


def _intervals(queries: QueryScores) -> dict[str, Interval]:
    return {name: interval(getattr(queries, name)[queries.scored]) for name in _MEASURES}


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

"""The evaluation document of labelled images: every model's line, the protocol, and examples to look at.

In: what was measured of each model. Out: an :class:`~student_trainer.evaluate.document.Evaluation`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.digest import sha256_of_file
from shared.vectors import Float32Rows
from student_trainer.distil.heads import Head
from student_trainer.distil.lineage.learned import Learned
from student_trainer.errors import InvalidInput
from student_trainer.evaluate import examples
from student_trainer.evaluate.asymmetric.bridge import Bridge
from student_trainer.evaluate.asymmetric.mark import Mark
from student_trainer.evaluate.bootstrap import interval
from student_trainer.evaluate.contestant import Contestant
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
)
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.hamming.line import HammingScores
from student_trainer.evaluate.hamming.scores import score_gallery
from student_trainer.evaluate.known_images import digests_to_compare, met_before
from student_trainer.evaluate.labelled import MEASURES, RECALLS, QueryScores
from student_trainer.evaluate.protocol import Protocol
from student_trainer.evaluate.relevance import in_words

_MEASURES = {**MEASURES, **RECALLS}
_NAMED_LABELS = 3


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
class Measured:
    """One model, and what was measured of it."""

    contestant: Contestant
    arch: str
    dim: int
    parameters: int
    multiply_adds: int | None
    queries: QueryScores
    describer: Describer = field(repr=False)
    rows: Float32Rows = field(repr=False)
    """Of all images of the gallery."""
    mark: Mark | None = None
    hash_layer: Head | None = None
    """What makes codes of the rows, where the model was trained with one."""
    bridge: Bridge | None = None
    """By which it asked the teacher's database."""


def document_of(
    measured: Mapping[str, Measured], gallery: Gallery, source: Source, scales: tuple[float, ...]
) -> Evaluation:
    """Write the lines down.

    Raises:
        InvalidInput: no query has a relevant image.
    """
    first = next(iter(measured.values())).queries
    try:
        means = first.means()
    except ValueError as error:
        raise InvalidInput(f"{source.manifest}: {error}") from None
    digests = digests_to_compare((model.contestant for model in measured.values()), gallery.paths)
    return Evaluation(
        protocol=Protocol(
            manifest=source.name or source.manifest.resolve().name,
            split=source.split,
            queries=means.queries,
            queries_without_positives=means.queries_without_positives,
            database=means.database,
            leave_one_out=gallery.leave_one_out,
            queries_with_copies=gallery.queries_with_copies,
            scales=scales,
            measures=_MEASURES,
            several_labels=gallery.several_labels,
        ),
        models={
            name: _line(model, measured.get(BEFORE), gallery, digests) for name, model in measured.items()
        },
        images_root=str(source.root),
        examples=_examples(measured, gallery, source.root),
    )


def _line(model: Measured, before: Measured | None, gallery: Gallery, digests: Sequence[str]) -> ModelScores:
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
        multiply_adds=model.multiply_adds,
        file_bytes=model.contestant.checkpoint.stat().st_size,
        image_size=model.contestant.view.side_px(model.contestant.longest_side_px),
        view=model.contestant.view_words,
        checkpoint_sha256=sha256_of_file(model.contestant.checkpoint),
        bridge=model.bridge.words if model.bridge else None,
        bridge_way=model.bridge.way if model.bridge else None,
        bridge_fit=model.bridge.fit if model.bridge else None,
        asymmetric=model.mark,
        learned_labels=_labels_met_before(model.contestant.learned_labels, gallery),
        learned_images=met_before(model.contestant, digests),
        hamming=_by_codes(model, gallery),
    )


def _by_codes(model: Measured, gallery: Gallery) -> HammingScores | None:
    if model.hash_layer is None:
        return None
    return score_gallery(model.hash_layer, model.rows, gallery, model.parameters, model.multiply_adds)


def _labels_met_before(known: Learned | None, gallery: Gallery) -> LearnedLabels | None:
    if known is None or not known.names:
        return None
    learned = known.names
    evaluated = {name for label in gallery.labels for name in ([label] if isinstance(label, str) else label)}
    shared = sorted(evaluated & learned)
    return LearnedLabels(
        learned=len(learned),
        evaluated=len(evaluated),
        shared=len(shared),
        examples=tuple(shared[:_NAMED_LABELS]),
        complete=known.complete,
    )


def _intervals(queries: QueryScores) -> dict[str, Interval]:
    return {name: interval(getattr(queries, name)[queries.scored]) for name in _MEASURES}


def _examples(measured: Mapping[str, Measured], gallery: Gallery, root: Path) -> tuple[Example, ...]:
    after = measured[STUDENT] if STUDENT in measured else next(iter(measured.values()))
    before = measured[BEFORE].queries.map_step if BEFORE in measured else None
    chosen = examples.choose(
        after.queries.map_step, before, [in_words(label) for label in gallery.query_labels]
    )
    return tuple(_example(query, why, measured, gallery, root) for query, why in chosen)


def _example(query: int, why: str, measured: Mapping[str, Measured], gallery: Gallery, root: Path) -> Example:
    place = gallery.queries[query]
    relevant = gallery.relevance.of(query)
    relatives = int(relevant.sum() - relevant[gallery.own_places[query]].sum())
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

"""The evaluation document of a landmark benchmark: every model's line, the protocol, and examples to look at.

In: what was measured of each model. Out: an :class:`~student_trainer.evaluate.document.Evaluation`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.errors import InvalidInput
from student_trainer.evaluate import examples
from student_trainer.evaluate.asymmetric.bridge import Bridge
from student_trainer.evaluate.asymmetric.mark import Mark
from student_trainer.evaluate.benchmark.scoring import Measured, Options
from student_trainer.evaluate.bootstrap import interval
from student_trainer.evaluate.document import (
    BEFORE,
    STUDENT,
    TEACHER,
    Evaluation,
    Example,
    Hit,
    LearnedImages,
    ModelScores,
    Ranking,
    SetupLine,
)
from student_trainer.evaluate.labelled import MEASURES as LINE_MEASURES
from student_trainer.evaluate.protocol import BenchmarkFacts, Headline, Protocol
from student_trainer.evaluate.ranking import Ranks
from student_trainer.evaluate.revisited import HEADLINE, MEASURES, SETUPS, positives

COMPARED: Headline = "map_trapezoid"
"""The average precision in which these benchmarks' published numbers are."""
TIES = "images of equal similarity, as computed in float32, stand in the order of the database"


@dataclass(frozen=True)
class Line:
    """One model, and what was measured of it."""

    measured: Measured
    arch: str
    dim: int
    longest_side_px: int | None
    checkpoint_sha256: str
    whitened: bool
    parameters: int | None = None
    multiply_adds: int | None = None
    """None where the model is reached through an API alone."""
    file_bytes: int | None = None
    objective: str | None = None
    images_bought: int | None = None
    bridge: Bridge | None = None
    """By which it asked the teacher's database."""
    mark: Mark | None = None
    learned_images: LearnedImages | None = None
    view: str | None = None


def document_of(
    lines: Mapping[str, Line],
    benchmark: Benchmark,
    options: Options,
    scales: tuple[float, ...],
    queries_bought: int | None = None,
) -> Evaluation:
    """Write the lines down; ``queries_bought`` where the teacher was asked through its API.

    Raises:
        InvalidInput: no query has a positive, or the whitening fitted no model.
    """
    setups, headline = SETUPS[benchmark.protocol], HEADLINE[benchmark.protocol]
    scored = next(iter(lines.values())).measured.setups[headline].scored
    if not scored.any():
        raise InvalidInput(
            f"{benchmark.name}: no query has a positive in the {setups[headline].name} setup, so there is "
            "nothing to score. Is it the right ground truth?"
        )
    facts = BenchmarkFacts(
        rules=benchmark.protocol,
        headline=headline,
        headline_name=setups[headline].name,
        setups={name: setup.name for name, setup in setups.items()},
        distractors=len(options.distractors),
        distractors_from=options.distractors_from,
        half_precision=options.half and bool(options.distractors),
        whitening=_whitening_words(options, lines),
        query_expansion=str(options.query_expansion) if options.query_expansion else None,
        augmentation=str(options.augmentation) if options.augmentation else None,
        queries_bought=queries_bought,
    )
    return Evaluation(
        protocol=Protocol(
            manifest=benchmark.name,
            split=None,
            queries=int(scored.sum()),
            queries_without_positives=int((~scored).sum()),
            database=len(benchmark.images) + len(options.distractors),
            leave_one_out=False,
            scales=scales,
            headline_measure=COMPARED,
            measures={**MEASURES, "recall_at_1": LINE_MEASURES["recall_at_1"]},
            ties=TIES,
            benchmark=facts,
        ),
        models={name: _scores(name, line, lines.get(BEFORE), headline) for name, line in lines.items()},
        images_root=str(benchmark.root.resolve()),
        examples=_examples(lines, benchmark, options, headline),
    )


def _whitening_words(options: Options, lines: Mapping[str, Line]) -> str | None:
    if options.whitening is None:
        return None
    if not any(line.whitened for line in lines.values()):
        dims = ", ".join(f"{name} {line.dim:,}" for name, line in lines.items())
        raise InvalidInput(f"The whitening ({options.whitening.words}) fits no model; dimensions: {dims}.")
    dims = f", {options.dims:,} dimensions kept" if options.dims else ""
    without = [name for name, line in lines.items() if not line.whitened]
    but = f"; not for {', '.join(without)}, whose descriptors it does not fit" if without else ""
    return f"{options.whitening.words}{dims}{but}"


def _scores(name: str, line: Line, before: Line | None, headline: str) -> ModelScores:
    found = line.measured.setups[headline]
    scored = found.scored
    values = {measure: getattr(found, measure)[scored] for measure in LINE_MEASURES}
    gain: NDArray[np.float64] | None = None
    if before is not None and name not in (BEFORE, TEACHER):
        former = before.measured.setups[headline]
        gain = (getattr(found, COMPARED) - getattr(former, COMPARED))[scored]
    return ModelScores(
        **{measure: float(scores.mean()) for measure, scores in values.items()},
        intervals={measure: interval(scores) for measure, scores in values.items()},
        gain_over_before=None if gain is None else float(gain.mean()),
        gain_interval=None if gain is None else interval(gain),
        arch=line.arch,
        objective=line.objective,
        images_bought=line.images_bought,
        dim=line.dim,
        parameters=line.parameters,
        multiply_adds=line.multiply_adds,
        file_bytes=line.file_bytes,
        image_size=line.longest_side_px,
        view=line.view,
        checkpoint_sha256=line.checkpoint_sha256,
        setups={setup: SetupLine(**scores.summary()) for setup, scores in line.measured.setups.items()},
        whitened=line.whitened,
        bridge=line.bridge.words if line.bridge else None,
        bridge_way=line.bridge.way if line.bridge else None,
        bridge_fit=line.bridge.fit if line.bridge else None,
        asymmetric=line.mark,
        learned_images=line.learned_images,
    )


def _examples(
    lines: Mapping[str, Line], benchmark: Benchmark, options: Options, headline: str
) -> tuple[Example, ...]:
    labels = [re.sub(r"[_\W]*\d+$", "", name) or name for name in benchmark.queries]
    after = (lines[STUDENT] if STUDENT in lines else next(iter(lines.values()))).measured.setups[headline]
    before = lines[BEFORE].measured.setups[headline].map_step if BEFORE in lines else None
    setup = SETUPS[benchmark.protocol][headline]
    files = [*benchmark.image_paths, *options.distractors]

    def example(query: int, why: str) -> Example:
        sought = positives(benchmark.ground_truth[query], setup)
        return Example(
            query=_relative(benchmark.query_paths[query], benchmark.root),
            label=labels[query],
            why=why,
            relevant_in_database=len(sought),
            rankings={
                name: Ranking(
                    ap_step=float(line.measured.setups[headline].map_step[query]),
                    top=_hits(line.measured.top[query], sought, files, benchmark.root),
                )
                for name, line in lines.items()
            },
        )

    return tuple(example(query, why) for query, why in examples.choose(after.map_step, before, labels))


def _hits(top: Ranks, sought: NDArray[np.int64], files: Sequence[Path], root: Path) -> tuple[Hit, ...]:
    found = set(sought.tolist())
    return tuple(Hit(path=_relative(files[index], root), relevant=index in found) for index in top.tolist())


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path.absolute(), root.resolve())

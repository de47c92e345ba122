"""Teacher and students side by side on one gallery, under one protocol.

In: checkpoints, a gallery, scales. Out: the evaluation document. Every model sees the same files, each
image once; what differs between models (longest side) is written into its line.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from shared.extraction import describe
from shared.images import InvalidImage, Preprocessing
from shared.multiply_adds import parameter_count
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.bridge import Crossing
from student_trainer.evaluate.contestant import Contestant, check_device, open_network, require_teacher_among
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.document import STUDENT, TEACHER, Evaluation
from student_trainer.evaluate.finite import require_finite
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.labelled import search
from student_trainer.evaluate.labelled_document import Measured, Source, document_of
from student_trainer.run_folder import RunFolder


def compare(
    contestants: Sequence[Contestant],
    gallery: Gallery,
    source: Source,
    scales: Sequence[float] = (1.0,),
    *,
    device: str = "auto",
    asymmetric: RunFolder | None = None,
    on_begin: Callable[[], None] = lambda: None,
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
        on_begin: called once, when everything is open and the first image is described next.
        on_images: called with (model name, images done since the last call).

    Raises:
        InvalidInput: an image or checkpoint that cannot be read, a descriptor that is not finite, no such
            device, no query with a relevant image, or no way from the student to the teacher's database.
    """
    check_device(device)
    if asymmetric is not None:
        require_teacher_among(contestants)
    for contestant in contestants:  # none is found to be unreadable after hours with the others
        contestant.hash_layer(open_network(contestant))
    on_begin()
    measured: dict[str, Measured] = {}
    for contestant in contestants:  # the teacher is the first
        teacher_dim = measured[TEACHER].dim if TEACHER in measured else None
        found = _measure(contestant, gallery, scales, device, on_images)
        mark = contestant.mark(found.describer.network, teacher_dim)
        measured[contestant.name] = replace(found, mark=mark)
    if asymmetric is not None:
        measured |= _across(measured[STUDENT], measured[TEACHER], asymmetric, gallery)
    return document_of(measured, gallery, source, tuple(scales))


def _measure(
    contestant: Contestant,
    gallery: Gallery,
    scales: Sequence[float],
    device: str,
    on_images: Callable[[str, int], None] | None,
) -> Measured:
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
    require_finite(rows, gallery.paths, contestant.name)
    describer = Describer(
        network,
        contestant.longest_side_px,
        tuple(scales),
        device,
        view=contestant.view,
        name=contestant.name,
    )
    if on_progress is not None:
        describer = replace(describer, on_images=on_progress)
    return Measured(
        contestant=contestant,
        arch=network.spec.arch,
        dim=network.dim,
        parameters=parameter_count(network),
        multiply_adds=contestant.multiply_adds(network),
        queries=search(rows, rows, gallery),
        describer=describer,
        rows=rows,
        hash_layer=contestant.hash_layer(network),
    )


def _across(student: Measured, teacher: Measured, run: RunFolder, gallery: Gallery) -> dict[str, Measured]:
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
            hash_layer=None,
            bridge=bridge,
        )
        for name, bridge in crossing.bridges().items()
    }

"""Asymmetric search on labelled images: the gallery's database by the teacher, its queries by the student.

In: a gallery, and both networks or what they said of it. Out: one score per query, and their means.
"""

from collections.abc import Sequence
from pathlib import Path

from shared.checkpoints import load_network
from shared.tensor_files import CheckpointError
from shared.vectors import Float32Rows
from student_trainer.distil.heads import read_head
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.bridge import by_head
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.labelled import QueryScores, RetrievalScores, score_queries


def search(queries: Float32Rows, database: Float32Rows, gallery: Gallery) -> QueryScores:
    """Score the gallery's queries against its database.

    Args:
        queries: float32 [n, D], unit rows of all images of the gallery, as those that ask are described.
        database: float32 [n, D], unit rows of the same images, as those that are searched are.
        gallery: n images; one that asks and is searched is left out of its own ranking.
    """
    return score_queries(
        queries[gallery.queries],
        database[gallery.database],
        gallery.query_labels,
        gallery.database_labels,
        own_index=gallery.own_index,
    )


def asymmetric_scores(
    gallery: Gallery,
    student: Path,
    teacher: Path,
    *,
    head: Path | None = None,
    longest_side_px: int,
    teacher_longest_side_px: int | None = None,
    scales: Sequence[float] = (1.0,),
    device: str = "auto",
    cache: Path | None = None,
) -> RetrievalScores:
    """What a student finds in its teacher's database, as it was trained: nothing is learned here.

    Args:
        gallery: labelled images.
        student: its checkpoint; its descriptors ask.
        teacher: its checkpoint; its descriptors are searched.
        head: ``RUN/head.safetensors``, the projection that was trained with the student; None, or a file that
            is not there, where the student's own descriptors ask.
        longest_side_px: to which images are shrunk for the student.
        teacher_longest_side_px: for the teacher; None for the student's.
        scales: image scales whose descriptors are combined.
        device: torch device, or ``auto``.
        cache: a folder that keeps descriptors, so that a teacher describes a gallery once for many students.

    Raises:
        InvalidInput: a file or an image cannot be read, or the student's dimensions, or those of its
            projection, are not the teacher's.
        StorageFailed: descriptors cannot be kept.
    """
    kept = (tuple(scales), device, cache)
    try:
        asking = Describer(load_network(student), longest_side_px, *kept)
        searched = Describer(load_network(teacher), teacher_longest_side_px or longest_side_px, *kept)
        projection = by_head(read_head(head).head) if head is not None and head.is_file() else None
    except CheckpointError as error:
        raise InvalidInput(f"Asymmetric search: {error}") from None
    dims = (asking.dim, asking.dim) if projection is None else (projection.dim, len(projection.projection))
    if dims != (asking.dim, searched.dim):
        given = "no projection" if projection is None else "the projection given"
        raise InvalidInput(
            f"Asymmetric search: the student's descriptors have {asking.dim:,} dimensions, the teacher's "
            f"{searched.dim:,}, and {given} leads from one to the other. Name the head.safetensors of the "
            "student's own training."
        )
    queries = asking.rows(gallery.paths)
    crossed = queries if projection is None else projection.apply(queries)
    try:
        return search(crossed, searched.rows(gallery.paths), gallery).means()
    except ValueError as error:
        raise InvalidInput(f"Asymmetric search: {error}") from None

"""The student that a training starts from, where it starts from one: what its own student inherits.

In: a recipe whose ``student.weights`` name a network that a recipe of ours trained, and what lies beside
that file. Out: the notes, labels and images that are handed on. Networks that no recipe of ours trained, such
as ImageNet weights, have no lineage.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from shared.checkpoints import FORMAT, CheckpointError, load_network, read_notes, weights_digest
from shared.tensor_files import is_safetensors, read_safetensors_metadata
from student_trainer.distil import objectives
from student_trainer.distil.data import from_transfer_set
from student_trainer.distil.lineage.learned import IMAGES, LABELS, Inherited, Learned, read
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.recipe import Recipe
from student_trainer.recipe_sections import IMAGENET, RANDOM
from student_trainer.run_folder import RunFolder

ANCESTOR = "ancestor"
"""Note: digest of the weights of the student that this one started from."""
WHITE_BOX = "white_box"
TRANSFER_SET = "transfer_set"
EARLIER_SETS = "earlier_transfer_sets"
"""Note: digests of the transfer sets that the student's ancestors learned from, beside its own; words."""
_REVISION = "teacher_revision"
_UNKNOWN = Inherited()
_NOTHING = Inherited(complete=True)


@dataclass(frozen=True)
class Start:
    """A student that another one starts from."""

    digest: str
    """:func:`shared.checkpoints.weights_digest`."""
    notes: Mapping[str, str]
    """Of its file."""
    labels: Inherited = field(default=_UNKNOWN)
    images: Inherited = field(default=_UNKNOWN)

    def handed_on(self, own: Mapping[str, str], images: Set[str] = frozenset()) -> dict[str, str]:
        """A student's own notes, and those that it inherits.

        Its transfer set is its own purchase; that of its start where it bought nothing itself. What beside
        that one its ancestors learned from is noted apart, unless it is a part of it: the same teacher's
        descriptors of some of the same images.

        Args:
            own: notes of the training itself.
            images: digests of its images.
        """
        earlier = [self.notes.get(TRANSFER_SET, ""), *self.notes.get(EARLIER_SETS, "").split()]
        bought = own.get(TRANSFER_SET) or earlier[0]
        if own.get(TRANSFER_SET) and self._is_part_of(own, images):
            earlier = []
        inherited = {
            ANCESTOR: self.digest,
            WHITE_BOX: self.notes.get(WHITE_BOX, ""),
            TRANSFER_SET: bought,
            _REVISION: self.notes.get(_REVISION, ""),
            EARLIER_SETS: " ".join(dict.fromkeys(one for one in earlier if one and one != bought)),
        }
        return {name: text for name, text in inherited.items() if text} | dict(own)

    def _is_part_of(self, own: Mapping[str, str], images: Set[str]) -> bool:
        same_teacher = own.get(_REVISION) == self.notes.get(_REVISION)
        return same_teacher and self.images.complete and self.images.names <= images


def start_of(recipe: Recipe) -> Start | None:
    """What the recipe's student starts from; None where that is no student that a recipe of ours trained.

    Raises:
        InvalidInput: the file cannot be read, or what lies beside it.
    """
    file = Path(recipe.student.weights)
    if recipe.student.weights in (IMAGENET, RANDOM) or not is_safetensors(file):
        return None
    try:
        if read_safetensors_metadata(file).get("format") != FORMAT:
            return None
        notes = read_notes(file)
        if "recipe" not in notes or _is_untrained(file, notes):
            return None
        digest = weights_digest(load_network(file))
    except CheckpointError as error:
        raise InvalidInput(f"student.weights: {error}") from None
    return Start(digest, notes, _labels_of(file, notes), images_of(file, notes))


def kept_start(run: RunFolder) -> Start | None:
    """What a stopped training started from, as its folder says, since the file may be gone by now.

    Raises:
        InvalidInput: what the folder says cannot be read.
    """
    try:
        notes = read_notes(run.initial_student)
    except CheckpointError as error:
        raise InvalidInput(f"{error} Train again with --restart.") from None
    if ANCESTOR not in notes:
        return None
    labels, images = read(run.learned_labels, LABELS), read(run.learned_images, IMAGES)
    return Start(notes[ANCESTOR], notes, _inherited(labels), _inherited(images))


def images_of(file: Path, notes: Mapping[str, str]) -> Inherited:
    """Digests of the images that a student in a run folder learned from: by the folder's list, or else by its
    transfer set.

    Raises:
        InvalidInput: the list cannot be read.
    """
    run = RunFolder(file.parent)
    if file.name != run.student.name:  # what lies beside it may be about another one
        return _UNKNOWN
    known = read(run.learned_images, IMAGES)
    if known is not None:
        return known.handed_on()
    if ANCESTOR in notes or TRANSFER_SET not in notes or not run.transfer_set.is_file():
        return _UNKNOWN
    try:
        bought = from_transfer_set(run.transfer_set, partial=True)
    except (InvalidInput, StorageFailed):
        return _UNKNOWN
    if bought.transfer_set_digest != notes[TRANSFER_SET]:
        return _UNKNOWN
    return Inherited(frozenset(image.digest for image in bought.images), complete=True)


def _labels_of(file: Path, notes: Mapping[str, str]) -> Inherited:
    run = RunFolder(file.parent)
    known = read(run.learned_labels, LABELS) if file.name == run.student.name else None
    if known is not None:
        return known.handed_on()
    alone = ANCESTOR not in notes and _learns_without_labels(notes.get("objective", ""))
    return _NOTHING if alone else _UNKNOWN


def _learns_without_labels(objective: str) -> bool:
    found = objectives.OBJECTIVES.get(objective)
    return found is not None and not found.facts.needs_labels


def _is_untrained(file: Path, notes: Mapping[str, str]) -> bool:
    """Of a student as it was before its first step, which has the notes of what it became."""
    return file.name == RunFolder(file.parent).initial_student.name and ANCESTOR not in notes


def _inherited(learned: Learned | None) -> Inherited:
    return _UNKNOWN if learned is None or learned.of_start is None else learned.of_start

"""A model that is to be measured: where it is, how it is shown images, how it was trained.

In: the fields below. Out: its network and what that costs, its hash layer if it has one, and its mark for
asymmetric search.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.checkpoints import load_network
from shared.extraction import pick_device
from shared.images import InvalidImage
from shared.multiply_adds import multiply_adds
from shared.network import DescriptorNet
from shared.public_networks import require_public_file
from shared.tensor_files import CheckpointError
from shared.views import WHOLE, ImageView
from student_trainer.distil.heads import Head
from student_trainer.distil.lineage.learned import Learned
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.fitness import NOT_YET, Upbringing, judge
from student_trainer.evaluate.asymmetric.mark import Mark
from student_trainer.evaluate.document import BEFORE, TEACHER
from student_trainer.evaluate.hamming.hash_layers import read_hash_layer


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
    learned_labels: Learned | None = None
    """Names of the labels that it learned from, where they are known."""
    learned_images: frozenset[str] = frozenset()
    """Digests of the images that it learned from, as far as they are known."""

    @property
    def view_words(self) -> str | None:
        """The view for people; None of whole images."""
        return None if self.view == WHOLE else self.view.words(self.longest_side_px)

    def mark(self, network: DescriptorNet, teacher_dim: int | None = None) -> Mark | None:
        """Whether a student, whose network this is, is fit for asymmetric search; None of the teacher.

        ``teacher_dim`` is that of the teacher's descriptors, where one is measured too.
        """
        if self.name == TEACHER:
            return None
        return NOT_YET if self.name == BEFORE else judge(network, self.upbringing, teacher_dim)

    def hash_layer(self, network: DescriptorNet) -> Head | None:
        """What makes codes of the descriptors of this network, where it was trained with one.

        Raises:
            InvalidInput: its file is damaged, or it was trained with another student.
        """
        if self.upbringing.in_teachers_space:  # then what lies beside it is a projection
            return None
        return read_hash_layer(self.upbringing.head, network)

    def multiply_adds(self, network: DescriptorNet) -> int | None:
        """Of one square image of the size that it is shown; None where it takes no squares of that size."""
        side_px = self.view.side_px(self.longest_side_px)
        try:
            return multiply_adds(network.spec, side_px, side_px)
        except InvalidImage:
            return None


def require_checkpoint(path: Path) -> None:
    """Refuse a teacher's checkpoint that is not there.

    Raises:
        InvalidInput: there is no file; of a published network the message says where to download it.
    """
    try:
        require_public_file(path)
    except CheckpointError as error:
        raise InvalidInput(f"The teacher's checkpoint: {error}") from None
    if not path.is_file():
        raise InvalidInput(f"There is no teacher checkpoint {path}.")


def require_teacher_among(contestants: Sequence[Contestant]) -> None:
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

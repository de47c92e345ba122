"""The teacher as a file at hand, for objectives that learn from its feature maps.

In: a checkpoint. Out: the teacher, and the digest by which a training is bound to it.

A service gives descriptors and nothing else: whoever buys them trains with a black box. What stands here
is for people who own the teacher, and is no part of what a budget or a certificate speaks of.
"""

from dataclasses import dataclass
from pathlib import Path

from shared.checkpoints import load_network, weights_digest
from shared.network import CheckpointError, DescriptorNet
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class WhiteBox:
    """A teacher that shows everything."""

    network: DescriptorNet
    digest: str
    """:func:`shared.checkpoints.weights_digest`."""

    @classmethod
    def open(cls, file: Path) -> "WhiteBox":
        """Read it.

        Raises:
            InvalidInput: there is no such file, or it holds no network.
        """
        try:
            network = load_network(file)
        except CheckpointError as error:
            raise InvalidInput(f"--teacher-checkpoint: {error}") from None
        return cls(network, weights_digest(network))

"""What descriptors are bought for, in the words that a purchase is spoken of with.

In: nothing. Out: the two purposes. A training's purchase is planned and audited; an evaluation's is all of
its images or none, and no certificate is made of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Purpose:
    """Parts of the messages to whoever buys."""

    buyer: str
    """What needs the queries."""
    held_in: str
    """Where what was bought is kept."""
    fewer: str
    """How to need fewer queries."""
    anew: str
    """How to buy with another key, or of another teacher."""
    is_audited: bool
    """Whether the audit is to certify all that the key was charged."""


TRAINING = Purpose(
    buyer="The plan",
    held_in="transfer set",
    fewer="plan fewer",
    anew="plan into another run folder",
    is_audited=True,
)
EVALUATION = Purpose(
    buyer="The evaluation",
    held_in="evaluation set",
    fewer="evaluate on fewer images",
    anew="move evaluation_set.sqlite elsewhere and pay for its images again",
    is_audited=False,
)

"""Numbers of images that a user names.

In: ``500,1000,2000``, and how many images there are. Out: the numbers, ascending, or a refusal.
"""

from student_trainer.errors import InvalidInput

SMALLEST = 10
"""Images in a set: fewer can hardly be ranked."""


def named_sizes(wish: str, available: int) -> tuple[int, ...]:
    """What ``--sizes`` says.

    Raises:
        InvalidInput: not whole numbers, one too small, or one more than there is.
    """
    try:
        sizes = sorted({int(part) for part in wish.split(",")})
    except ValueError:
        raise InvalidInput(
            f"--sizes {wish!r} is not a list of whole numbers such as 500,1000,2000."
        ) from None
    if sizes[0] < SMALLEST or sizes[-1] > available:
        raise InvalidInput(
            f"--sizes {wish}: a size must be between {SMALLEST} and the {available:,} bought images that can "
            "be learned from."
        )
    return tuple(sizes)

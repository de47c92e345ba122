"""Image scales, as they are written on a command line.

In: text. Out: factors on the shrunk image, in the order given.
"""

from student_trainer.errors import InvalidInput


def parse_scales(text: str) -> tuple[float, ...]:
    """``1,0.7071,0.5`` -> (1.0, 0.7071, 0.5).

    Raises:
        InvalidInput: not numbers, or a number outside (0, 4].
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput(f"--scales {text!r} is not a list of numbers such as 1,0.7071,0.5.") from None
    if not all(0 < scale <= 4 for scale in scales):  # also refuses NaN
        raise InvalidInput(f"--scales {text!r}: every scale must be above 0 and at most 4.")
    return scales

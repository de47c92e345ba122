"""What a network is shown of an image, where that is not the whole of it at a longest side.

In: an upright RGB image. Out: the image with its shortest side given, its middle cut out, or made worse on
purpose. Nothing here is drawn at random: it is how a network is used, and part of how images are prepared.

Two public ways to look at images meet here. Metric learning on birds and cars brings the shortest side to 256
pixels and shows the middle 224 x 224 of it (Yu et al. 2019). Cross-quality distillation shows the student
less than the teacher saw: an image that was made smaller and enlarged again, or its middle alone (Su and Maji
2017).
"""

from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias, get_args

from PIL import Image

from shared.digest import JsonValue, float_text
from shared.image_headers import InvalidImage

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""
Kind: TypeAlias = Literal["downsample", "crop"]

MOST_DOWNSAMPLING = 64.0
MOST_PIXELS = 50_000_000
"""An image of a few rows, brought to a shortest side, would become larger than memory."""
HOW_TO_DEGRADE = (
    "downsample:4 (sides divided by 4, then enlarged again) or crop:0.6 (the middle 0.6 of each side)"
)


@dataclass(frozen=True, slots=True)
class Degradation:
    """How an image is made worse. Raises ValueError for an amount out of range."""

    kind: Kind
    amount: float
    """``downsample``: what sides are divided by, above 1; ``crop``: the part of each side kept, below 1."""

    def __post_init__(self) -> None:
        least, most = (1.0, MOST_DOWNSAMPLING) if self.kind == "downsample" else (0.0, 1.0)
        end = self.amount == most and self.kind == "downsample"
        if not (least < self.amount < most or end):
            raise ValueError(
                f"{self.text()}: the number is above {least:g} and {'at most' if most > 1 else 'below'} "
                f"{most:g}, as in {HOW_TO_DEGRADE}."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """``downsample:4`` or ``crop:0.6``.

        Raises:
            ValueError: anything else.
        """
        kind, _, number = text.partition(":")
        try:
            amount = float(number)
            if kind not in get_args(Kind):
                raise ValueError
        except ValueError:
            raise ValueError(f"{text!r} is no degradation: write {HOW_TO_DEGRADE}.") from None
        return cls("downsample" if kind == "downsample" else "crop", amount)

    def text(self) -> str:
        """The inverse of :meth:`parse`."""
        return f"{self.kind}:{self.amount:g}"

    def words(self) -> str:
        """For tables and sentences."""
        if self.kind == "downsample":
            return f"down-sampled by {self.amount:g} and enlarged again"
        return f"the middle {self.amount:g} of each side alone"

    def crop_of(self, size: Size) -> Size:
        """What is left of an image of that size before it is brought to its own; at least one pixel."""
        if self.kind != "crop":
            return size
        return max(1, round(size[0] * self.amount)), max(1, round(size[1] * self.amount))


@dataclass(frozen=True, slots=True)
class ImageView:
    """How a network is shown its images. Raises ValueError for sides that do not go together."""

    shortest_side_px: int | None = None
    """Images are brought to it, enlarged too, whatever their longest side; None: the longest side rules."""
    crop_px: int | None = None
    """The middle square of so many pixels, of images with a shortest side that is given."""
    degradation: Degradation | None = None

    def __post_init__(self) -> None:
        if self.shortest_side_px is not None and self.shortest_side_px < 1:
            raise ValueError(f"shortest_side_px must be at least 1, got {self.shortest_side_px}.")
        if self.crop_px is not None and not 1 <= self.crop_px <= (self.shortest_side_px or 0):
            raise ValueError(
                f"A crop of {self.crop_px} px needs a shortest side of as many pixels or more; "
                f"it is {self.shortest_side_px or 'not given'}."
            )

    @property
    def sized(self) -> bool:
        """Whether it gives the size itself, so that no longest side is looked at."""
        return self.shortest_side_px is not None

    def side_px(self, longest_side_px: int) -> int:
        """What stands for the size of what is shown: the side of a crop, the shortest or the longest side."""
        return self.crop_px or self.shortest_side_px or longest_side_px

    def clean(self) -> "ImageView":
        """The same of images that are not made worse: what a teacher is shown."""
        return replace(self, degradation=None)

    def whole(self) -> "ImageView":
        """The same of whole images at a longest side."""
        return replace(self, shortest_side_px=None, crop_px=None)

    def description(self) -> dict[str, JsonValue]:
        """Plain JSON that names every choice."""
        return {
            "shortest_side_px": self.shortest_side_px,
            "resize": "lanczos reducing_gap=2",
            "centre_crop_px": self.crop_px,
            "degradation": None
            if self.degradation is None
            else [self.degradation.kind, float_text(self.degradation.amount)],
        }

    def words(self, longest_side_px: int) -> str:
        """``362 px``; ``shortest side 256 px, the middle 224 x 224 px``; at the end what makes it worse."""
        sized = f"shortest side {self.shortest_side_px} px" if self.sized else f"{longest_side_px} px"
        crop = [] if self.crop_px is None else [f"the middle {self.crop_px} x {self.crop_px} px"]
        worse = [] if self.degradation is None else [self.degradation.words()]
        return ", ".join([sized, *crop, *worse])


WHOLE = ImageView()
"""The whole image, at its longest side."""


def show(image: Image.Image, longest_side_px: int, view: ImageView, whole: Size | None = None) -> Image.Image:
    """The image as the view has it.

    Cut by its degradation, brought to size (Lanczos), down-sampled (Lanczos) and enlarged again (bicubic),
    and its middle cut out: in that order.

    Args:
        image: upright, RGB.
        longest_side_px: where the view gives no shortest side; images are not enlarged to it.
        view: what is shown.
        whole: the size of the image that this one is a part of; it is scaled as that one would have been.

    Raises:
        InvalidImage: it would have more than MOST_PIXELS.
    """
    scale_from = whole or image.size
    if view.degradation is not None:
        scale_from = view.degradation.crop_of(scale_from)
        image = middle(image, view.degradation.crop_of(image.size))
    image = _resized(image, _scale(scale_from, longest_side_px, view))
    if view.degradation is not None and view.degradation.kind == "downsample":
        image = _down_and_up(image, view.degradation.amount)
    return image if view.crop_px is None else middle(image, (view.crop_px, view.crop_px))


def middle(image: Image.Image, size: Size) -> Image.Image:
    """The middle of an image, at most of that size; the image itself where nothing is cut."""
    width, height = min(size[0], image.width), min(size[1], image.height)
    if (width, height) == image.size:
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _scale(size: Size, longest_side_px: int, view: ImageView) -> float:
    if view.shortest_side_px is not None:
        return view.shortest_side_px / min(size)
    return min(1.0, longest_side_px / max(size))


def _resized(image: Image.Image, scale: float) -> Image.Image:
    width, height = (max(1, round(side * scale)) for side in image.size)
    if (width, height) == image.size:
        return image
    if width * height > MOST_PIXELS:
        raise InvalidImage(
            f"The image of {image.width:,} x {image.height:,} would become {width:,} x {height:,} pixels; "
            f"at most {MOST_PIXELS:,} are made."
        )
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _down_and_up(image: Image.Image, factor: float) -> Image.Image:
    width, height = (max(1, round(side / factor)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    return small.resize(image.size, Image.Resampling.BICUBIC)

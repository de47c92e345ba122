"""An image is shown as its view says: sized by its shortest side, its middle alone, or made worse."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.extraction import load_part
from shared.image_headers import InvalidImage
from shared.images import Preprocessing, load_pixels
from shared.views import WHOLE, Degradation, ImageView, middle, show


def noise(width: int, height: int) -> Image.Image:
    """Every pixel another colour."""
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def detail(pixels: np.ndarray) -> float:
    """How much neighbours differ."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


class TestSizes:
    @pytest.mark.parametrize(("size", "expected"), [((40, 80), (24, 48)), ((20, 10), (48, 24))])
    def test_the_shortest_side_is_brought_to_its_length_and_enlarged_where_it_is_shorter(
        self, size: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        assert show(noise(*size), 1000, ImageView(24)).size == expected

    def test_the_longest_side_rules_where_no_shortest_is_given_and_nothing_is_enlarged(self) -> None:
        worse = ImageView(degradation=Degradation("downsample", 2))
        assert show(noise(80, 40), 20, worse).size == (20, 10)
        assert show(noise(8, 4), 20, worse).size == (8, 4)

    @given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 24))
    def test_a_crop_is_a_square_of_the_middle(self, width: int, height: int, side: int) -> None:
        shown = show(noise(width, height), 1000, ImageView(24, side))
        assert shown.size == (side, side)

    def test_the_middle_is_cut_as_the_public_code_cuts_it(self) -> None:
        image = noise(9, 6)
        assert np.array_equal(np.asarray(middle(image, (4, 4))), np.asarray(image)[1:5, 2:6])

    def test_an_image_of_one_row_is_refused_before_it_fills_the_memory(self) -> None:
        with pytest.raises(InvalidImage, match=r"5,000 x 1 would become 5,120,000 x 1,024 pixels"):
            show(noise(5000, 1), 64, ImageView(1024))


class TestDegradations:
    def test_downsampling_keeps_the_size_and_takes_the_detail(self) -> None:
        clean = np.asarray(show(noise(64, 48), 64, WHOLE))
        worse = np.asarray(show(noise(64, 48), 64, ImageView(degradation=Degradation("downsample", 4))))
        assert worse.shape == clean.shape
        assert detail(worse) < detail(clean) / 4

    def test_a_crop_of_the_scene_is_brought_to_the_size_of_the_whole(self) -> None:
        view = ImageView(degradation=Degradation("crop", 0.5))
        cut = noise(80, 40).crop((20, 10, 60, 30))
        assert np.array_equal(np.asarray(show(noise(80, 40), 20, view)), np.asarray(show(cut, 20, WHOLE)))

    def test_a_part_of_an_image_is_scaled_as_the_whole_would_have_been(self) -> None:
        part = noise(80, 40).crop((0, 0, 20, 20))
        assert show(part, 40, ImageView(degradation=Degradation("downsample", 2)), (80, 40)).size == (10, 10)
        assert show(part, 40, ImageView(20), (80, 40)).size == (10, 10)

    @pytest.mark.parametrize("text", ["downsample:4", "downsample:1.5", "crop:0.6"])
    def test_what_is_written_is_read_again(self, text: str) -> None:
        assert Degradation.parse(text).text() == text

    @pytest.mark.parametrize("text", ["downsample", "blur:3", "crop:", "", "downsample:four"])
    def test_a_word_that_is_no_degradation_is_answered_with_those_that_are(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"no degradation: write downsample:4 .* or crop:0\.6"):
            Degradation.parse(text)

    @pytest.mark.parametrize("text", ["downsample:1", "downsample:65", "downsample:nan", "crop:1", "crop:0"])
    def test_an_amount_out_of_range_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"the number is above"):
            Degradation.parse(text)


class TestPreprocessing:
    def test_the_whole_image_is_described_as_it_was_before_there_were_views(self) -> None:
        assert "view" not in Preprocessing(64).description()

    def test_every_choice_of_a_view_changes_the_description(self) -> None:
        views = [
            WHOLE,
            ImageView(32),
            ImageView(32, 24),
            ImageView(32, degradation=Degradation("downsample", 2)),
            ImageView(32, degradation=Degradation("crop", 0.5)),
        ]
        described = [str(Preprocessing(64, view=view).description()) for view in views]
        assert len(set(described)) == len(views)

    def test_pixels_are_loaded_as_the_view_has_them(self, tmp_path: Path) -> None:
        noise(30, 60).save(tmp_path / "a.png")
        pixels = load_pixels(tmp_path / "a.png", Preprocessing(64, view=ImageView(16, 12)))
        assert pixels.shape == (12, 12, 3)

    def test_a_box_of_a_whole_image_is_shown_as_the_image(self) -> None:
        data = io.BytesIO()
        noise(60, 30).save(data, "PNG")
        prepared = Preprocessing(64, view=ImageView(16, degradation=Degradation("crop", 0.7)))
        boxed = load_part(data.getvalue(), (0, 0, 60, 30), prepared)
        assert np.array_equal(boxed, load_pixels(data.getvalue(), prepared))


def test_a_crop_larger_than_the_shortest_side_is_refused() -> None:
    with pytest.raises(ValueError, match=r"A crop of 32 px needs a shortest side .* it is 24"):
        ImageView(24, 32)
    with pytest.raises(ValueError, match=r"it is not given"):
        ImageView(None, 32)


def test_a_shortest_side_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ImageView(0)


def test_a_view_is_put_into_words() -> None:
    assert WHOLE.words(362) == "362 px"
    view = ImageView(256, 224, Degradation("downsample", 4))
    assert view.words(362) == (
        "shortest side 256 px, the middle 224 x 224 px, down-sampled by 4 and enlarged again"
    )
    assert view.clean() == ImageView(256, 224)
    assert view.whole() == ImageView(degradation=Degradation("downsample", 4))
    assert [one.side_px(362) for one in (WHOLE, ImageView(256), view)] == [362, 256, 224]

"""The figure of quality against queries: what it shows, and that it repeats."""

import io
from xml.etree import ElementTree

from made_curves import curve_of
from PIL import Image

from student_trainer.curve.figure import quality_curve, quality_picture

CURVE = curve_of({50: [0.2, 0.25], 100: [0.3, 0.31], 200: [0.35, 0.36]})


def texts(svg: str) -> set[str]:
    return {element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag == "text"}


def test_quality_is_drawn_at_every_size_beside_the_student_before():
    svg = quality_curve(CURVE)
    assert {"50", "100", "200", "overlap@10", "student before 0.300"} <= texts(svg)
    assert "100 queries 0.305" in ElementTree.fromstring(svg).find("title").text
    assert quality_curve(CURVE) == svg


def test_one_size_and_one_seed_are_drawn_too():
    assert "student before" not in quality_curve(curve_of({50: [0.2]}, before=None))


def test_the_picture_of_quality_is_a_repeatable_png():
    picture = quality_picture(CURVE)
    assert picture == quality_picture(CURVE)
    assert Image.open(io.BytesIO(picture)).size == (1000, 640)

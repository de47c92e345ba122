"""Figures: repeatable, small, coloured by the page, and safe with any name."""

import re
from xml.etree import ElementTree

import pytest
from made_curves import curve_of

from student_trainer.curve.figure import quality_curve
from student_trainer.distil.log.reading import Step, Watched
from student_trainer.evaluate.document import ModelScores
from student_trainer.publish.figures import score_chart, training_curve, validation_curve

MATPLOTLIB_COLOURS = re.compile(r"#[0-9a-f]{6}")


def steps(count: int) -> list[Step]:
    return [Step(number, 1.0 / number, 0.1) for number in range(1, count + 1)]


def scores(value: float, low: float = 0.1, high: float = 0.9) -> ModelScores:
    measures = ("map_step", "map_trapezoid", "mp_at_10", "recall_at_1")
    return ModelScores(
        **dict.fromkeys(measures, value), intervals=dict.fromkeys(measures, (low, high)), arch="a", dim=4,
        parameters=10, file_bytes=40, image_size=48, checkpoint_sha256="ab" * 32,
    )  # fmt: skip


WATCHED = [Watched(step, 400, 0.4 + step / 100, 0.5 if step else None) for step in range(0, 30, 3)]
CURVE = curve_of({50: [0.2, 0.25], 100: [0.3, 0.31], 200: [0.35, 0.36]})


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag == "text"]


def test_the_same_numbers_give_the_same_bytes():
    assert training_curve(steps(50)) == training_curve(steps(50))
    assert score_chart({"a": scores(0.5)}) == score_chart({"a": scores(0.5)})


def test_a_user_s_own_matplotlib_settings_change_nothing(monkeypatch):
    import matplotlib as mpl

    plain = training_curve(steps(50))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert training_curve(steps(50)) == plain
        assert mpl.rcParams["font.size"] == 30


def test_a_long_training_makes_no_large_figure():
    assert len(training_curve(steps(100_000))) < 20_000
    assert "100,000 steps" in training_curve(steps(100_000))


@pytest.mark.parametrize(
    "figure",
    [
        training_curve(steps(30)),
        score_chart({"a": scores(0.5), "b": scores(0.6)}),
        quality_curve(CURVE),
        validation_curve(WATCHED),
    ],
)
def test_a_figure_is_one_wellformed_element_that_takes_the_page_s_colours(figure):
    root = ElementTree.fromstring(figure)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.find("title") is not None
    assert "currentColor" in figure
    assert "var(--accent)" in figure
    assert not MATPLOTLIB_COLOURS.search(re.sub(r'(href="#|url\(#)[^")]*', "", figure))
    assert "<style" not in figure
    assert "http" not in figure


@pytest.mark.parametrize("other", [score_chart({"a": scores(0.5)}), quality_curve(CURVE)])
def test_two_figures_on_one_page_share_no_identifier(other):
    both = [training_curve(steps(30)), other]
    first, second = (set(re.findall(r'id="([^"]*)"', figure)) for figure in both)
    assert first
    assert not first & second
    for figure, known in zip(both, (first, second), strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', figure)) <= known


def test_every_model_stands_in_the_chart_with_its_score_first_on_top():
    svg = score_chart({"teacher": scores(0.71), "student": scores(0.62)})
    assert "teacher 0.710; student 0.620" in svg
    assert {"0.710", "0.620", "teacher", "student"} <= set(texts(svg))
    height = {element.text: float(element.get("y")) for element in ElementTree.fromstring(svg).iter("text")}
    assert height["teacher"] < height["student"]


@pytest.mark.parametrize(
    "name", ["</svg><script>alert(1)</script>", "$x^2$", 'a "b" & c', "lr-0.00012345 #010101"]
)
def test_any_name_is_shown_as_it_is_and_is_no_markup(name):
    svg = score_chart({name: scores(0.5)})
    assert "<script" not in svg
    shown = name if len(name) <= 24 else name[:23] + "…"
    assert shown in texts(svg)
    assert f"{name} 0.500" in ElementTree.fromstring(svg).find("title").text


def test_an_interval_that_lies_beside_the_mean_is_drawn_and_not_refused():
    assert "0.500" in score_chart({"a": scores(0.5, low=0.6, high=0.7)})


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one step"):
        training_curve([])
    with pytest.raises(ValueError, match="at least one measurement"):
        validation_curve([])
    with pytest.raises(ValueError, match="at least one model"):
        score_chart({})

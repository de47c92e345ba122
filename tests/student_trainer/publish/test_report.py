"""``student-trainer report``: complete, incomplete, tampered with, and hostile run folders."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer
from full_disk import disk_full_at
from made_curves import curve_of
from PIL import Image
from typer.testing import CliRunner

from shared.checkpoints import load_network, save_network
from student_trainer.acquire.records import EarlierChoice, PlanFacts
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, StorageFailed, VerificationFailed
from student_trainer.evaluate.asymmetric.mark import PROJECTION, Mark
from student_trainer.evaluate.document import STUDENT, LearnedImages, read_evaluation
from student_trainer.evaluate.provenance import held
from student_trainer.publish.commands import report
from student_trainer.publish.facts import gather
from student_trainer.publish.thumbnails import Thumbnails
from student_trainer.publish.wording import spent
from student_trainer.run_folder import RunFolder

app = typer.Typer()
app.command()(report)

VOID = {"meta", "img", "br", "path", "rect", "use"}
LOADING = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href", "formaction"}


class Page(HTMLParser):
    """A page taken apart: its tags, its text, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def call(run: RunFolder, *more: str) -> str:
    outcome = CliRunner().invoke(app, ["--run", str(run.root), *more], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def page_of(run: RunFolder) -> Page:
    call(run)
    return Page(run.report.read_text())


def test_a_finished_run_gives_a_page_and_a_card_with_its_numbers(run):
    printed = call(run)
    page, card = Page(run.report.read_text()), run.model_card.read_text()
    assert "Not on this page yet" not in page.text
    models = read_evaluation(run.evaluation).models
    for text in (page.text, card, printed):
        assert "With 4 queries, a student of" in text
        assert f"reaches mAP (step) {models['student'].map_step:.3f}" in text
    for model in models.values():
        for value in (model.map_step, model.map_trapezoid, model.mp_at_10, model.recall_at_1):
            assert f"{value:.3f}" in page.text
            assert f"{value:.3f}" in card
    assert "4 of 10 queries spent by key k1" in page.text
    assert "4 of 10 queries spent by key k1" in card


def test_whether_a_student_may_ask_its_teachers_database_stands_on_page_and_card(run):
    text = page_of(run).text
    assert "student before is unfit for asymmetric search: it has not learned from the teacher yet." in text
    card = run.model_card.read_text()
    assert (
        "are not comparable with each other: its run folder does not say what it was trained with.\n- It"
        in card
    )
    evaluation = read_evaluation(run.evaluation)
    fit = Mark(fit=True, way=PROJECTION, why="asym-triplet trained it with a projection")
    student = evaluation.models[STUDENT].model_copy(update={"asymmetric": fit})
    evaluation.model_copy(update={"models": {**evaluation.models, STUDENT: student}}).write(run.evaluation)
    assert "student is fit for asymmetric search by its projection: asym-triplet" in page_of(run).text
    card = run.model_card.read_text()
    assert "Its queries can be asked of its teacher's database, by its projection: asym-triplet" in card
    assert "not comparable" not in card


def test_a_curve_stands_on_the_page_with_its_sentence(run):
    curve = curve_of({50: [0.2, 0.25], 100: [0.3, 0.31]})
    curve = curve.model_copy(update={"transfer_set": held(run.transfer_set).digest})
    curve.write(run.curve_document)
    page = page_of(run)
    assert not page.open
    assert len([svg for svg in page.all("svg") if svg.get("class") == "figure"]) == 3
    assert curve.verdict.sentence in page.text
    assert "Not on this page yet" not in page.text


def test_a_curve_of_other_descriptors_is_said_to_be_older(run):
    curve_of({50: [0.2, 0.25], 100: [0.3, 0.31]}).write(run.curve_document)
    assert (
        "A curve of the present descriptors (the one below was drawn before others were" in page_of(run).text
    )


def test_how_the_images_were_chosen_is_told_in_full(run):
    facts = PlanFacts(
        "k-center", 2, "folder /private/x", "a network", True, (EarlierChoice("random", 3, "", 4),)
    )
    with TransferSet.open(run.transfer_set) as transfer_set:
        transfer_set.replan(facts, [], transfer_set.chosen())
    words = (
        "chosen by random, seed 3 (4 images); then k-center by a network, seed 2; near-duplicates left out"
    )
    assert words in page_of(run).text
    assert words in run.model_card.read_text()


def test_the_page_is_well_formed_and_loads_nothing(run):
    page = page_of(run)
    assert not page.open
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    for _, attributes in page.tags:
        for name in LOADING & attributes.keys():
            assert attributes[name].startswith(("data:image/jpeg;base64,", "#")), attributes
    policy = next(tag["content"] for tag in page.all("meta") if tag.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    html = run.report.read_text()
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"@import|url\((?!#)", html)


def test_names_that_try_to_be_markup_stay_text(run):
    page = page_of(run)
    assert not page.all("b")
    assert "<script>alert(1)</script>" in page.text
    assert "</svg><script>$x$" in page.text
    assert "Distillation report · run & <b>bold" in page.text
    assert any("view 0 & <b>.png" in image["alt"] for image in page.all("img"))


def test_names_that_try_to_be_markup_stay_text_in_the_card(run):
    call(run)
    card = run.model_card.read_text()
    assert "<script>" not in card.replace("\\<", "")
    assert r"\</svg\>\<script\>\$x\$" in card
    rows = [line for line in card.splitlines() if re.match(r"\| (teacher|.*\\<script)", line)]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {10}


def test_the_page_can_be_read_without_eyes_and_without_colour(run):
    page = page_of(run)
    assert page.all("html")[0]["lang"] == "en"
    assert all(image.get("alt") for image in page.all("img"))
    assert all(header.get("scope") for header in page.all("th"))
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert all(figure.get("role") == "img" for figure in page.all("svg"))
    evaluation = read_evaluation(run.evaluation)
    hits = [
        hit for example in evaluation.examples for ranking in example.rankings.values() for hit in ranking.top
    ]
    spoken = [text.strip() for text in page.texts if text.strip() in {"right", "wrong"}]
    assert spoken == ["right" if hit.relevant else "wrong" for hit in hits]
    marks = "".join(text for text in page.texts if text in {"✓", "✗"})
    assert marks[2:] == "".join("✓" if hit.relevant else "✗" for hit in hits)


@pytest.mark.parametrize(
    ("several", "key"),
    [
        (False, ["the same label as the query", "another label"]),
        (True, ["a label in common with the query", "none"]),
    ],
)
def test_the_key_to_the_frames_says_what_is_relevant(run, several, key):
    evaluation = read_evaluation(run.evaluation)
    protocol = evaluation.protocol.model_copy(update={"several_labels": several})
    evaluation.model_copy(update={"protocol": protocol}).write(run.evaluation)
    text = " ".join(page_of(run).text.split())
    assert f"solid frame: {key[0]}." in text
    assert f"dashed frame: {key[1]}." in text


def test_every_labelled_reference_points_at_something(run):
    page = page_of(run)
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    referred = {
        attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes
    }
    assert referred <= set(identifiers)


def test_the_strips_show_the_photographs_as_small_pictures_without_metadata(run):
    page = page_of(run)
    sources = [image["src"] for image in page.all("img")]
    with Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2]))) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert max(thumbnail.size) <= 120
        assert not thumbnail.getexif()
    evaluation = read_evaluation(run.evaluation)
    rankings = [ranking for example in evaluation.examples for ranking in example.rankings.values()]
    assert len(sources) == len(evaluation.examples) + sum(len(ranking.top) for ranking in rankings)
    assert "Chosen by rule, not by hand: the 3 queries whose step AP" in page.text


def test_a_photograph_that_is_gone_leaves_a_note_in_its_place(run, tmp_path):
    document = json.loads(run.evaluation.read_text())
    document["images_root"] = str(tmp_path / "moved away")
    run.evaluation.write_text(json.dumps(document))
    page = page_of(run)
    assert not page.all("img")
    assert "image not found" in page.text


def test_making_the_report_twice_gives_the_same_bytes(run):
    call(run)
    first = run.report.read_bytes(), run.model_card.read_bytes()
    call(run)
    assert (run.report.read_bytes(), run.model_card.read_bytes()) == first


def test_neither_file_carries_private_folders(run):
    call(run)
    for text in (run.report.read_text(), run.model_card.read_text()):
        assert "/private" not in text
        assert "holiday" in text
        assert read_evaluation(run.evaluation).images_root not in text


def test_a_certificate_that_holds_is_said_to_be_verified_and_how_far(run):
    page = page_of(run)
    assert "Verified while this page was made." in page.text
    assert "the one that the service showed when they were fetched" in page.text
    assert "the student's file names the same descriptors" in page.text
    assert "student-trainer verify certificate.json --public-key KEY" in page.text


@pytest.mark.parametrize(
    ("claim", "value"),
    [("queries_charged", 3), ("budget", 4000), ("images", 5), ("statement", "all is well")],
)
def test_a_changed_claim_is_shown_and_the_command_fails_after_writing(run, claim, value):
    document = json.loads(run.certificate.read_text())
    document[claim] = value
    run.certificate.write_text(json.dumps(document))
    with pytest.raises(VerificationFailed, match=f"does not hold: It claims {claim}"):
        call(run)
    page, card = Page(run.report.read_text()), run.model_card.read_text()
    assert "The certificate does not hold." in page.text
    assert "Verified while this page was made" not in page.text
    assert "no number of queries is stated here" in card
    for text in (page.text, card):
        assert "With 4 queries" not in text
    assert "box good" not in run.report.read_text()


def test_a_budget_by_the_day_is_told_as_such(run, certified_by):
    certified_by(run, window="day")
    page, card = page_of(run), run.model_card.read_text()
    for text in (page.text, card):
        assert "4 queries spent by key k1 (budget 10/day) for 4 distinct images" in text
    assert "no more than 10 in any day (UTC)" in page.text
    assert "of a budget of" not in page.text


def test_a_file_that_is_no_certificate_is_shown_as_such(run):
    run.certificate.write_text("{}")
    with pytest.raises(VerificationFailed, match="Not a certificate"):
        call(run)
    assert "Not a certificate" in Page(run.report.read_text()).text


def test_a_sound_certificate_of_other_descriptors_does_not_count(run, certified_by):
    certified_by(run, vectors=np.roll(np.eye(4, dtype=np.float32), 1, axis=0))
    with pytest.raises(VerificationFailed, match="other descriptors than those in this run folder"):
        call(run)


def test_a_sound_certificate_of_another_service_does_not_count(run, certified_by):
    certified_by(run, other_service=True)
    with pytest.raises(VerificationFailed, match="while these descriptors were fetched the service showed"):
        call(run)


def test_a_student_that_names_other_descriptors_does_not_count(run):
    save_network(load_network(run.student), run.student, {"transfer_set": "12" * 32})
    with pytest.raises(VerificationFailed, match="learned from other descriptors \\(121212121212"):
        call(run)


def test_images_that_were_learned_from_and_the_start_are_told_on_page_and_card(run):
    evaluation = read_evaluation(run.evaluation)
    counted = LearnedImages(learned=9, measured=5, shared=2)
    student = evaluation.models[STUDENT].model_copy(update={"learned_images": counted})
    evaluation = evaluation.model_copy(update={"models": evaluation.models | {STUDENT: student}})
    evaluation.write(run.evaluation)
    told = "2 of the 5 images that it is measured on were learned from"
    assert f"student: {told}" in page_of(run).text
    assert f"Of this student, {told}" in run.model_card.read_text()
    assert "started from another student" not in run.model_card.read_text()
    save_network(
        load_network(run.student),
        run.student,
        {"transfer_set": held(run.transfer_set).digest, "ancestor": "34" * 32},
    )
    call(run)
    assert "started from another student (weights `343434343434`)" in run.model_card.read_text()


def test_a_certificate_that_does_not_speak_of_an_earlier_purchase_does_not_count(run):
    notes = {"transfer_set": held(run.transfer_set).digest, "earlier_transfer_sets": "12" * 32}
    save_network(load_network(run.student), run.student, notes)
    with pytest.raises(VerificationFailed, match=r"started from one that learned from other .*121212121212"):
        call(run)
    run.certificate.unlink()
    facts = gather(run)
    assert facts.bought_before
    assert spent(facts) == ""


def test_a_certificate_can_stand_without_the_transfer_set(run):
    run.transfer_set.unlink()
    page = page_of(run)
    assert "Verified while this page was made." in page.text
    assert "exactly the descriptors in this run folder" not in page.text
    assert "With 4 queries" in page.text


def test_an_empty_run_folder_says_what_to_run_next(tmp_path):
    run = RunFolder.create(tmp_path / "new")
    page = page_of(run)
    assert "This run has only begun." in page.text
    for verb in ("plan", "train", "evaluate", "audit"):
        assert f"student-trainer {verb} --run {run.root}" in page.text
    card = run.model_card.read_text()
    assert "It is not trained yet." in card
    assert "Not audited." in card


def test_a_run_that_has_only_bought_says_how_much_and_that_it_is_not_audited(run):
    for path in (run.student, run.initial_student, run.recipe, run.metrics, run.evaluation, run.certificate):
        path.unlink()
    page = page_of(run)
    assert "4 bought descriptors so far; no student is trained yet." in page.text
    assert "holds 4 bought descriptors; this is not audited" in page.text


def test_a_student_without_scores_says_so(run):
    run.evaluation.unlink()
    page = page_of(run)
    assert "This student was distilled with 4 queries; its retrieval is not measured yet." in page.text
    assert f"student-trainer evaluate --run {run.root}" in page.text
    assert page.all("svg")


def test_a_student_that_learned_from_labels_is_not_sent_to_buy_or_audit(run):
    save_network(load_network(run.student), run.student)
    for path in (run.transfer_set, run.certificate, run.evaluation):
        path.unlink()
    page = page_of(run)
    assert "student-trainer plan" not in page.text
    assert "student-trainer audit --run" not in page.text
    card = run.model_card.read_text()
    assert "It learned from labelled images, not from a teacher" in card
    assert "imitates" not in card


def test_scores_of_an_older_student_are_called_so(run):
    save_network(load_network(run.initial_student), run.student, {"transfer_set": "x"})
    shutil.copy(run.initial_student, run.student)
    assert "Scores of the present student (those below are of an older file)" in page_of(run).text


def test_a_training_log_that_was_cut_off_is_drawn_as_far_as_it_goes(run):
    assert run.metrics.read_text().endswith('"st')
    assert "Training loss, 30 steps in 8 s." in page_of(run).text


def test_how_a_threshold_was_chosen_stands_below_the_recipe(run):
    assert "because of <these> images" not in page_of(run).text
    chosen = {"event": "threshold", "step": 0, "tau": 0.7, "chosen": "tau = 0.7, because of <these> images."}
    run.metrics.write_text(json.dumps(chosen) + "\n" + run.metrics.read_text())
    assert "tau = 0.7, because of <these> images." in page_of(run).text


def test_what_was_watched_stands_beside_the_loss_with_the_final_weights(run):
    assert "held back from training" not in page_of(run).text
    figures = len(page_of(run).all("svg"))
    measured = {"step": 30, "images": 1400, "overlap@10": 0.4321, "AP": 0.5678, "tau": 0.75}
    lines = [{"event": "validation", "epoch": 1, **measured}, {"event": "student", **measured}]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + run.metrics.read_text())
    page = page_of(run)
    assert len(page.all("svg")) == figures + 1
    assert "Ranking 1,400 bought images that were held back from training" in page.text
    assert "The final weights: overlap@10 0.432, AP 0.568." in page.text


def test_a_run_without_steps_has_no_curve(run):
    run.metrics.write_text("not json\n[]\n{}\n")
    assert len(page_of(run).all("svg")) == 1


def test_the_recipe_is_shown_whole_without_the_folder_of_a_weights_file(run):
    run.recipe.write_text('[student]\nweights = "/home/somebody/net.safetensors"\n[training]\nepochs = 30\n')
    page = page_of(run)
    assert "net.safetensors" in page.text
    assert "somebody" not in page.text
    assert "training.epochs" in page.text


def test_json_names_the_files_the_headline_and_what_is_missing(run):
    run.certificate.unlink()
    result = json.loads(call(run, "--json"))
    assert Path(result["report"]).is_file()
    assert Path(result["model_card"]).is_file()
    assert result["headline"].startswith("With 4 bought descriptors")
    assert [part["what"] for part in result["missing"]] == ["The budget certificate"]
    assert result["certificate"] is None


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no run folder"):
        call(RunFolder(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["evaluation", "recipe"])
def test_a_part_that_cannot_be_understood_is_named_and_nothing_is_written(run, name):
    getattr(run, name).write_text("][")
    with pytest.raises(InvalidInput, match=str(getattr(run, name).name)):
        call(run)
    assert not run.report.exists()


def test_a_page_that_cannot_be_written_leaves_the_older_one(run):
    call(run)
    older = run.report.read_bytes()
    files = set(run.root.rglob("*"))
    with disk_full_at(1_000), pytest.raises(StorageFailed, match="older file, if any, is unchanged"):
        call(run)
    assert run.report.read_bytes() == older
    assert set(run.root.rglob("*")) == files


def test_a_photograph_is_read_once_however_often_it_stands_on_the_page(tmp_path):
    Image.new("RGB", (300, 200), "navy").save(tmp_path / "a.png")
    thumbnails = Thumbnails(tmp_path)
    first = thumbnails.uri("a.png")
    (tmp_path / "a.png").unlink()
    assert first is not None
    assert thumbnails.uri("a.png") is first
    assert thumbnails.uri("b.png") is None


def test_a_broken_photograph_has_no_thumbnail(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff no")
    assert Thumbnails(tmp_path).uri("a.jpg") is None

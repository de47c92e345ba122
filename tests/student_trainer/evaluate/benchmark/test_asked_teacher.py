"""A teacher behind its API, measured through the real service: the price, the purchase, the same scores."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import running_service
from made_benchmark_runs import SIDE_PX, app, call, make_run, teacher_of
from made_benchmarks import BOX, make_revisited, write_view
from PIL import Image
from running_service import Running
from typer.testing import CliRunner

from shared.checkpoints import load_network
from shared.extraction import describe, load_part
from shared.images import Preprocessing, decode
from student_trainer.acquire import session
from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.errors import BudgetTooSmall, Interrupted, InvalidInput, RevisionChanged, ServiceRefused
from student_trainer.evaluate.benchmark import purchase as purchasing
from student_trainer.evaluate.benchmark.asked_teacher import ask
from student_trainer.evaluate.document import ASYMMETRIC, STUDENT, TEACHER, read_evaluation
from student_trainer.evaluate.table import as_text
from student_trainer.publish.card import build_card
from student_trainer.publish.facts import gather
from student_trainer.publish.report import build_page
from student_trainer.run_folder import RunFolder

SIGHTS = 3
IMAGES = 5 * SIGHTS
"""Four database images a sight, and its query's box."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_revisited(root, "roxford5k", sights=SIGHTS, seed=1)
    make_revisited(root, "rparis6k", sights=SIGHTS, seed=2)
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs") / "made", open_benchmark(data / "roxford5k").image_paths)


@pytest.fixture
def run(made: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(made.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture(scope="module")
def service(made: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The teacher that :func:`make_run` made, as a service."""
    running, stop = running_service.start(
        {
            "checkpoint": teacher_of(made), "image_size": SIDE_PX, "port": 0, "decode_threads": 1,
            "data_dir": tmp_path_factory.mktemp("service"),
        }
    )  # fmt: skip
    yield running
    stop()


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)


def asked(run: RunFolder, data: Path, service: Running, key: str, *more: object) -> tuple[object, ...]:
    return (
        "--run", run.root, "--dataset", "roxford5k", "--root", data, "--teacher-url", service.address,
        "--key", key, *more,
    )  # fmt: skip


def printed(*arguments: object) -> tuple[int, str]:
    """Exit code and standard error."""
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return outcome.exit_code, outcome.stderr


def test_the_api_gives_the_scores_that_the_checkpoint_gives_for_a_query_an_image(run, data, service):
    key = service.key(budget=IMAGES)
    code, said = printed(*asked(run, data, service, key, "--yes"))
    assert code == 0
    assert f"{IMAGES} descriptors to fetch" in said
    assert f"This will spend {IMAGES} queries of the {IMAGES} that key" in said
    through_api = read_evaluation(run.evaluation)
    assert service.usage(key)["used"] == IMAGES
    call("--run", run.root, "--dataset", "roxford5k", "--root", data, "--teacher", teacher_of(run))
    at_hand = read_evaluation(run.evaluation)
    assert through_api.models[TEACHER].setups == at_hand.models[TEACHER].setups
    assert through_api.models[STUDENT] == at_hand.models[STUDENT]
    teacher = through_api.models[TEACHER]
    assert (teacher.parameters, teacher.file_bytes, teacher.image_size) == (None, None, SIDE_PX)
    assert f"asked through its API, {IMAGES} queries in all" in through_api.protocol.sentence()
    assert "Single scale, but for the teacher those of its service." in through_api.protocol.sentence()
    text = as_text(through_api)
    assert re.search(rf"^teacher +64 +- +{SIDE_PX} +the service's own +- +-$", text, re.MULTILINE)
    assert f"teacher: {SIDE_PX} px, scales the service's own; student before, student: {SIDE_PX} px, " in text
    assert "the service" not in as_text(at_hand)


def test_bought_descriptors_are_those_of_the_network_at_hand(run, data, service):
    benchmark = open_benchmark(data / "roxford5k")
    found = ask(run, benchmark, (), Access(service.address, service.key()), yes=True)
    boxes = [truth.box for truth in benchmark.ground_truth]
    network = load_network(teacher_of(run))
    plain = Preprocessing(SIDE_PX, apply_exif=False)
    expected = describe(network, benchmark.query_paths, SIDE_PX, boxes=boxes, preprocessing=plain)
    np.testing.assert_allclose(found.rows(benchmark.query_paths, boxes), expected, atol=3e-5)
    database = describe(network, benchmark.image_paths, SIDE_PX, preprocessing=plain)
    np.testing.assert_allclose(found.rows(benchmark.image_paths), database, atol=3e-5)
    assert found.stored(benchmark.image_paths, half=True)[:].dtype == np.float16


def test_a_second_evaluation_buys_nothing_and_says_nothing_of_it(run, data, service):
    key = service.key(budget=IMAGES)
    printed(*asked(run, data, service, key, "--yes"))
    first = run.evaluation.read_bytes()
    code, said = printed(*asked(run, data, service, key))
    assert code == 0
    assert "spend" not in said
    assert run.evaluation.read_bytes() == first
    assert service.usage(key)["used"] == IMAGES


def test_only_what_is_new_is_bought_for_another_evaluation(run, data, service):
    key = service.key(budget=IMAGES + 4 * SIGHTS)
    printed(*asked(run, data, service, key, "--yes"))
    code, said = printed(*asked(run, data, service, key, "--yes", "--whiten-on", "rparis6k"))
    assert code == 0
    assert f"This will spend {4 * SIGHTS} queries" in said
    assert service.usage(key)["remaining"] == 0
    assert read_evaluation(run.evaluation).models[TEACHER].whitened


def test_a_budget_that_does_not_suffice_is_refused_before_anything_is_spent(run, data, service):
    key = service.key(budget=IMAGES - 1)
    with pytest.raises(
        BudgetTooSmall, match=f"The evaluation still needs {IMAGES} queries; .* has {IMAGES - 1} of"
    ):
        call(*asked(run, data, service, key, "--yes"))
    assert service.usage(key)["used"] == 0
    assert not run.evaluation.exists()


def test_without_a_yes_the_price_is_said_and_nothing_spent(run, data, service):
    key = service.key()
    with pytest.raises(InvalidInput, match=r"Spending needs a yes: .* Nothing was spent"):
        call(*asked(run, data, service, key))
    assert service.usage(key)["used"] == 0


def test_an_interrupted_purchase_continues_and_pays_nothing_twice(run, data, service, monkeypatch):
    key = service.key(budget=IMAGES)
    whole = session.fetch

    def half_way(
        transfer_set: TransferSet, access: Access, terms: object, *rest: object, **more: object
    ) -> Outcome:
        """A fetch of a few images that ends as one does that was told to stop."""
        held = transfer_set.rows("SELECT digest FROM images ORDER BY position")[4:]
        with transfer_set.transaction():
            transfer_set.connection.executemany(
                "UPDATE images SET refused = 'later' WHERE digest = ?", [(row["digest"],) for row in held]
            )
        outcome = whole(transfer_set, access, terms, *rest, **more)
        with transfer_set.transaction():
            transfer_set.connection.execute("UPDATE images SET refused = NULL")
        outcome.interrupted = True
        return outcome

    monkeypatch.setattr(session, "fetch", half_way)
    with pytest.raises(
        Interrupted, match=f"Interrupted: {IMAGES - 4} descriptors are missing. The same command continues"
    ) as interruption:
        call(*asked(run, data, service, key, "--yes"))
    assert interruption.value.exit_code == 130
    assert service.usage(key)["used"] == 4
    monkeypatch.setattr(session, "fetch", whole)
    code, said = printed(*asked(run, data, service, key, "--yes"))
    assert code == 0
    assert f"This will spend {IMAGES - 4} queries" in said
    assert service.usage(key)["used"] == IMAGES


def test_crops_are_what_a_network_at_hand_is_shown_and_are_written_once(run, data, service):
    benchmark = open_benchmark(data / "roxford5k")
    access = Access(service.address, service.key())
    first = ask(run, benchmark, (), access, yes=True)
    files = {path: path.read_bytes() for path in run.evaluation_crops.iterdir()}
    assert len(files) == SIGHTS
    for (image, box), file in first.sent.items():
        assert box == BOX
        shown = load_part(image, box, Preprocessing(SIDE_PX, apply_exif=False))
        assert (np.asarray(decode(file)) == shown).all()
        assert max(shown.shape[:2]) == round(SIDE_PX * 72 / 96)
    for path in files:
        path.unlink()
    ask(run, benchmark, (), access)
    assert {path: path.read_bytes() for path in run.evaluation_crops.iterdir()} == files


def test_photographs_held_another_way_are_seen_as_by_the_network_at_hand(run, service, tmp_path):
    """Benchmarks ignore the EXIF orientation; the service does not."""
    folder = make_revisited(tmp_path, "roxford5k", sights=2)
    write_view(tmp_path / "other.jpg", 9, 1, 0)
    benchmark = open_benchmark(folder)
    exif = Image.Exif()
    turned = [benchmark.image_paths[1], benchmark.query_paths[0], tmp_path / "other.jpg"]
    for orientation, path in zip((6, 3, 8), turned, strict=True):
        exif[0x0112] = orientation
        with Image.open(path) as image:
            image.save(path, exif=exif, quality=95)
    found = ask(run, benchmark, [tmp_path / "other.jpg"], Access(service.address, service.key()), yes=True)
    paths, boxes = [*benchmark.image_paths, tmp_path / "other.jpg"], [BOX] * 2
    network, plain = load_network(teacher_of(run)), Preprocessing(SIDE_PX, apply_exif=False)
    np.testing.assert_allclose(
        found.rows(paths), describe(network, paths, SIDE_PX, preprocessing=plain), atol=3e-5
    )
    queries = describe(network, benchmark.query_paths, SIDE_PX, boxes=boxes, preprocessing=plain)
    np.testing.assert_allclose(found.rows(benchmark.query_paths, boxes), queries, atol=3e-5)
    assert len(found.sent) == len(list(run.evaluation_crops.iterdir())) == 4


def test_the_page_and_the_card_show_a_teacher_of_which_only_the_api_is_known(run, data, service):
    printed(*asked(run, data, service, service.key(), "--yes"))
    facts = gather(run)
    assert "<td>–</td><td>–</td>" in build_page(facts)
    assert "| teacher |" in build_card(facts)


def test_students_may_ask_the_database_of_a_teacher_behind_an_api(run, data, service):
    benchmark = open_benchmark(data / "roxford5k")
    found = ask(run, benchmark, (), Access(service.address, service.key()), yes=True)
    shutil.copy(run.evaluation_set, run.transfer_set)  # as if the student had learned from these
    printed(*asked(run, data, service, service.key(), "--asymmetric"))
    models = read_evaluation(run.evaluation).models
    assert models[ASYMMETRIC].dim == found.dim == 64
    assert models[ASYMMETRIC].bridge.startswith(
        f"a map learned afterwards, linear, from {IMAGES} bought descriptors"
    )


def learned_from(run: RunFolder, teacher: Teacher) -> None:
    image = PlannedImage("ab" * 32, Path("/a.jpg"), "JPEG", 10, 20, 30)
    TransferSet.create(run.transfer_set, PlanFacts("random", 0, "a folder"), chosen=[image])
    with TransferSet.open(run.transfer_set) as bought:
        bought.set_teacher(teacher)


def test_another_teacher_than_the_students_own_is_refused(run, data, service):
    learned_from(run, Teacher(service.address, "k", "distinct", "cd" * 32, "ef" * 32, "t", 64, True))
    with pytest.raises(RevisionChanged, match=r"the student learned from efefefefefef\. Nothing was spent"):
        call(*asked(run, data, service, service.key(), "--yes"))


def test_what_was_bought_measures_no_other_teacher_even_where_nothing_is_to_be_bought(
    run, data, service, tmp_path
):
    printed(*asked(run, data, service, service.key(), "--yes"))
    first = run.evaluation.read_bytes()
    other, stop = running_service.start(
        {
            "checkpoint": run.student,
            "image_size": SIDE_PX,
            "port": 0,
            "decode_threads": 1,
            "data_dir": tmp_path,
        }
    )  # fmt: skip
    try:
        with pytest.raises(
            RevisionChanged, match=r"evaluation_set\.sqlite was bought from .*\. Nothing was spent"
        ):
            call(*asked(run, data, other, other.key(), "--yes"))
    finally:
        stop()
    learned_from(run, Teacher(service.address, "k", "distinct", "cd" * 32, "ef" * 32, "t", 64, True))
    with pytest.raises(RevisionChanged, match=r"the student learned from efefefefefef\. Nothing was spent"):
        call(*asked(run, data, service, service.key(), "--yes"))
    assert run.evaluation.read_bytes() == first


def test_nothing_is_bought_for_a_measurement_that_cannot_be_made(run, data, service):
    key = service.key()
    with pytest.raises(InvalidInput, match="--device: "):
        call(*asked(run, data, service, key, "--yes", "--device", "warp"))
    assert session.meet(Access(service.address, key))[1].used == 0


def test_the_key_of_the_training_is_advised_against(run, data, service):
    key = service.key()
    card, usage = session.meet(Access(service.address, key))
    learned_from(
        run, Teacher(service.address, usage.key_id, "distinct", card.public_key, card.revision, "t", 64, True)
    )
    code, said = printed(*asked(run, data, service, key, "--yes"))
    assert code == 0
    assert "Better give the evaluation a key of its own" in said
    assert "each run folder" not in said


def test_images_that_cannot_be_bought_are_named_before_anything_is_spent(run, service, tmp_path):
    folder = make_revisited(tmp_path, "roxford5k", sights=2)
    broken = folder / "jpg" / "roxford5k_000001_2.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    key = service.key()
    with pytest.raises(
        InvalidInput, match=r"1 images of the evaluation cannot be bought\. Nothing was spent"
    ) as refusal:
        call(*asked(run, tmp_path, service, key, "--yes"))
    assert str(broken) in str(refusal.value)
    query = folder / "jpg" / "roxford5k_query_000000.jpg"
    query.write_bytes(query.read_bytes()[:300])
    with pytest.raises(InvalidInput, match=f"box of a query cannot be cut out: {query}.* Nothing was spent"):
        call(*asked(run, tmp_path, service, key, "--yes"))
    assert service.usage(key)["used"] == 0


def test_refused_images_are_named_and_asked_for_again_by_the_next_evaluation(run, data, service, monkeypatch):
    whole = session.fetch

    def one_refused(transfer_set: TransferSet, *rest: object, **more: object) -> Outcome:
        with transfer_set.transaction():
            transfer_set.connection.execute("UPDATE images SET refused = 'too strange' WHERE position = 2")
        return whole(transfer_set, *rest, **more)

    monkeypatch.setattr(purchasing.session, "fetch", one_refused)
    with pytest.raises(
        InvalidInput, match=r"1 images of the evaluation have no descriptor .*: too strange\."
    ):
        call(*asked(run, data, service, key := service.key(), "--yes"))
    assert not run.evaluation.exists()
    monkeypatch.setattr(purchasing.session, "fetch", whole)
    code, said = printed(*asked(run, data, service, key, "--yes"))
    assert code == 0
    assert "This will spend 1 queries" in said
    assert service.usage(key)["used"] == IMAGES


def test_a_wrong_key_or_none_or_two_teachers_are_refused(run, data, service, tmp_path):
    with pytest.raises(ServiceRefused):
        call(*asked(run, data, service, "rtn_wrong_key", "--yes"))
    with pytest.raises(InvalidInput, match="The API key is missing: set TEACHER_API_KEY, or give --key"):
        call("--run", run.root, "--dataset", "roxford5k", "--root", data, "--teacher-url", service.address)
    with pytest.raises(InvalidInput, match="Give the teacher once"):
        call(*asked(run, data, service, "k", "--teacher", teacher_of(run)))
    with pytest.raises(InvalidInput, match="--teacher-url is for landmark benchmarks"):
        call("--run", run.root, "--manifest", tmp_path, "--teacher-url", service.address)

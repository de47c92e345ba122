"""What codes are worth: from the hash layer beside a student to the line of the evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from shared.checkpoints import load_network, save_network, weights_digest
from shared.extraction import describe
from shared.multiply_adds import multiply_adds, parameter_count
from shared.network import NetworkSpec, build_network
from student_trainer.cli import app
from student_trainer.datasets.manifest import read_manifest
from student_trainer.distil.heads import Head, save_head
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.document import BEFORE, STUDENT, read_evaluation
from student_trainer.evaluate.gallery import Gallery, gallery_of
from student_trainer.evaluate.hamming.hash_layers import codes_of
from student_trainer.evaluate.hamming.packing import unpack
from student_trainer.evaluate.hamming.scores import score_gallery
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

BITS = 12


@pytest.fixture
def layer(run: RunFolder) -> Head:
    """A hash layer beside the run's student, as a training with csq leaves it."""
    student = load_network(run.student)
    made = Head("hash", student.dim, BITS, bias=True, seed=3)
    save_head(made, run.head, objective="csq", student_digest=weights_digest(student))
    Recipe.model_validate(
        {"images": {"longest_side_px": 48}, "objective": {"name": "csq", "bits": 16}}
    ).write(run.recipe)
    return made


def evaluate(run: RunFolder, manifest: Path, *options: str) -> Result:
    return CliRunner().invoke(
        app, ["evaluate", "--run", str(run.root), "--manifest", str(manifest), *options]
    )


def by_definition(signs: np.ndarray, gallery: Gallery) -> float:
    """Mean over queries of the mean over 4,000 random orders of tied images: close to all of them."""
    random, aps = np.random.default_rng(1), []
    for query, place in enumerate(gallery.queries):
        kept = [i for i in range(len(gallery.database)) if i not in gallery.own_places[query]]
        distances = (signs[gallery.database[kept]] != signs[place]).sum(axis=1)
        relevant = np.array([gallery.database_labels[i] == gallery.query_labels[query] for i in kept])
        orders = np.lexsort((random.random((4000, len(kept))), np.tile(distances, (4000, 1))), axis=1)
        hits = relevant[orders]
        precisions = np.cumsum(hits, axis=1) / np.arange(1, len(kept) + 1)
        aps.append(((precisions * hits).sum(axis=1) / relevant.sum()).mean())
    return float(np.mean(aps))


def test_codes_are_the_signs_of_the_layer_whatever_their_number(layer: Head) -> None:
    rows = np.random.default_rng(0).standard_normal((70_000, layer.in_dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = unpack(codes_of(layer, rows), BITS)
    some = np.r_[0:50, 65_500:65_600, 69_990:70_000]
    with torch.no_grad():
        expected = layer(torch.from_numpy(rows[some])).sign().numpy()
    assert (found[some] == expected).mean() > 0.999  # a product in another order may round across 0
    assert codes_of(layer, rows[:0]).shape == (0, 2)


@pytest.mark.parametrize("marked", [True, False])
def test_the_scores_are_those_of_random_orders_of_ties(layer: Head, manifest: Path, marked: bool) -> None:
    entries = read_manifest(manifest)
    if not marked:  # every image ranks all the others
        manifest.write_text("path,label\n" + "".join(f"{e.path},{e.label}\n" for e in entries))
        entries = read_manifest(manifest)
    gallery = gallery_of(entries)
    rows = np.random.default_rng(5).standard_normal((len(entries), layer.in_dim)).astype(np.float32)
    found = score_gallery(layer, rows, gallery, 1000, 5000)
    signs = unpack(codes_of(layer, rows), BITS)
    assert found.map == pytest.approx(by_definition(signs, gallery), abs=5e-3)
    assert found.map_interval[0] <= found.map <= found.map_interval[1]
    assert found.map_at == {}  # no k is below so few images
    assert (found.bits, found.parameters) == (BITS, 1000 + parameter_count(layer))
    assert found.multiply_adds == 5000 + layer.in_dim * BITS


def test_map_at_k_stands_for_each_k_below_the_database(layer: Head) -> None:
    random = np.random.default_rng(2)
    labels = tuple(f"l{n}" for n in random.integers(0, 4, 1_200))
    gallery = Gallery(
        paths=tuple(Path(str(n)) for n in range(1_200)),
        labels=labels,
        queries=np.arange(20),
        database=np.arange(20, 1_200),
        leave_one_out=False,
        own_places=(np.empty(0, np.int64),) * 20,
    )
    rows = random.standard_normal((1_200, layer.in_dim)).astype(np.float32)
    found = score_gallery(layer, rows, gallery, 0, None)
    assert list(found.map_at) == [100, 1_000]
    assert found.multiply_adds is None and "multiply-adds" not in found.sentence
    assert found.map_at[1_000] == pytest.approx(found.map, abs=0.05)


def test_an_evaluation_states_codes_beside_descriptors(layer: Head, run: RunFolder, manifest: Path) -> None:
    result = evaluate(run, manifest)
    assert result.exit_code == 0, result.output
    models = read_evaluation(run.evaluation).models
    student = load_network(run.student)
    entries = read_manifest(manifest)
    rows = describe(student, [entry.path for entry in entries], 48)
    cost = multiply_adds(student.spec, 48, 48)
    expected = score_gallery(layer, rows, gallery_of(entries), parameter_count(student), cost)
    assert models[STUDENT].hamming == expected
    assert models[STUDENT].multiply_adds == models[BEFORE].multiply_adds == cost
    assert models[BEFORE].hamming is None
    said = f"student, codes of {BITS} bits by Hamming distance: mAP {expected.map:.3f}"
    assert said in result.stdout
    assert f"{cost / 1e9:.4g}" in result.stdout


def test_the_json_has_both(layer: Head, run: RunFolder, manifest: Path) -> None:
    line = json.loads(evaluate(run, manifest, "--json").stdout)["models"][STUDENT]
    assert line["hamming"]["bits"] == BITS and 0 < line["hamming"]["map"] <= 1 and 0 < line["map_step"] <= 1


def test_without_a_hash_layer_nothing_is_said_of_codes(run: RunFolder, manifest: Path) -> None:
    result = evaluate(run, manifest)
    assert "Hamming" not in result.stdout
    assert read_evaluation(run.evaluation).models[STUDENT].hamming is None


def test_a_hash_layer_of_another_student_is_refused(layer: Head, run: RunFolder, manifest: Path) -> None:
    save_network(build_network(NetworkSpec(load_network(run.student).spec.arch), seed=77), run.student)
    result = evaluate(run, manifest)
    assert isinstance(result.exception, InvalidInput)
    assert "was trained with another student" in str(result.exception)


def test_a_damaged_hash_layer_is_refused(layer: Head, run: RunFolder, manifest: Path) -> None:
    run.head.write_bytes(b"no head")
    result = evaluate(run, manifest)
    assert isinstance(result.exception, InvalidInput) and "head.safetensors" in str(result.exception)


def test_the_page_and_the_card_speak_of_codes(layer: Head, run: RunFolder, manifest: Path) -> None:
    evaluate(run, manifest)
    result = CliRunner().invoke(app, ["report", "--run", str(run.root)])
    assert result.exit_code == 0, result.output
    assert f"codes of {BITS} bits by Hamming distance" in run.report.read_text()
    card = run.model_card.read_text()
    assert "by the hash layer in head.safetensors: codes of" in card
    assert "| multiply-adds |" in card

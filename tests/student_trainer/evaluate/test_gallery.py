"""Who asks and who is searched, and what is refused before a network is loaded."""

from pathlib import Path

import pytest

from student_trainer.datasets.manifest import Entry, read_manifest, scan_folder
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of


def entries(folder: Path, *rows: tuple[str, str | None, bool]) -> list[Entry]:
    for name, _, _ in rows:
        (folder / name).touch()
    return [Entry(folder / name, label, None, is_query) for name, label, is_query in rows]


def test_marked_queries_rank_the_images_that_are_not_marked(manifest):
    gallery = gallery_of(read_manifest(manifest, "test"))
    assert [gallery.paths[place].name for place in gallery.queries] == ["0.png"] * 3
    assert gallery.query_labels == ["arch", "dome", "tower"]
    assert len(gallery.database) == 12
    assert not set(gallery.queries) & set(gallery.database)
    assert [len(places) for places in gallery.own_places] == [0, 0, 0]
    assert gallery.queries_with_copies == 0


def test_without_marked_queries_every_image_ranks_all_the_others(photographs):
    (photographs / "manifest.csv").unlink()
    gallery = gallery_of(scan_folder(photographs))
    assert gallery.leave_one_out
    assert gallery.queries.tolist() == gallery.database.tolist() == list(range(15))
    assert [places.tolist() for places in gallery.own_places] == [[place] for place in range(15)]
    assert gallery.queries_with_copies == 0
    assert gallery.database_labels == ["arch"] * 5 + ["dome"] * 5 + ["tower"] * 5


def test_the_image_of_a_query_is_known_in_the_database_by_its_file_and_by_its_bytes(tmp_path):
    rows = entries(tmp_path, ("q", "x", True), ("r", "y", True), ("b", "x", False), ("copy", "x", False))
    for entry, content in zip(rows, ("one", "two", "six", "one"), strict=True):
        entry.path.write_text(content)
    gallery = gallery_of([*rows, Entry(rows[0].path, "x"), Entry(rows[3].path, "z")])
    assert [places.tolist() for places in gallery.own_places] == [[1, 2, 3], []]
    assert gallery.queries_with_copies == 1
    unmarked = gallery_of([Entry(entry.path, entry.label) for entry in rows])
    assert [places.tolist() for places in unmarked.own_places] == [[0, 3], [1], [2], [0, 3]]
    assert unmarked.queries_with_copies == 2


def test_a_manifest_without_labels_is_refused_with_what_to_add(tmp_path):
    unlabelled = entries(tmp_path, ("a", None, False), ("b", "x", False), ("c", None, False))
    with pytest.raises(
        InvalidInput, match=r"2 of 3 images have no label, the first is .*a\. .*column 'label'"
    ):
        gallery_of(unlabelled)


def test_missing_files_are_counted_and_the_first_five_named(tmp_path):
    known = entries(tmp_path, ("here", "x", False))
    gone = [Entry(tmp_path / f"gone{number}", "x") for number in range(7)]
    with pytest.raises(InvalidInput) as refusal:
        gallery_of([*known, *gone])
    message = str(refusal.value)
    assert "7 of 8 images of the manifest are missing" in message
    assert all(f"gone{number}" in message for number in range(5))
    assert "gone5" not in message
    assert "and 2 more" in message


def test_five_missing_files_are_all_named_without_a_rest(tmp_path):
    with pytest.raises(InvalidInput) as refusal:
        gallery_of([Entry(tmp_path / f"gone{number}", "x") for number in range(5)])
    assert "5 of 5 images" in str(refusal.value)
    assert str(refusal.value).endswith("gone4")


def test_a_folder_in_place_of_an_image_counts_as_missing(tmp_path):
    with pytest.raises(InvalidInput, match="1 of 2 images"):
        gallery_of([*entries(tmp_path, ("a", "x", False)), Entry(tmp_path, "x")])


def test_a_manifest_of_queries_alone_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="All 2 images are marked as queries"):
        gallery_of(entries(tmp_path, ("a", "x", True), ("b", "x", True)))


@pytest.mark.parametrize("label", ["sea", ("sky", "sea")])
def test_images_that_all_have_one_label_cannot_be_ranked_wrongly_and_are_refused(tmp_path, label):
    rows = entries(tmp_path, ("a", "sea", True), ("b", label, False))
    with pytest.raises(InvalidInput, match=r"All 2 images have the label 'sea': each is relevant to each"):
        gallery_of(rows)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_are_refused(tmp_path, count):
    with pytest.raises(InvalidInput, match=f"at least 2 images, the manifest .* has {count}"):
        gallery_of(entries(tmp_path, ("a", "x", False))[:count])


def test_what_is_relevant_is_said_for_one_label_each_and_for_several(tmp_path):
    rows = entries(tmp_path, ("a", "sea", False), ("b", "hill", False))
    assert gallery_of(rows).relevant_means == "the same label"
    several = [*rows, Entry(rows[0].path, ("sea", "sky"), None, False)]
    assert gallery_of(several).relevant_means == "a label in common"

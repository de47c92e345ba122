"""Images are decoded once, come back bit for bit in chunks of one shape, and are those that were bought."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.digest import sha256_hex
from shared.images import Preprocessing, load_pixels
from student_trainer.distil import images as training_images
from student_trainer.distil.images import SourceImage, digest_files, open_store, require_unchanged
from student_trainer.errors import InvalidInput, StorageFailed

SMALL = Preprocessing(longest_side_px=24)


@pytest.fixture
def sources(paint: Callable[[int], list[Path]]) -> list[SourceImage]:
    return digest_files(paint(10))


def test_every_image_comes_back_as_it_is_decoded(tmp_path: Path, sources: list[SourceImage]) -> None:
    store = open_store(tmp_path / "cache", sources, SMALL)
    assert len(store) == 10
    assert store.readable == tuple(range(10))
    for index, source in enumerate(sources):
        assert np.array_equal(store.array(index), load_pixels(source.path, SMALL))


@pytest.mark.parametrize("chunk_size", [1, 2, 100])
def test_chunks_hold_one_shape_and_cover_the_batch_once(
    tmp_path: Path, sources: list[SourceImage], chunk_size: int
) -> None:
    store = open_store(tmp_path / "cache", sources, SMALL)
    batch = [7, 2, 9, 0, 4, 3]
    chunks = list(store.chunks(batch, chunk_size))
    positions = torch.cat([chunk.positions for chunk in chunks]).tolist()
    assert sorted(positions) == list(range(len(batch)))
    for chunk in chunks:
        assert 1 <= len(chunk.positions) == len(chunk.values) <= chunk_size
        for position, pixels in zip(chunk.positions.tolist(), chunk.values.numpy(), strict=True):
            assert np.array_equal(pixels, store.array(batch[position]))
    assert len(chunks) == {1: 6, 2: 4, 100: 2}[chunk_size]


def test_an_image_may_stand_in_a_batch_twice(tmp_path: Path, sources: list[SourceImage]) -> None:
    store = open_store(tmp_path / "cache", sources, SMALL)
    (chunk,) = store.chunks([5, 5], 8)
    assert torch.equal(chunk.values[0], chunk.values[1])


def test_the_two_passes_over_a_batch_see_the_same_chunks(tmp_path: Path, sources: list[SourceImage]) -> None:
    store = open_store(tmp_path / "cache", sources, SMALL)
    first, second = (list(store.chunks([3, 1, 2, 6], 2)) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.positions, two.positions)
        assert torch.equal(one.values, two.values)


def test_what_was_decoded_is_not_decoded_again(
    tmp_path: Path, sources: list[SourceImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_store(tmp_path / "cache", sources, SMALL)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded twice")

    monkeypatch.setattr(training_images, "load_pixels", refuse)
    second = open_store(tmp_path / "cache", sources, SMALL)
    assert np.array_equal(first.array(4), second.array(4))


def test_another_size_or_another_choice_of_images_is_decoded_anew_and_the_old_file_goes(
    tmp_path: Path, sources: list[SourceImage]
) -> None:
    cache = tmp_path / "cache"
    open_store(cache, sources, SMALL)
    assert open_store(cache, sources, Preprocessing(16)).array(0).shape == (16, 12, 3)
    assert len(open_store(cache, sources[:4], Preprocessing(16))) == 4
    assert len(list(cache.glob("pixels-*.u8"))) == 1


def test_each_image_is_announced(tmp_path: Path, sources: list[SourceImage]) -> None:
    announced: list[None] = []
    open_store(tmp_path / "cache", sources, SMALL, on_image=lambda: announced.append(None))
    assert len(announced) == 10


def test_decoding_that_was_killed_halfway_is_done_again(
    tmp_path: Path, sources: list[SourceImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_images, "load_pixels", die)
        with pytest.raises(KeyboardInterrupt):
            open_store(tmp_path / "cache", sources, SMALL)
    assert len(open_store(tmp_path / "cache", sources, SMALL)) == 10


class TestRefusals:
    def test_a_file_that_changed_since_it_was_bought_is_named(
        self, tmp_path: Path, sources: list[SourceImage]
    ) -> None:
        Image.new("RGB", (20, 20)).save(sources[6].path)
        with pytest.raises(InvalidInput, match=r"006\.png has changed.*Put the original back"):
            open_store(tmp_path / "cache", sources, SMALL)

    def test_a_file_that_is_gone_is_named(self, tmp_path: Path, sources: list[SourceImage]) -> None:
        sources[2].path.unlink()
        with pytest.raises(InvalidInput, match=r"Cannot read the image .*002\.png: No such file"):
            open_store(tmp_path / "cache", sources, SMALL)
        with pytest.raises(InvalidInput, match=r"002\.png"):
            digest_files([sources[2].path])

    def test_a_file_that_cannot_be_decoded_is_left_out_and_named(
        self, tmp_path: Path, sources: list[SourceImage]
    ) -> None:
        cut = sources[3].path.read_bytes()[:200]
        sources[3].path.write_bytes(cut)
        sources[3] = replace(sources[3], digest=sha256_hex(cut))
        for _ in range(2):  # decoded, and from the cache
            store = open_store(tmp_path / "cache", sources, SMALL)
            assert store.readable == (0, 1, 2, 4, 5, 6, 7, 8, 9)
            assert list(store.unreadable) == [sources[3].path]
            assert np.array_equal(store.array(3), load_pixels(sources[4].path, SMALL))

    def test_nothing_but_unreadable_files_is_an_empty_store(self, tmp_path: Path) -> None:
        path = tmp_path / "no-image.jpg"
        path.write_bytes(b"not an image")
        store = open_store(tmp_path / "cache", digest_files([path]), SMALL)
        assert len(store) == 0
        assert list(store.unreadable) == [path]

    def test_a_cache_that_was_cut_is_refused(self, tmp_path: Path, sources: list[SourceImage]) -> None:
        open_store(tmp_path / "cache", sources, SMALL)
        (pixels,) = (tmp_path / "cache").glob("pixels-*.u8")
        pixels.write_bytes(pixels.read_bytes()[:-1])
        with pytest.raises(StorageFailed, match="delete it"):
            open_store(tmp_path / "cache", sources, SMALL)

    def test_a_folder_that_cannot_be_written_is_a_storage_error(
        self, tmp_path: Path, sources: list[SourceImage]
    ) -> None:
        (tmp_path / "cache").write_text("a file, not a folder")
        with pytest.raises(StorageFailed, match="Cannot write the decoded images"):
            open_store(tmp_path / "cache", sources, SMALL)


def test_the_cache_holds_plain_bytes_and_a_list_of_shapes(tmp_path: Path, sources: list[SourceImage]) -> None:
    open_store(tmp_path / "cache", sources, SMALL)
    (index,) = (tmp_path / "cache").glob("pixels-*.json")
    shapes = json.loads(index.read_text())
    assert shapes[:3] == [[24, 18], [18, 24], [18, 24]]
    assert index.with_suffix(".u8").stat().st_size == 10 * 24 * 18 * 3


def test_who_takes_images_by_their_paths_can_have_them_compared_first(sources: list[SourceImage]) -> None:
    require_unchanged(sources)
    sources[7].path.write_bytes(b"another")
    with pytest.raises(InvalidInput, match=rf"{sources[7].path.name} has changed: its SHA-256 is "):
        require_unchanged(sources)

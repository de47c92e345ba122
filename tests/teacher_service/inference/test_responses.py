"""The output policy: what is truncated, disturbed and rounded, and what stays a unit vector."""

import numpy as np
import pytest

from shared.digest import sha256_hex
from shared.vectors import Float32Rows, decode_rows
from teacher_service.inference.responses import OutputPolicy

IMAGES = ["a" * 64, "b" * 64, "c" * 64]


@pytest.fixture
def rows() -> Float32Rows:
    values = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    unit: Float32Rows = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


def sent(policy: OutputPolicy, rows: Float32Rows, images: list[str] = IMAGES) -> Float32Rows:
    dim = policy.dimension(rows.shape[1])
    return np.concatenate([decode_rows(one.data, dim) for one in policy.apply(rows, images)])


def test_without_options_the_bits_are_the_networks(rows: Float32Rows) -> None:
    assert np.array_equal(sent(OutputPolicy(), rows), rows)


def test_the_digest_is_of_the_bytes_that_are_sent(rows: Float32Rows) -> None:
    for one in OutputPolicy(decimals=2).apply(rows, IMAGES):
        assert one.digest == sha256_hex(one.data)


def test_truncation_keeps_the_first_dimensions_at_unit_length(rows: Float32Rows) -> None:
    cut = sent(OutputPolicy(truncate_dims=5), rows)
    assert cut.shape == (3, 5)
    assert np.allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6)
    assert np.allclose(cut / cut[:, :1], rows[:, :5] / rows[:, :1], rtol=1e-4)
    assert OutputPolicy(truncate_dims=50).dimension(16) == 16


def test_rounding_leaves_the_nearest_float32_of_a_decimal(rows: Float32Rows) -> None:
    rounded = sent(OutputPolicy(decimals=3), rows)
    assert [f"{value:.3f}" for value in rounded[0]] == [f"{value:.3f}" for value in np.round(rows[0], 3)]
    assert np.array_equal(rounded, np.round(rows.astype(np.float64), 3).astype(np.float32))


def test_noise_is_the_same_for_the_same_image_whatever_its_place(rows: Float32Rows) -> None:
    policy = OutputPolicy(noise_sigma=0.1, noise_seed="secret")
    together = sent(policy, rows)
    alone = sent(policy, rows[2:], IMAGES[2:])
    assert np.array_equal(together[2:], alone)
    assert not np.allclose(together, rows, atol=0.01)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_noise_differs_between_images_and_between_secrets(rows: Float32Rows) -> None:
    same = np.repeat(rows[:1], 3, axis=0)
    noisy = sent(OutputPolicy(noise_sigma=0.1, noise_seed="one"), same)
    other = sent(OutputPolicy(noise_sigma=0.1, noise_seed="two"), same)
    assert not np.allclose(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], other[0])


def test_noise_has_the_size_that_was_asked_for() -> None:
    rows = np.zeros((1, 20_000), dtype=np.float32)
    rows[0, 0] = 1e6  # so long that normalising changes nothing but the scale
    policy = OutputPolicy(noise_sigma=2.0, noise_seed="s")
    noisy = sent(policy, rows, ["d" * 64])[0, 1:] * 1e6
    assert np.std(noisy) == pytest.approx(2.0, rel=0.05)


def test_the_description_names_every_choice_and_not_the_secret() -> None:
    plain, noisy = OutputPolicy(), OutputPolicy(8, 0.5, "topsecret", 3)
    assert plain.description() != noisy.description()
    assert "topsecret" not in str(noisy.description())
    assert noisy.description() != OutputPolicy(8, 0.5, "other", 3).description()

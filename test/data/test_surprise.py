"""Limits of surprise: distances against SciPy, coverage on drawn data, files that are not whole."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy.spatial.distance import mahalanobis
from scipy.stats import beta, chi

from safe_skills.data import surprise
from safe_skills.data.surprise import (
    FILE,
    EncodedFrames,
    SurpriseError,
    SurpriseLevel,
    SurpriseModel,
    calibrate,
    calibrate_held_out,
    inverse_square_root,
    load_surprise,
    save_surprise,
    shrunk_covariance,
    without_repeats,
)

DIM = 4
LEVEL = SurpriseLevel(2.0, 10, 5, 1, 1, 0.6, (1.0, 1.5, 1.9, 2.0), 2.5)


def frames(rng, episodes, each=10, error=True, mixing=None):
    """Latents of a Gaussian, and errors that are their first number's square."""
    count = episodes * each
    mean = rng.standard_normal((count, DIM))
    mean = mean if mixing is None else mean @ mixing
    return EncodedFrames(
        mean=mean.astype(np.float32),
        stddev=np.zeros((count, DIM), np.float32),
        error=np.square(mean[:, 0]) if error else None,
        episode=np.repeat(np.arange(episodes), each),
    )


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((DIM, DIM))
    return calibrate(*(frames(rng, 300, mixing=mixing) for _ in range(3)))


@pytest.fixture
def folder(model, tmp_path):
    save_surprise(model, tmp_path, "cable-1", {"seed": 3})
    return tmp_path


def test_the_distance_is_mahalanobis(model):
    rng = np.random.default_rng(1)
    inverse = model.whitening @ model.whitening
    for mean in rng.normal(0, 5, (20, DIM)).astype(np.float32):
        expected = mahalanobis(mean, model.center, inverse)
        assert model.latent_distance_of(mean) == pytest.approx(expected, rel=1e-9)


def test_the_spread_is_that_of_latents_as_they_are_drawn():
    rng = np.random.default_rng(2)
    part = frames(rng, 400, mixing=np.diag([1.0, 2.0, 3.0, 4.0]))
    wide = EncodedFrames(part.mean, np.full_like(part.mean, 2.0), part.error, part.episode)
    found = calibrate(wide, part, part)
    covariance = np.linalg.inv(found.whitening @ found.whitening)
    np.testing.assert_allclose(covariance, np.cov(part.mean.T) + 4.0 * np.eye(DIM), atol=0.05)


def test_shrinking_is_ledoit_and_wolfs():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((12, DIM)) * (1, 2, 3, 4)
    centred = values - values.mean(0)
    sample = sum(np.outer(row, row) for row in centred) / 12
    target = np.trace(sample) / DIM * np.eye(DIM)
    noise = sum(np.linalg.norm(np.outer(row, row) - sample) ** 2 for row in centred) / 12**2
    weight = noise / np.linalg.norm(sample - target) ** 2
    assert 0 < weight < 1
    expected = weight * target + (1 - weight) * sample
    np.testing.assert_allclose(shrunk_covariance(values), expected)


def test_shrinking_vanishes_with_many_values():
    values = np.random.default_rng(4).standard_normal((20_000, DIM)) * (1, 2, 3, 4)
    np.testing.assert_allclose(shrunk_covariance(values), np.cov(values.T), atol=0.02)


@given(arrays.arrays(np.float64, (5, 3), elements=st.floats(-1e3, 1e3)))
def test_the_root_is_finite_for_any_covariance(values):
    covariance = np.cov(values.T)
    if np.trace(covariance) < 1e-12:
        return
    root = inverse_square_root(covariance)
    assert np.isfinite(root).all()
    np.testing.assert_allclose(root, root.T, atol=1e-9 * np.abs(root).max())


def test_the_root_undoes_a_covariance():
    covariance = np.diag([4.0, 1.0, 0.25])
    np.testing.assert_allclose(inverse_square_root(covariance), np.diag([0.5, 1.0, 2.0]))


def test_one_clean_frame_in_a_thousand_is_above_a_limit():
    rng = np.random.default_rng(5)
    found = calibrate(frames(rng, 2000), frames(rng, 3000), frames(rng, 3000))
    distance, error = found.latent_distance, found.reconstruction_error
    # Both measures have closed forms here: chi with four degrees of freedom, and its square of one.
    assert distance.limit == pytest.approx(chi(DIM).isf(1e-3), rel=0.05)
    assert error.limit == pytest.approx(chi(1).isf(1e-3) ** 2, rel=0.12)
    for level in (distance, error):
        assert level.frames == 30_000 and level.episodes == 3000
        # A binomial of 30 000 draws, and the limit's own spread: five deviations of 8.
        assert abs(level.frames_above - 30) < 5 * 8
        assert level.episodes_above <= level.frames_above


def test_a_limit_is_above_new_values_as_seldom_as_promised():
    """Over many small calibrations, a new value is above the limit with probability <= 1e-3."""
    rng = np.random.default_rng(6)
    shares = []
    for _ in range(200):
        errors = rng.random(2000)
        level = surprise._level(errors, errors, np.arange(2000), "error")
        shares.append(1.0 - level.limit)
    # Of beta(2, 1999): mean 1/1000, deviation 0.7/1000 over the root of 200.
    assert np.mean(shares) == pytest.approx(1e-3, abs=5 * 7e-4 / math.sqrt(200))


def test_what_certifies_chose_nothing_and_is_bounded_by_episodes():
    rng = np.random.default_rng(7)
    certifying = frames(rng, 50)
    certifying.error[[3, 4, 200]] = 1e6
    level = calibrate(frames(rng, 50), frames(rng, 200), certifying).reconstruction_error
    above = certifying.error > level.limit
    assert level.frames_above == above.sum() and above[[3, 4, 200]].all()
    assert level.episodes_above == len(set(certifying.episode[above]))
    assert level.episode_bound == pytest.approx(
        beta.ppf(0.95, level.episodes_above + 1, 50 - level.episodes_above)
    )
    assert level.maximum == 1e6
    assert level.quantiles[0] == np.quantile(certifying.error, 0.5, method="higher")


def test_without_a_decoder_there_is_no_reconstruction_limit():
    rng = np.random.default_rng(8)
    found = calibrate(*(frames(rng, 50, error=False) for _ in range(3)))
    assert found.reconstruction_error is None and math.isnan(found.reconstruction_limit)
    assert found.latent_distance_limit == found.latent_distance.limit > 0


def test_no_episode_is_in_two_parts_of_a_split():
    rng = np.random.default_rng(11)
    made = frames(rng, 40)
    found = calibrate_held_out(made, seed=1)
    assert found.latent_distance.episodes == 10 and found.latent_distance.frames == 100
    again = calibrate_held_out(made, seed=1)
    assert again.latent_distance == found.latent_distance
    assert calibrate_held_out(made, seed=2).latent_distance != found.latent_distance
    with pytest.raises(SurpriseError, match="cannot hold out 0.5 of 2 episodes"):
        calibrate_held_out(frames(rng, 2), seed=0)


def test_frames_that_repeat_count_once():
    images = np.zeros((6, 2, 2, 3), np.uint8)
    images[[1, 2, 5], 1, 0, 2] = 7
    np.testing.assert_array_equal(without_repeats(images), images[[0, 1, 3, 5]])
    assert len(without_repeats(images[:1])) == 1


def test_few_frames_take_the_largest_for_a_limit():
    rng = np.random.default_rng(9)
    choosing = frames(rng, 3)
    found = calibrate(frames(rng, 50), choosing, frames(rng, 3))
    assert found.latent_distance_limit == found.latent_distances(choosing.mean).max()


def test_data_that_make_no_limit_are_one_line():
    rng = np.random.default_rng(10)
    part, blind, still = frames(rng, 5), frames(rng, 5), frames(rng, 5)
    with pytest.raises(SurpriseError, match="2 frames or more to choose, got 1"):
        calibrate(part, part.of([]).__class__(*(x[:1] for x in vars(part).values())), part)
    blind.error[:] = np.inf
    with pytest.raises(SurpriseError, match="reconstruction error: expected 99.9% of the clean"):
        calibrate(part, blind, part)
    still.mean[:] = 1.0
    with pytest.raises(SurpriseError, match="latents that differ"):
        calibrate(still, part, part)


@given(
    arrays.arrays(
        np.float32, DIM, elements=st.floats(width=32, allow_nan=True, allow_infinity=True)
    )
)
def test_no_latent_is_too_strange_for_a_distance(mean):
    model = SurpriseModel(np.zeros(DIM), np.eye(DIM), LEVEL)
    distance = model.latent_distance_of(mean)
    assert distance >= 0
    assert math.isfinite(distance) == np.isfinite(mean).all()


def test_a_latent_of_another_length_is_refused(model):
    with pytest.raises(ValueError, match=r"expected 4 numbers, got \(5,\)"):
        model.latent_distance_of(np.zeros(5))


def test_a_file_gives_back_what_was_saved(model, folder):
    found = load_surprise(folder, "cable-1")
    np.testing.assert_array_equal(found.center, model.center)
    np.testing.assert_array_equal(found.whitening, model.whitening)
    assert found.latent_distance == model.latent_distance
    assert found.reconstruction_error == model.reconstruction_error
    with safe_open(folder / FILE, framework="numpy") as file:
        assert json.loads(file.metadata()["about"]) == {"seed": 3}


def test_without_a_decoder_a_file_comes_back_so(tmp_path):
    save_surprise(SurpriseModel(np.zeros(2), np.eye(2), LEVEL), tmp_path, "operation-1")
    assert load_surprise(tmp_path, "operation-1").reconstruction_error is None


def test_a_checkpoint_without_a_file_has_none(tmp_path):
    assert load_surprise(tmp_path, "cable-1") is None


def rewritten(folder, **changes):
    path = folder / FILE
    with safe_open(path, framework="numpy") as file:
        metadata = {**file.metadata(), **changes}
    save_file(load_file(path), path, metadata)


def test_a_calibration_of_other_weights_is_one_line(folder):
    with pytest.raises(SurpriseError, match="calibration of cable-2, found that of cable-1"):
        load_surprise(folder, "cable-2")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "2"}, "expected format 1, found 2"),
        ({"levels": "{}"}, "SHA-256"),
        ({"sha256": "0"}, "SHA-256"),
    ],
)
def test_a_changed_file_is_one_line(folder, changes, says):
    rewritten(folder, **changes)
    with pytest.raises(SurpriseError, match=says) as caught:
        load_surprise(folder, "cable-1")
    assert "\n" not in str(caught.value) and "safe-skills calibrate surprise" in str(caught.value)


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        ("{}", "latent_distance"),
        ("[]", "latent_distance"),
        ("3", "not iterable"),
        ('{"latent_distance": {"limit": 1.0}}', "missing"),
        ('{"latent_distance": {"height": 1.0}}', "unknown setting latent_distance.height"),
        ("nonsense", "Expecting value"),
    ],
)
def test_levels_that_are_none_are_one_line(folder, levels, says):
    """Written by a program that knows the digest, but not the format."""
    tensors = load_file(folder / FILE)
    rewritten(folder, levels=levels, sha256=surprise._digest(tensors, levels, "cable-1"))
    with pytest.raises(SurpriseError, match=says):
        load_surprise(folder, "cable-1")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_damaged_byte_is_seen(tmp_path_factory, place, change):
    folder = tmp_path_factory.getbasetemp()
    made = SurpriseModel(np.arange(2.0), np.eye(2), LEVEL)
    path = save_surprise(made, folder, "cable-1")
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    try:
        found = load_surprise(folder, "cable-1")
    except SurpriseError as error:
        assert "\n" not in str(error)
    else:
        # Spaces in the header and the words on where it came from say nothing of the limits.
        np.testing.assert_array_equal(found.center, made.center)
        np.testing.assert_array_equal(found.whitening, made.whitening)
        assert (found.latent_distance, found.reconstruction_error) == (LEVEL, None)


def test_a_cut_file_is_one_line(folder):
    path = folder / FILE
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SurpriseError, match="is damaged"):
        load_surprise(folder, "cable-1")
    path.write_bytes(b"")
    with pytest.raises(SurpriseError, match="is damaged"):
        load_surprise(folder, "cable-1")

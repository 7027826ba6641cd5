from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

import made_units
from driftcli.errors import InputError
from driftcli.footprints import fields, groups
from driftcli.interpolate import gaussian_process, kriging
from driftcli.interpolate.fitted_gaussian_process import Kernel, Parameters
from driftcli.interpolate.interpolator import Interpolator
from driftcli.model import Footprints, Geometry, Motion
from oracles import footprints as oracle
from oracles import interpolate as oracle_interpolate

DEFAULT = Parameters()
PLAIN = gaussian_process.Parameters()
POSITIONS = made_units.probe()
UNITS = made_units.units()
BAD = (14, 20, 21, 33)
NOISE = 6.0


def _shift(displacement_um, positions=POSITIONS):
    return np.full(len(positions), float(displacement_um))


@cache
def learned(bad=(), bin_um=4.0):
    """The whole way from peaks, without knowing whose they are."""
    peaks = made_units.peaks(UNITS, POSITIONS, noise=NOISE, bad=bad)
    kernel = gaussian_process.Kernel(PLAIN, POSITIONS)
    place = peaks.contacts, POSITIONS, peaks.places_um, peaks.displacement_um
    labels = groups.group(peaks.snippets, *place, lambda moved: kernel.weights(_shift(moved)))
    prior = fields.Prior(lambda a, b: gaussian_process.covary(PLAIN, a, b), NOISE**2, PLAIN.noise_length_um)
    return fields.learn(peaks.snippets, peaks.contacts, labels, peaks.displacement_um, POSITIONS, prior, bin_um)


def _without(bad):
    return np.setdiff1d(np.arange(len(POSITIONS)), bad)


def _errors(weights_at, units, displacements_um=(-9, -6, -2, 3, 5, 8), targets=slice(None), sources=slice(None)):
    """(units,) how far the corrected spikes are from those at rest, in shares of these, over displacements."""
    at_rest = units.footprints(POSITIONS)[..., targets]
    size = np.linalg.norm(at_rest, axis=(1, 2))
    errors = []
    for moved_um in displacements_um:
        corrected = units.footprints(POSITIONS, moved_um)[..., sources] @ weights_at(_shift(moved_um))[targets].T
        errors.append(np.linalg.norm(corrected - at_rest, axis=(1, 2)) / size)
    return np.mean(errors, axis=0)


def _same_bits(one, other):
    return one.tobytes() == other.tobytes()


@pytest.mark.parametrize("bad", [(), BAD])
@pytest.mark.parametrize(
    "parameters", [{}, {"unseen": 0.02, "trace_noise": 0.05, "noise_length_um": 40.0, "own_noise": 0.05}]
)
def test_weights_are_those_of_the_oracle(parameters, bad):
    """Within the displacements that were seen, at their edge, and past it."""
    chosen, footprints, sources = Parameters(**parameters), learned(bad), _without(bad)
    rough = {"spike_length": 30.0, "spike_offset": 30.0, "noise_length": chosen.noise_length_um}
    rough |= {"shared_noise": 0.03, "own_noise": chosen.own_noise, "extrapolate": True, "sources": POSITIONS[sources]}
    bins_um = (footprints.lowest_bin + np.arange(len(footprints.displaced))) * footprints.bin_um
    apart = np.linalg.norm(POSITIONS[sources][:, None] - POSITIONS[sources][None], axis=2)
    spikes = 0.97 * np.exp(-(np.hypot(apart, 30) - 30) / 30) + 0.03 * np.exp(-apart / chosen.noise_length_um)
    held = chosen.unseen * (spikes + chosen.own_noise * np.eye(len(sources)))
    held += chosen.trace_noise * np.exp(-apart / chosen.noise_length_um)
    moments = [footprints.dense(index) for index in range(len(bins_um))]
    displacement = np.linspace(bins_um[0] - 9, bins_um[-1] + 9, len(POSITIONS))

    @cache
    def gaussian(moved_um):
        return oracle_interpolate.gaussian_process_weights(POSITIONS, _shift(moved_um), **rough)

    expected = oracle.fitted_weights(gaussian, displacement, bins_um, *zip(*moments, strict=True), sources, held)
    expected = oracle_interpolate.drop_smallest(expected, 1e-4)
    weights = Kernel(chosen, POSITIONS, POSITIONS[sources], footprints, sources).weights(displacement)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bad", [(), BAD])
def test_what_all_contacts_share_stays_what_it_is(bad):
    """Offsets and slow potentials: weights sum to 1 wherever those of the Gaussian process do."""
    sources = _without(bad)
    kernel = Kernel(DEFAULT, POSITIONS, POSITIONS[sources], learned(bad), sources)
    plain = gaussian_process.Kernel(PLAIN, POSITIONS, POSITIONS[sources])
    for moved_um in (-9.0, -2.5, 6.0, 11.0):
        fitted, own = (each.weights(_shift(moved_um)) for each in (kernel, plain))
        assert np.abs(fitted - own).max() > 0.01
        np.testing.assert_allclose(fitted.sum(axis=1), own.sum(axis=1), atol=3e-4)


def test_units_keep_their_shape_better_than_with_the_gaussian_process():
    fitted = _errors(Kernel(DEFAULT, POSITIONS, footprints=learned()).weights, UNITS)
    plain = _errors(gaussian_process.Kernel(PLAIN, POSITIONS).weights, UNITS)
    assert fitted.mean() < 0.55 * plain.mean()
    assert (fitted / plain).max() < 0.85


@pytest.mark.parametrize("seed", [7, 8])
def test_units_that_nobody_saw_are_hardly_worse(seed):
    others = made_units.units(40, seed)
    fitted = _errors(Kernel(DEFAULT, POSITIONS, footprints=learned()).weights, others)
    plain = _errors(gaussian_process.Kernel(PLAIN, POSITIONS).weights, others)
    assert fitted.mean() < 1.12 * plain.mean()
    assert (fitted - plain).max() < 0.05


def test_the_more_unseen_units_count_the_closer_to_the_gaussian_process():
    plain = gaussian_process.Kernel(PLAIN, POSITIONS).weights(_shift(5))
    away = [
        np.abs(Kernel(Parameters(unseen=unseen), POSITIONS, footprints=learned()).weights(_shift(5)) - plain).sum()
        for unseen in (0.01, 0.1, 1.0, 100.0)
    ]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.02 * away[0]


@pytest.mark.parametrize("mode", ["force_extrapolate", "force_zeros"])
def test_without_footprints_it_is_the_gaussian_process(displacements, mode):
    """Bit by bit: without any, where no unit was seen, and past the displacements that were."""
    plain = gaussian_process.Kernel(gaussian_process.Parameters(border_mode=mode), POSITIONS)
    chosen, wave = Parameters(border_mode=mode), displacements["wave"](POSITIONS)
    assert _same_bits(Kernel(chosen, POSITIONS).weights(wave), plain.weights(wave))
    full = learned()
    nothing = Footprints(4.0, full.lowest_bin, full.neighbours, 0 * full.displaced, 0 * full.resting)
    assert _same_bits(Kernel(chosen, POSITIONS, footprints=nothing).weights(wave), plain.weights(wave))
    fitted = Kernel(chosen, POSITIONS, footprints=full)
    assert not _same_bits(fitted.weights(wave), plain.weights(wave))
    for far in (_shift(18.0), _shift(-18.0), np.where(wave < -3, -25.0, 25.0)):
        assert _same_bits(fitted.weights(far), plain.weights(far))


def test_contacts_where_no_unit_was_seen_have_the_weights_of_the_gaussian_process():
    long = np.concatenate([POSITIONS, POSITIONS + np.array([0, 480]), POSITIONS + np.array([0, 960])])
    short = learned()
    rest = np.full((96, short.neighbours.shape[1]), -1, np.int32)
    none = np.zeros((len(short.displaced), *rest.shape), np.float32)
    footprints = Footprints(
        4.0,
        short.lowest_bin,
        np.concatenate([short.neighbours, rest]),
        np.concatenate([short.displaced, none], axis=1),
        np.concatenate([short.resting, none], axis=1),
    )
    plain = gaussian_process.Kernel(PLAIN, long).weights(_shift(5, long))
    fitted = Kernel(DEFAULT, long, footprints=footprints).weights(_shift(5, long))
    far = long[:, 1] > 470 + 300
    assert _same_bits(fitted[far], plain[far])
    assert np.abs(fitted - plain)[~far].max() > 0.02


def test_at_rest_it_is_the_gaussian_process():
    for own_noise in (1e-4, 0.1):
        fitted = Kernel(Parameters(own_noise=own_noise), POSITIONS, footprints=learned())
        plain = gaussian_process.Kernel(gaussian_process.Parameters(own_noise=own_noise), POSITIONS)
        assert _same_bits(fitted.weights(_shift(0)), plain.weights(_shift(0)))


def test_weights_change_steadily_with_the_displacement():
    """No jump anywhere: not between bins, not at the last ones, not where the differences end."""
    kernel = Kernel(DEFAULT, POSITIONS, footprints=learned())
    steps = [kernel.weights(_shift(moved)) for moved in np.arange(-20, 20.01, 0.25)]
    assert max(np.abs(one - other).max() for one, other in pairwise(steps)) < 0.06


def test_bad_contacts_are_targets_only():
    """They get better traces than by the Gaussian process, also at rest; the good ones at rest keep their own."""
    sources = _without(BAD)
    good = POSITIONS[sources]
    fitted = Kernel(DEFAULT, POSITIONS, good, learned(BAD), sources)
    plain = gaussian_process.Kernel(PLAIN, POSITIONS, good)
    assert fitted.weights(_shift(3)).shape == (48, 44)
    assert _same_bits(fitted.weights(_shift(0))[sources], plain.weights(_shift(0))[sources])
    near = np.linalg.norm(UNITS.footprints(POSITIONS)[..., list(BAD)], axis=(1, 2)) > 100
    for moved_um in (0, 5, -7):
        errors = [_errors(kernel.weights, UNITS, [moved_um], list(BAD), sources)[near] for kernel in (fitted, plain)]
        assert errors[0].mean() < 0.9 * errors[1].mean(), moved_um


def test_mirrored_footprints_have_mirrored_weights(displacements):
    full = learned()
    wave = displacements["wave"](POSITIONS)
    upside_down = Footprints(
        4.0, 1 - len(full.displaced) - full.lowest_bin, full.neighbours, full.displaced[::-1], full.resting[::-1]
    )
    weights = Kernel(DEFAULT, POSITIONS, footprints=full).weights(wave)
    mirrored = Kernel(DEFAULT, POSITIONS * [1, -1], footprints=upside_down).weights(-wave)
    np.testing.assert_allclose(mirrored, weights, rtol=0, atol=1e-9)


def test_contacts_moved_outside_are_zero_unless_extrapolated():
    outside = POSITIONS[:, 1] < 8
    for mode in ("remove_channels", "force_zeros"):
        weights = Kernel(Parameters(border_mode=mode), POSITIONS, footprints=learned()).weights(_shift(-8))
        np.testing.assert_array_equal((weights == 0).all(axis=1), outside)
    weights = Kernel(DEFAULT, POSITIONS, footprints=learned()).weights(_shift(-8))
    assert (weights != 0).any(axis=1).all()


def test_weights_are_hardly_more_than_those_of_the_gaussian_process():
    """On as many of them the time of a correction depends."""
    long = made_units.probe(192)
    short = learned()
    neighbours = np.concatenate([np.where(short.neighbours >= 0, short.neighbours + 48 * i, -1) for i in range(4)])
    moments = (np.concatenate([each] * 4, axis=1) for each in (short.displaced, short.resting))
    footprints = Footprints(4.0, short.lowest_bin, neighbours.astype(np.int32), *moments)
    fitted = Kernel(DEFAULT, long, footprints=footprints).weights(_shift(5, long))
    plain = gaussian_process.Kernel(PLAIN, long).weights(_shift(5, long))
    assert np.count_nonzero(plain) < np.count_nonzero(fitted) < 1.3 * np.count_nonzero(plain)


def test_noise_is_bounded():
    kernel = Kernel(DEFAULT, POSITIONS, POSITIONS[_without(BAD)], learned(BAD), _without(BAD))
    for moved_um in (-13.0, -9.0, 0.0, 4.0, 9.0):
        assert np.sqrt((kernel.weights(_shift(moved_um)) ** 2).sum(axis=1)).max() < 2.5, moved_um


def test_same_bits_again():
    one, other = (Kernel(DEFAULT, POSITIONS, footprints=learned()).weights(_shift(5.5)) for _ in range(2))
    assert _same_bits(one, other)


def _motion(displacement_um):
    return Motion(np.full((1, 1), float(displacement_um)), np.array([0.5]), np.array([240.0]))


def _two_shanks():
    positions = np.concatenate([POSITIONS, POSITIONS + np.array([250, 0])])
    return Geometry(positions, np.repeat([2, 5], len(POSITIONS)).astype(np.int64))


@pytest.mark.parametrize("bad", [(), BAD])
def test_an_interpolator_hands_each_shank_its_footprints(bad):
    """Shank 5 has some, shank 2 has none."""
    labels = np.zeros(96, np.uint8)
    labels[[48 + contact for contact in bad]] = 1
    motions = {2: _motion(6.0), 5: _motion(5.0)}
    subject = Interpolator(Kernel, DEFAULT, _two_shanks(), motions, 1000.0, 50, labels, {5: learned(bad)})
    traces = np.random.default_rng(0).normal(size=(50, 96)).astype(np.float32)
    corrected = subject(traces, 0)
    sources = _without(bad)
    fitted = Kernel(DEFAULT, POSITIONS, POSITIONS[sources], learned(bad), sources).weights(_shift(5))
    plain = gaussian_process.Kernel(PLAIN, POSITIONS).weights(_shift(6))
    np.testing.assert_allclose(corrected[:, :48], traces[:, :48] @ plain.T, atol=1e-5)
    np.testing.assert_allclose(corrected[:, 48:], traces[:, 48:][:, sources] @ fitted.T, atol=1e-5)


def test_methods_that_take_no_footprints_say_so():
    motions = {2: _motion(6.0), 5: _motion(5.0)}
    with pytest.raises(TypeError, match="footprints"):
        Interpolator(
            kriging.Kernel, kriging.Parameters(), _two_shanks(), motions, 1000.0, 50, footprints={5: learned()}
        )


@pytest.mark.parametrize("wrong", [{"bin_um": 0}, {"unseen": 0}, {"trace_noise": -1}, {"own_noise": 0}, {"em": 2}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Parameters(**wrong)


@pytest.mark.parametrize(
    ("lowest", "resting"), [(1, (3, 4, 2)), (-3, (3, 4, 2)), (0, (2, 4, 2)), (0, (3, 4, 3)), (0, (3, 5, 2))]
)
def test_footprints_that_do_not_fit_are_refused(lowest, resting):
    neighbours, displaced = np.zeros((4, 2), np.int32), np.zeros((3, 4, 2), np.float32)
    with pytest.raises(InputError, match="do not fit"):
        Footprints(4.0, lowest, neighbours, displaced, np.zeros(resting, np.float32))


def test_footprints_of_another_probe_are_refused():
    with pytest.raises(InputError, match="of 48 contacts do not fit a shank of 40"):
        Kernel(DEFAULT, POSITIONS[:40], footprints=learned())

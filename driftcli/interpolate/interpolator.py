"""Corrected traces: every contact's trace interpolated, within its shank, at its depth plus the displacement."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.interpolate import pieces, product
from driftcli.interpolate.weights import BadChannels, InterpolateParameters, Kernel, inside
from driftcli.model import CONTACT_LABELS, GOOD, Footprints, Geometry, Motion

_CACHED_WEIGHTS = 32  # per shank: enough for threads at work on neighbouring blocks; 0.1 MB each with local weights
_BINS_AT_ONCE = 1024
_INTERPOLATED, _AS_IT_IS, _ZERO = range(3)
_OUT_OF_BRAIN = CONTACT_LABELS.index("out_of_brain")


class Interpolator:
    """Takes the motion out of traces, any span of samples at a time, from several threads at once.

    kernel_class: the `Kernel` of an interpolation method, with its `parameters`.
    motions: the motion of each shank of the geometry, by shank number; other shanks' motions are not used.
    num_samples: length of the recording.
    labels: (C,) what is wrong with each contact, indices of `CONTACT_LABELS`; contacts that aren't good are no sources,
        and get what `parameters.bad_channels` says. None: all are good.
    footprints: of the shanks that have some, by shank number, for a method whose `Kernel` takes them; others raise a
        TypeError.
    kept_contacts: (C_out,) int64, the contacts that have a corrected trace, ascending: all of them, or with
        `remove_channels` those that in no temporal bin are moved past the ends of their shank.
    borrowed, silent: (C_out,) bool, which of these get a trace from others alone, and which get zeros, as something is
        wrong with them. Where a shank has no good contact there is nothing to borrow.

    Raises InputError if a shank has no motion or no contact is kept.
    """

    def __init__(
        self,
        kernel_class: type[Kernel[Any]],
        parameters: InterpolateParameters,
        geometry: Geometry,
        motions: Mapping[int, Motion],
        sampling_frequency_hz: float,
        num_samples: int,
        labels: NDArray[np.uint8] | None = None,
        footprints: Mapping[int, Footprints] | None = None,
    ) -> None:
        missing = [shank for shank, _ in geometry.each_shank() if shank not in motions]
        if missing:
            raise InputError(f"the motion has no shank {missing[0]}", "estimate it with the probe of this recording")
        labels = np.full(len(geometry), GOOD, np.uint8) if labels is None else labels
        removing = parameters.border_mode == "remove_channels"
        kept = always_inside(geometry, motions, labels) if removing else np.ones(len(geometry), bool)
        treatment = _treatment(geometry, labels, parameters.bad_channels)
        kept |= treatment == _AS_IT_IS
        if not kept.any():
            raise InputError(
                "the motion takes every contact past the end of its shank at some time, so none would be left",
                "set interpolate.border_mode to force_extrapolate or force_zeros",
            )
        self.kept_contacts = np.flatnonzero(kept).astype(np.int64)
        self.borrowed = ((labels != GOOD) & (treatment == _INTERPOLATED))[kept]
        self.silent = (treatment == _ZERO)[kept]
        self._all_own = not (self.borrowed | self.silent).any()
        self._shanks = [
            _Shank(
                _Weights(
                    kernel_class,
                    parameters,
                    geometry.positions_um[contacts],
                    np.flatnonzero(labels[contacts] == GOOD),
                    treatment[contacts],
                    None if footprints is None else footprints.get(shank),
                ),
                geometry.depths_um[contacts],
                contacts,
                kept,
                pieces.cut(motions[shank], parameters.time, sampling_frequency_hz, num_samples),
            )
            for shank, contacts in geometry.each_shank()
            if kept[contacts].any()
        ]

    def __call__(
        self, traces: NDArray[np.float32], start_sample: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Corrected traces (S, C_out) of the traces (S, C) that begin at `start_sample`; the input is left alone.

        out: an array of that shape to fill and return.
        """
        corrected = np.empty((len(traces), len(self.kept_contacts)), np.float32) if out is None else out
        for shank in self._shanks:
            shank.correct(traces, start_sample, corrected)
        return corrected

    def is_still(self, start_sample: int, stop_sample: int) -> bool:
        """Whether samples [start_sample, stop_sample) stay as they are: no window of a shank with kept contacts moves,
        and no kept contact gets its trace from others or zeros."""
        return self._all_own and all(shank.is_still(start_sample, stop_sample) for shank in self._shanks)


class _Weights:
    """Weights of a shank's contacts among each other (targets, sources), those of contacts that aren't good included.

    positions_um: (C, 2); sources: (S,) the good contacts; treatment: (C,) what becomes of each contact.
    footprints: of the shank, where the method takes them.
    """

    def __init__(
        self,
        kernel_class: type[Kernel[Any]],
        parameters: InterpolateParameters,
        positions_um: NDArray[np.float64],
        sources: NDArray[np.int64],
        treatment: NDArray[np.uint8],
        footprints: Footprints | None = None,
    ) -> None:
        self._sources = sources
        self._as_they_are, self._zero = (np.flatnonzero(treatment == each) for each in (_AS_IT_IS, _ZERO))
        good = positions_um[self._sources]
        learned: dict[str, Any] = {} if footprints is None else {"footprints": footprints, "sources": sources}
        self._kernel = kernel_class(parameters, positions_um, good, **learned) if len(good) else None

    def __call__(self, displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = np.zeros((len(displacement_um), len(displacement_um)))
        if self._kernel is not None:
            weights[:, self._sources] = self._kernel.weights(displacement_um)
        weights[self._zero] = weights[self._as_they_are] = 0.0
        weights[self._as_they_are, self._as_they_are] = 1.0
        return weights


def _treatment(geometry: Geometry, labels: NDArray[np.uint8], bad_channels: BadChannels) -> NDArray[np.uint8]:
    """(C,) what becomes of each contact: interpolated, as it is, or zero."""
    of_bad = {"interpolate": _INTERPOLATED, "keep": _AS_IT_IS, "zero": _ZERO}[bad_channels]
    treatment = np.where(labels == GOOD, _INTERPOLATED, of_bad).astype(np.uint8)
    if bad_channels == "interpolate":
        treatment[labels == _OUT_OF_BRAIN] = _ZERO
        without_sources = np.setdiff1d(geometry.shanks, geometry.shanks[labels == GOOD])
        treatment[np.isin(geometry.shanks, without_sources)] = _ZERO
    return treatment


class _Shank:
    """The corrected traces of one shank's contacts."""

    def __init__(
        self,
        kernel: _Weights,
        depths_um: NDArray[np.float64],
        contacts: NDArray[np.int64],
        kept: NDArray[np.bool_],
        schedule: pieces.Pieces,
    ) -> None:
        """contacts: of the shank; kept: (all contacts of the probe,) which of them have a corrected trace."""
        self._kernel = kernel
        self._depths_um = depths_um
        self._contacts = contacts
        self._targets = np.flatnonzero(kept[contacts])
        self._targets = self._targets[np.argsort(depths_um[self._targets], kind="stable")]
        self._columns = (np.cumsum(kept) - 1)[contacts[self._targets]]
        self._pieces = schedule
        self._recent = _Recent()

    def correct(self, traces: NDArray[np.float32], start_sample: int, corrected: NDArray[np.float32]) -> None:
        """Fill in this shank's columns of `corrected`, piece after piece."""
        stop_sample = start_sample + len(traces)
        overlapping = self._pieces.overlapping(start_sample, stop_sample)
        bounds = np.append(self._pieces.starts[overlapping.start : overlapping.stop], stop_sample) - start_sample
        bounds[0] = 0
        for piece, first, last in zip(overlapping, bounds[:-1], bounds[1:], strict=True):
            weights = self._weights(piece)
            product.add_up(traces, first, last, *weights, corrected)

    def is_still(self, start_sample: int, stop_sample: int) -> bool:
        overlapping = self._pieces.overlapping(start_sample, stop_sample)
        return bool(self._pieces.still[overlapping.start : overlapping.stop].all())

    def _weights(self, piece: int) -> product.PackedWeights:
        slot = self._recent.slot(self._pieces.displacement_um[piece].tobytes())
        with slot.lock:
            if slot.weights is None:
                displacement_um = self._pieces.displacement_at(piece, self._depths_um)
                weights = self._kernel(displacement_um)[self._targets]
                slot.weights = product.pack(weights, self._contacts, self._columns)
            return slot.weights


class _Slot:
    """Weights that one thread computes while the others that want them wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.weights: product.PackedWeights | None = None


class _Recent:
    """The weights of the displacements used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[bytes, _Slot] = OrderedDict()

    def slot(self, displacement: bytes) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault(displacement, _Slot())
            self._slots.move_to_end(displacement)
            if len(self._slots) > _CACHED_WEIGHTS:
                self._slots.popitem(last=False)
            return slot


def always_inside(
    geometry: Geometry, motions: Mapping[int, Motion], labels: NDArray[np.uint8] | None = None
) -> NDArray[np.bool_]:
    """(C,) which contacts stay between the good ones of their shank in all temporal bins of its motion."""
    good = np.ones(len(geometry), bool) if labels is None else labels == GOOD
    inside_always = np.zeros(len(geometry), bool)
    for shank, contacts in geometry.each_shank():
        positions_um = geometry.positions_um[contacts]
        if good[contacts].any():
            inside_always[contacts] = _stay_inside(positions_um, positions_um[good[contacts]], motions[shank])
    return inside_always


def _stay_inside(
    positions_um: NDArray[np.float64], sources_um: NDArray[np.float64], motion: Motion
) -> NDArray[np.bool_]:
    """The same of one shank; bins in batches, to bound the memory."""
    kept = np.ones(len(positions_um), bool)
    for first in range(0, len(motion.temporal_bins_s), _BINS_AT_ONCE):
        batch = slice(first, first + _BINS_AT_ONCE)
        part = Motion(motion.displacement_um[batch], motion.temporal_bins_s[batch], motion.spatial_bins_um)
        displacement = part.at(part.temporal_bins_s[:, None], positions_um[:, 1], "nearest_bin")
        kept &= inside(positions_um, displacement, sources_um).all(axis=0)
    return kept

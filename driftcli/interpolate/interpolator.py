"""Corrected traces: every contact's trace interpolated, within its shank, at its depth plus the displacement."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.interpolate import pieces, product
from driftcli.interpolate.weights import InterpolateParameters, Kernel, inside
from driftcli.model import Geometry, Motion

_CACHED_WEIGHTS = 32  # per shank: enough for threads at work on neighbouring blocks; 0.1 MB each with local weights
_BINS_AT_ONCE = 1024


class Interpolator:
    """Takes the motion out of traces, any span of samples at a time, from several threads at once.

    kernel_class: the `Kernel` of an interpolation method, with its `parameters`.
    motions: the motion of each shank of the geometry, by shank number; other shanks' motions are not used.
    num_samples: length of the recording.
    kept_contacts: (C_out,) int64, the contacts that have a corrected trace, ascending: all of them, or with
        `remove_channels` those that in no temporal bin are moved past the ends of their shank.

    Raises InputError if a shank has no motion or no contact is kept.
    """

    def __init__(
        self,
        kernel_class: type[Kernel],
        parameters: InterpolateParameters,
        geometry: Geometry,
        motions: Mapping[int, Motion],
        sampling_frequency_hz: float,
        num_samples: int,
    ) -> None:
        missing = [shank for shank, _ in geometry.each_shank() if shank not in motions]
        if missing:
            raise InputError(f"the motion has no shank {missing[0]}", "estimate it with the probe of this recording")
        removing = parameters.border_mode == "remove_channels"
        kept = always_inside(geometry, motions) if removing else np.ones(len(geometry), bool)
        if not kept.any():
            raise InputError(
                "the motion takes every contact past the end of its shank at some time, so none would be left",
                "set interpolate.border_mode to force_extrapolate or force_zeros",
            )
        self.kept_contacts = np.flatnonzero(kept).astype(np.int64)
        self._shanks = [
            _Shank(
                kernel_class(parameters, geometry.positions_um[contacts]),
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
        """Whether samples [start_sample, stop_sample) have zero motion in every window of shanks with kept contacts."""
        return all(shank.is_still(start_sample, stop_sample) for shank in self._shanks)


class _Shank:
    """The corrected traces of one shank's contacts."""

    def __init__(
        self,
        kernel: Kernel,
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
                weights = self._kernel.weights(displacement_um)[self._targets]
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


def always_inside(geometry: Geometry, motions: Mapping[int, Motion]) -> NDArray[np.bool_]:
    """(C,) which contacts stay inside their shank in all temporal bins of its motion."""
    inside_always = np.zeros(len(geometry), bool)
    for shank, contacts in geometry.each_shank():
        inside_always[contacts] = _stay_inside(geometry.positions_um[contacts], motions[shank])
    return inside_always


def _stay_inside(positions_um: NDArray[np.float64], motion: Motion) -> NDArray[np.bool_]:
    """The same of one shank; bins in batches, to bound the memory."""
    kept = np.ones(len(positions_um), bool)
    for first in range(0, len(motion.temporal_bins_s), _BINS_AT_ONCE):
        batch = slice(first, first + _BINS_AT_ONCE)
        part = Motion(motion.displacement_um[batch], motion.temporal_bins_s[batch], motion.spatial_bins_um)
        displacement = part.at(part.temporal_bins_s[:, None], positions_um[:, 1], "nearest_bin")
        kept &= inside(positions_um, displacement).all(axis=0)
    return kept

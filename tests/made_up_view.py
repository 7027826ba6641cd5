"""A correction that nobody made: neurons at some depths whose peaks drift, as the report shows them."""

import struct
import zlib

import numpy as np

from driftcli.model import (
    Assessment,
    Geometry,
    Mask,
    Motion,
    Scores,
    ShankAssessment,
)
from driftcli.report.view import ShownPeaks, View

RATE_HZ = 30_000.0
LENGTH_UM = 2_000.0
BREAK_S = 700.0


def view(n_peaks=20_000, n_shanks=1, duration_s=1_200.0, seed=0, **changes):
    """A View of two files with a step between them, two spans left out and three bad contacts.

    changes: fields of the View that are other than made up.
    """
    generator = np.random.default_rng(seed)
    motions = {shank: motion(duration_s, shank) for shank in range(n_shanks)}
    labels = np.zeros(200 * n_shanks, np.uint8)
    labels[[7, 11, 12]] = 1, 2, 2
    mask = Mask(*(np.array(values) for values in ([3_000_000, 12_000_000], [3_300_000, 12_060_000])), np.uint8([3, 1]))
    made_up = {
        "name": "mouse7_g0_t0.imec0",
        "duration_s": duration_s,
        "geometry": geometry(n_shanks),
        "labels": labels,
        "amplitude_unit": "uV",
        "num_peaks": 3 * n_peaks,
        "peaks": peaks(n_peaks, motions, duration_s, generator),
        "motions": motions,
        "mask": mask,
        "mask_rate_hz": RATE_HZ,
        "breaks_s": np.array([BREAK_S]),
        "assessment": assessment(motions),
        "corrections": {"corrected.bin": "this motion"},
        "other_peaks": False,
        "facts": facts(),
        "time_limits_s": (0.0, duration_s),
        "depth_limits_um": (0.0, LENGTH_UM),
    }
    return View(**{**made_up, **changes})


def geometry(n_shanks):
    depths = np.arange(200) * 10.0
    positions = [np.column_stack([250 * shank + 16.0 * (np.arange(200) % 4), depths]) for shank in range(n_shanks)]
    return Geometry(np.concatenate(positions), np.repeat(np.arange(n_shanks), 200))


def motion(duration_s, shank=0):
    """Slow waves that grow along the probe, breathing on top, and a step where the second file begins."""
    time_s, depth_um = np.arange(0.5, duration_s), np.linspace(150, LENGTH_UM - 150, 6)
    slow = 14 * np.sin(2 * np.pi * time_s / (500 + 80 * shank)) + 3 * np.sin(2 * np.pi * time_s / 61)
    step = 18.0 * (time_s >= BREAK_S)
    displacement = (slow + step)[:, None] * (0.6 + 0.4 * depth_um / LENGTH_UM)
    return Motion(displacement, time_s, depth_um, np.array([BREAK_S]))


def peaks(number, motions, duration_s, generator):
    time_s = np.sort(generator.uniform(0, duration_s, number))
    neuron = generator.integers(0, 70, number)
    place_um = np.sort(generator.uniform(20, LENGTH_UM - 20, 70))
    size_uv = 25 + generator.gamma(1.6, 40, 70)
    amplitude = -(size_uv[neuron] * generator.normal(1, 0.12, number)).clip(20)
    shank = neuron % len(motions)
    still_um = place_um[neuron] + generator.normal(0, 60 / np.sqrt(size_uv[neuron]), number)
    background = generator.random(number) < 0.3
    still_um[background] = generator.uniform(0, LENGTH_UM, background.sum())
    amplitude[background] = -(20 + generator.exponential(8, background.sum()))
    depth_um, corrected_um = still_um.copy(), still_um.copy()
    for each, moved in motions.items():
        rows = shank == each
        depth_um[rows] += moved.at(time_s[rows], still_um[rows])
        corrected_um[rows] = depth_um[rows] - moved.at(time_s[rows], depth_um[rows])
    inside = (depth_um >= 0) & (depth_um <= LENGTH_UM)
    columns = 250 * shank + generator.normal(24, 12, number), depth_um, corrected_um, amplitude
    return ShownPeaks(time_s[inside], *(values[inside].astype(np.float32) for values in columns), shank[inside])


def assessment(motions, verdict="helps"):
    reasons = (
        "peaks that the motion was not estimated from line up better: 0.41 before, 0.87 after",
        "two halves of the peaks agree on the motion to within 0.8 µm",
        "1.1 µm of motion is left in the corrected peaks, of a range of 43 µm",
    )
    scores = Scores(
        peaks=61_234,
        range_um=43.21,
        alignment_before=0.412,
        alignment_after=0.874,
        gain=0.462,
        gain_se=0.011,
        gain_held_out=0.447,
        gain_held_out_se=0.013,
        split_half_um=0.81,
        residual_um=1.12,
        error_um=0.64,
        leaving=0.012,
        at_limit=0.0125,
        jumps=3,
        unsupported_jumps=None,
    )
    shanks = {}
    for shank, moved in motions.items():
        phase = np.add.outer(moved.temporal_bins_s / 40, moved.spatial_bins_um / 300)
        error_um = 1.0 + 0.8 * np.sin(phase)
        error_um[80:90] = np.nan
        residual_um = 1.5 * np.cos(2 * phase)
        residual_um[80:90] = np.nan
        shanks[shank] = ShankAssessment(verdict, reasons, scores, error_um, residual_um)
    return Assessment(verdict, reasons, shanks)


def facts():
    """What `run.json` says after a run."""
    every = {
        "started": "2026-11-25T14:45:48+00:00",
        "command": ["driftcli", "run", "mouse7_g0_t0.imec0.ap.bin", "--preset", "dredge", "--set", "estimate.bin_s=1"],
        "jobs": 8,
        "chunk_s": 1.0,
        "cpu": "skylake-avx512",
        "versions": {"driftcli": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "numba": "0.68.1"},
    }
    signal = {"filter": {"method": "bandpass", "freq_min_hz": 300.0, "freq_max_hz": 6000.0, "order": 5}}
    blocks = {"total": 220, "kept": 0, "redone": 0}
    share = {"excluded": 0.0, "saturation": 0.0017, "gap": 0.0, "artifact": 0.0083, "any": 0.01}
    return {
        "peaks.h5": {
            "verb": "detect",
            **every,
            "preset": {
                **signal,
                "reference": {"method": "global_median", "operator": "median"},
                "detect": {"method": "locally_exclusive", "detect_threshold": 5.0, "radius_um": 50.0},
            },
            "mask": {"share": share},
            "times_s": {"bad channels": 1.91, "noise levels": 0.4, "detect and localize": 88.2, "total": 91.3},
            "counts": {"peaks": 1_061_234, "contacts": 200, "samples": 36_000_000},
            "checksums": {"peaks.h5": {"size_bytes": 41_233_120, "sha256": "3f" * 32}},
        },
        "motion.h5": {
            "verb": "estimate",
            **every,
            "preset": {"estimate": {"method": "dredge_ap", "rigid": False, "bin_s": 1.0, "max_disp_um": None}},
            "mask": {"share": share},
            "times_s": {"estimate": 12.7, "total": 13.1},
            "counts": {
                "peaks": 1_061_234,
                "temporal_bins": 1_200,
                "spatial_windows": 6,
                "displacement_um": [-14.2, 33.1],
            },
            "checksums": {"motion.h5": {"size_bytes": 120_233, "sha256": "a1" * 32}},
        },
        "corrected.bin": {
            "verb": "apply",
            **every,
            "preset": {**signal, "interpolate": {"method": "kriging", "sigma_um": 20.0, "p": 2.0}},
            "times_s": {"prepare": 0.3, "apply": 143.9, "total": 144.4},
            "counts": {"samples": 36_000_000, "columns": 200, "dtype": "int16", "blocks": blocks},
            "checksums": {"corrected.bin": {"size_bytes": 14_400_000_000, "crc32_of_blocks": "83bb8c12 8ac5bd3b"}},
        },
    }


def png(width, height, seed=None):
    """A PNG, grey or of noise that doesn't compress."""
    rows = np.full((height, width), 200, np.uint8)
    if seed is not None:
        rows = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    lines = np.column_stack([np.zeros(height, np.uint8), rows])
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 1)), (b"IEND", b"")]
    told = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(told)

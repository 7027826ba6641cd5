"""Draws what presets make of the peaks of a recording whose truth nobody knows: as they are, and corrected by each.

The verdict of `driftcli assess` stands over each panel. PEAKS is an .npz with time_s, depth_um and amplitude_uv.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from scenario_figures import save

from driftcli.model import Motion
from driftcli.report import style
from driftcli.store.motion import read_motion

MOST_POINTS = 25_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peaks", type=Path, metavar="PEAKS")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for motions, scores and real_peaks.png")
    parser.add_argument("--presets", default="dredge_fast,kilosort_like,likelihood")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    corrected = {preset: found(options.peaks, options.folder, preset) for preset in options.presets.split(",")}
    save(figure_of(dict(np.load(options.peaks)), corrected), options.folder, "real_peaks")


def found(peaks: Path, folder: Path, preset: str) -> tuple[Motion, str]:
    """The motion that a preset finds, and what is said of it."""
    motion, scores = folder / f"{preset}.motion.h5", folder / f"{preset}.assessment.h5"
    driftcli("estimate", str(peaks), "--preset", preset, "--out", str(motion))
    said = driftcli("assess", str(peaks), str(motion), "--out", str(scores))
    print(f"{preset}: {'; '.join(said['reasons'])}")
    shank = said["counts"]["shanks"]["0"]
    jumps, alignment = shank["jumps"], shank["alignment_after"]
    return read_motion(motion).motions[0], f"{preset}: {said['verdict']}, alignment {alignment:.2f}, {jumps} jumps"


def driftcli(*arguments: str) -> dict:
    command = [sys.executable, "-m", "driftcli", *arguments, "--overwrite", "--quiet", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


@style.in_house_style
def figure_of(peaks: dict[str, np.ndarray], corrected: dict[str, tuple[Motion, str]]):
    """Depths of peaks over time, darker the larger they are: as found, then less each motion."""
    every = -(-len(peaks["time_s"]) // MOST_POINTS)
    time_s, depth_um, size = (
        np.abs(peaks[name][::every]) if name == "amplitude_uv" else peaks[name][::every]
        for name in ("time_s", "depth_um", "amplitude_uv")
    )
    order = np.argsort(size, kind="stable")
    figure = style.new_figure(9.0, 1.6 * (1 + len(corrected)))
    panels = figure.subplots(1 + len(corrected), 1, sharex=True, sharey=True)
    depths = {"as found": depth_um} | {
        said: depth_um - motion.at(time_s, depth_um) for motion, said in corrected.values()
    }
    for panel, (title, depth) in zip(panels, depths.items(), strict=True):
        look = {"s": 0.6, "cmap": "viridis_r", "linewidths": 0, "rasterized": True}
        panel.scatter(time_s[order], depth[order], c=np.log(size[order]), **look)
        panel.set_title(title, loc="left")
        panel.set_ylabel("depth (µm)")
    panels[-1].set_xlabel("time (s)")
    panels[-1].set_xlim(time_s[0], time_s[-1])
    return figure


if __name__ == "__main__":
    main()

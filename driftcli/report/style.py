"""How figures look, whatever the user's matplotlib is set to: sizes, colours, units of time, and how they are written.

matplotlib is imported where something is drawn, never with this file; its windows (pyplot) are not used at all.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

import numpy as np
from numpy.typing import NDArray

from driftcli.report.view import View, amplitude_ends

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LogNorm, Normalize
    from matplotlib.figure import Figure

Given = ParamSpec("Given")

DPI = 150  # of a PNG, and of the points in an SVG
_MOST_PIXELS = 1800  # across: wide figures have fewer per inch
MOST_SHANKS = 16  # of a figure
SHANKS_A_ROW = 4  # more would be too narrow to read
INK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#c8c8c8"
BEFORE, AFTER = "#D55E00", "#0072B2"  # of Okabe and Ito, as are those below: they stay apart for all kinds of eyes
REASON_COLOURS = {"excluded": "#999999", "saturation": "#D55E00", "gap": "#0072B2", "artifact": "#CC79A7"}
LABEL_MARKS = {"dead": "X", "noisy": "^", "out_of_brain": "v", "reference": "s", "excluded": "D"}
_LONGEST_NAME = 44
_LONGEST_BAR_IN = 9.0
_SHADES = 48  # of the colours of amplitudes, more than an eye tells apart
_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that text is as wide everywhere
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "text.color": INK,
    "text.parse_math": False,  # names of files may hold any signs
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # text looks the same where the font isn't there
    "svg.hashsalt": "driftcli",  # names within an SVG are else random
    "agg.path.chunksize": 20_000,  # lines of long recordings are longer than Agg takes at once
}


@contextmanager
def house_style() -> Iterator[None]:
    """matplotlib as this file sets it for as long as the block runs; nothing of the user's matplotlibrc counts."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # it draws a box for a letter that the font lacks
        default: Any = matplotlib.rcParamsDefault
        settings: Any = matplotlib.rcParams
        settings.update({key: default[key] for key in default if "backend" not in key} | _RC)
        yield


def in_house_style(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Have a figure drawn in the style of the house."""

    @wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with house_style():
            return draw(*args, **kwargs)

    return drawn


def library_version() -> str:
    """The version of matplotlib, known without loading it."""
    return version("matplotlib")


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure that belongs to no window; its parts are laid out so that no text covers another."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dpi = min(DPI, round(_MOST_PIXELS / width_in))
    figure = Figure(figsize=(width_in, height_in), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, kind: str) -> bytes:
    """The figure as a file, `png` or `svg`. The same figure gives the same bytes."""
    file = BytesIO()
    with house_style():
        engine = figure.get_layout_engine()
        if engine is not None:  # once for all kinds, and without drawing all for it
            engine.execute(figure)
            figure.set_layout_engine(None)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=figure.dpi, metadata=metadata)
    return file.getvalue()


class AmplitudeColours(NamedTuple):
    """Colours of amplitudes without their sign: the larger, the darker, and the smallest still stand out from white."""

    norm: LogNorm
    colours: Colormap

    @classmethod
    def of(cls, amplitude: NDArray[np.float32]) -> AmplitudeColours:
        from matplotlib import colormaps
        from matplotlib.colors import LinearSegmentedColormap, LogNorm

        part = colormaps["magma_r"](np.linspace(0.22, 1.0, 256))
        return cls(LogNorm(*amplitude_ends(amplitude)), LinearSegmentedColormap.from_list("amplitudes", part))


def scatter(
    axes: Axes, x: NDArray[Any], y: NDArray[Any], amplitude: NDArray[np.float32], colours: AmplitudeColours, pixels: int
) -> None:
    """Points coloured by amplitude, the largest on top, each a square of some pixels; within an SVG they are a picture.

    Those of one shade are drawn together, from the smallest amplitude to the largest: a tenth of the time of a scatter.
    """
    sizes = np.maximum(np.abs(amplitude), np.finfo(np.float32).tiny)
    shades = np.clip(np.asarray(colours.norm(sizes), float) * _SHADES, 0, _SHADES - 1).astype(np.int64)
    order = np.argsort(shades, kind="stable")
    side = pixels * 72 / axes.figure.dpi
    bounds = np.searchsorted(shades[order], np.arange(_SHADES + 1))
    for shade in np.flatnonzero(np.diff(bounds)):
        rows = order[bounds[shade] : bounds[shade + 1]]
        colour = colours.colours((shade + 0.5) / _SHADES)
        look: dict[str, Any] = {"ls": "", "marker": "," if pixels == 1 else "s", "mew": 0, "color": colour, "ms": side}
        axes.plot(x[rows], y[rows], **look, rasterized=True, gid="peaks")


def point_pixels(count: int, width_in: float, height_in: float) -> int:
    """How many pixels wide a point is, 1 to 4: less where more of them share the panel. Whole ones, as edges between
    pixels make files of many points three times as large."""
    area = width_in * height_in * DPI**2
    return int(np.clip(np.sqrt(0.35 * area / max(count, 1)), 1, 4))


def amplitude_bar(figure: Figure, colours: AmplitudeColours, unit: str, axes: Sequence[Axes]) -> None:
    """What the colours of amplitudes mean, beside some panels."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import NullFormatter, NullLocator

    look: dict[str, Any] = {"extend": "both", "aspect": 40, "pad": 0.01, "fraction": 0.04}
    share = min(1.0, _LONGEST_BAR_IN / figure.get_figheight())  # at the top of tall figures
    bar = figure.colorbar(
        ScalarMappable(colours.norm, colours.colours), ax=axes, shrink=share, anchor=(0.0, 1.0), **look
    )
    bar.set_label(f"amplitude ({unit})")
    ticks = _round_values(colours.norm.vmin or 1.0, colours.norm.vmax or 10.0)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.outline.set_visible(False)


def _round_values(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 … between two values; the middle where there is none."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [float(f"{digit}e{exponent}") for exponent in exponents for digit in (1, 2, 5)]
    within = [value for value in values if low <= value <= high]
    return within or [float(f"{np.sqrt(low * high):.2g}")]


def symmetric(largest: float) -> Normalize:
    """Colours from `-largest` to `largest`, with the middle one for 0."""
    from matplotlib.colors import Normalize

    largest = largest if largest > 0 else 1.0
    return Normalize(-largest, largest)


def words_instead(axes: Axes, text: str) -> None:
    """Say why there is nothing to draw."""
    axes.text(
        0.5, 0.5, textwrap.fill(text, 40), ha="center", va="center", transform=axes.transAxes, color=GREY, gid="words"
    )


def title(figure: Figure, view: View, what: str, *, with_verdict: bool = True) -> None:
    """What is shown, of what, and what was found of it."""
    verdict = verdict_lines(view, int(11.5 * figure.get_figwidth())) if with_verdict else []
    lines = [f"{shortened(view.name)}: {what}", *verdict]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11)


def shortened(name: str, most: int = _LONGEST_NAME) -> str:
    """A name with its middle left out where it is too long for a title."""
    name = "".join(each if each.isprintable() else "?" for each in name)
    half = most // 2
    return name if len(name) <= most else f"{name[: half - 1]}…{name[-half:]}"


def verdict_lines(view: View, width: int) -> list[str]:
    """`helps: peaks line up better`, where there is an assessment, on at most two lines; of several shanks, whose
    reasons fill a page, only the verdict."""
    if view.assessment is None:
        return []
    reasons = "; ".join(view.assessment.reasons) if len(view.motions) == 1 else ""
    told = f"{view.assessment.verdict}: {reasons}" if reasons else view.assessment.verdict
    return textwrap.wrap(told, width, max_lines=2, placeholder=" …")


def shown_shanks(view: View, most: int = MOST_SHANKS) -> list[int]:
    """The shanks that are drawn: all, or of very many those with the most peaks, in order of their numbers."""
    peaks = {shank: int(np.count_nonzero(view.peaks.shank == shank)) for shank in sorted(view.motions)}
    return sorted(sorted(peaks, key=lambda shank: -peaks[shank])[:most])


def told_shanks(view: View, shanks: Sequence[int]) -> str:
    """Which shanks are drawn, where others are not."""
    if len(shanks) == len(view.motions):
        return ""
    told = ", ".join(map(str, shanks))
    return f" Of {len(view.motions)} shanks the {len(shanks)} with the most peaks are drawn: {told}."


def drawn(view: View) -> str:
    """How many peaks are drawn, and by which rule others are not."""
    count, total = len(view.peaks), view.num_peaks
    if count >= total:
        return f"all {total:,} peaks drawn"
    return f"{count:,} of {total:,} peaks drawn: every {_ordinal(round(total / count))} in order of time"


def _ordinal(number: int) -> str:
    """second, 4th, 32nd."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return "second" if number == 2 else f"{number}{ending}"


def caption(figure: Figure, text: str, marks: Sequence[Artist] = ()) -> None:
    """Small print below all, and what marks in the panels mean, by their labels."""
    lines = textwrap.fill(text, int(15.5 * figure.get_figwidth()))
    if not marks:
        figure.supxlabel(lines, x=0.01, ha="left", fontsize=8, color=GREY)
        return
    columns = max(1, int(figure.get_figwidth() / 1.6))
    legend = figure.legend(
        handles=list(marks), title=lines, loc="outside lower left", ncols=columns, alignment="left", title_fontsize=8
    )
    legend.get_title().set_color(GREY)

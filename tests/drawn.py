"""What a figure shows: artists by the names that were given them, texts that are drawn, and whether some collide."""

from itertools import combinations
from unittest.mock import patch

import numpy as np
from matplotlib.text import Text


def by_gid(axes, gid):
    """Artists of axes, or of all axes of a figure, that bear a name."""
    return axes.findobj(lambda artist: artist.get_gid() == gid)


def points(axes, gid="peaks"):
    """(N, 2) of all lines of a name, in the order in which they are drawn."""
    lines = [line.get_xydata() for line in by_gid(axes, gid)]
    return np.concatenate(lines) if lines else np.empty((0, 2))


def texts(figure):
    """Each text that is drawn, with its box in pixels."""
    found = []
    plain = Text.draw

    def draw(text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        return plain(text, renderer, *args, **kwargs)

    figure.draw_without_rendering()  # the layout is made in a first pass
    with patch.object(Text, "draw", draw):
        figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in dict.fromkeys(found)]


def collisions(figure):
    """Texts that cover each other by more than a pixel, and those that leave the figure."""
    boxes = texts(figure)
    found = [
        (one, other)
        for (one, a), (other, b) in combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    width, height = figure.bbox.size
    outside = [text for text, box in boxes if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    return found + outside


def axes_titled(figure, title):
    """Those axes of a figure whose title begins so."""
    return [axes for axes in figure.axes if axes.get_title(loc="left").startswith(title)]

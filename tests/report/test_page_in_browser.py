"""report.html in a real Chromium without a window: what is drawn, and what wheel, keys and fingers do to it."""

import base64
import json
import os
import shutil
import struct
import time

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

import made_up_view
from driftcli.report.page import page
from driftcli.report.view import TimeUnit

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FIGURES = {name: made_up_view.png(400, 300) for name in ("drift_map", "peaks_on_probe", "clusters", "times")}
WIDE, NARROW = 1280, 390
LINE, SPAN = (0, 114, 178), (107, 114, 128)  # colours of the map
OUTSIDE = (2, 2)  # of the map, on the screen


class Page:
    """The page as a reader has it before them."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width):
        is_phone = width < 500
        size = {"width": width, "height": 900, "deviceScaleFactor": 2 if is_phone else 1, "mobile": is_phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": is_phone, "maxTouchPoints": 2})
        self.console()
        self.driver.get(path.as_uri())
        self._wait(lambda _: self.data.get("frame"))
        return self

    def console(self):
        """What the console was told since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    @property
    def map(self):
        return self.driver.find_element(By.ID, "drift-map")

    @property
    def data(self):
        return self.run("return {...document.getElementById('drift-map').dataset}")

    @property
    def limits(self):
        data = self.data
        return tuple(float(data[name]) for name in ("timeFrom", "timeTo", "depthFrom", "depthTo"))

    @property
    def panels(self):
        return json.loads(self.data["panels"])

    @property
    def readout(self):
        return self.driver.find_element(By.ID, "drift-map-readout")

    def picture(self):
        """What the canvas shows, to compare with what it shows later."""
        return self.run("return document.getElementById('drift-map').toDataURL()")

    def colours(self, x, y, width, height):
        """{(red, green, blue): count} of some of the canvas's pixels."""
        script = """
            const map = document.getElementById('drift-map');
            const copy = new OffscreenCanvas(map.width, map.height).getContext('2d', {willReadFrequently: true});
            copy.drawImage(map, 0, 0);
            return [...copy.getImageData(...arguments).data];"""
        pixels = np.reshape(self.run(script, round(x), round(y), max(1, round(width)), max(1, round(height))), (-1, 4))
        found, counts = np.unique(pixels[:, :3], axis=0, return_counts=True)
        return dict(zip(map(tuple, found.tolist()), counts.tolist(), strict=True))

    def after(self, act, *arguments):
        """Do something, and wait until the map was drawn again."""
        frame = int(self.data["frame"])
        act(*arguments)
        self._wait(lambda _: int(self.data["frame"]) > frame)
        return self

    def _wait(self, condition):
        WebDriverWait(self.driver, 20, poll_frequency=0.02).until(condition)

    def press(self, *keys):
        self.after(self.map.send_keys, *keys)

    def click(self, selector):
        self.after(self.run, "document.querySelector(arguments[0]).click()", selector)

    def place(self, share_x, share_y, panel=0):
        """Where on the screen a place of a panel is, in CSS pixels."""
        self.run("document.getElementById('drift-map').scrollIntoView({block: 'center'})")
        box, panel = self.run("return document.getElementById('drift-map').getBoundingClientRect()"), self.panels[panel]
        x = box["left"] + panel["left"] + share_x * panel["width"]
        return round(x), round(box["top"] + panel["top"] + share_y * panel["height"])

    def mouse(self, kind, place, **more):
        event = {"type": kind, "x": place[0], "y": place[1], **more}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def wheel(self, place, turned, modifiers=0):
        self.after(lambda: self.mouse("mouseWheel", place, deltaX=0, deltaY=turned, modifiers=modifiers))

    def hover(self, place):
        for to, begins in ((OUTSIDE, "Showing"), (place, "time")):
            self.mouse("mouseMoved", to)
            self._wait(lambda _, begins=begins: self.readout.text.startswith(begins))
        data = self.run("return {...document.getElementById('drift-map-readout').dataset}")
        return self.readout.text, {name: float(value) for name, value in data.items()}

    def touch(self, kind, *places):
        points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(places)]
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("NOT TESTED: no chromium and chromedriver. As root: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def made_up():
    return made_up_view.view(20_000, n_shanks=2)


@pytest.fixture(scope="module")
def file(made_up, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(made_up, FIGURES), encoding="utf-8")
    return path


@pytest.fixture(params=[WIDE, NARROW])
def opened(driver, file, request):
    shown = Page(driver).open(file, request.param)
    yield shown
    assert shown.console() == []


@pytest.fixture
def wide(driver, file):
    shown = Page(driver).open(file, WIDE)
    yield shown
    assert shown.console() == []


def test_it_loads_whole_and_asks_for_nothing(opened, made_up):
    names = opened.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert all(name.startswith("data:") for name in names)
    widths = "[...document.querySelectorAll('figure img')].map((image) => [image.id, image.naturalWidth])"
    assert dict(opened.run(f"return {widths}")) == {f"figure-{name}": 400 for name in FIGURES}
    assert opened.driver.find_element(By.CSS_SELECTOR, ".verdict .word").text == "Helps"
    assert opened.driver.title == f"{made_up.name} · drift correction"


def test_the_page_of_a_real_run_is_whole(driver, small_run):
    path = small_run.report_path
    assert path.stat().st_size < 5_000_000
    shown = Page(driver).open(path, WIDE)
    images = "[...document.querySelectorAll('figure img')].map((i) => [i.id, [i.naturalWidth, i.naturalHeight]])"
    sizes = {f"figure-{name}": png_size(small_run.folder / f"figures/{name}.png") for name in FIGURES}
    assert all(min(size) > 300 for size in sizes.values())
    assert dict(shown.run(f"return {images}")) == sizes
    word = shown.driver.find_element(By.CSS_SELECTOR, ".verdict .word").text
    assert word.lower() == small_run.verdict
    assert int(shown.data["points"]) == pytest.approx(2 * len(small_run.peaks.time_s), rel=0.05)  # some are beyond
    assert shown.console() == []


def png_size(path):
    return list(struct.unpack(">II", path.read_bytes()[16:24]))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_as_many_peaks_as_there_may_be_are_drawn(driver, tmp_path, width):
    """How long it takes is printed: that of a busy machine says nothing."""
    path = tmp_path / "report.html"
    path.write_text(page(made_up_view.view(200_000), FIGURES), encoding="utf-8")
    began = time.monotonic()
    shown = Page(driver).open(path, width)
    loaded_s = time.monotonic() - began
    took_ms = []
    for name in ("in", "left", "right", "up", "down", "out"):
        shown.click(f"[data-action={name}]")
        took_ms.append(float(shown.data["frameMs"]))
    assert int(shown.data["points"]) > 390_000  # in both panels
    print(f"{width} px wide: loaded in {loaded_s:.1f} s, a frame in {np.median(took_ms):.0f} ms")
    assert shown.console() == []


def test_the_body_does_not_scroll_sideways(opened):
    opened.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    wide, seen = opened.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= seen
    beyond = """return [...document.querySelectorAll('body *')].filter((each) =>
        !each.closest('.scrolls table, dialog, .unseen') && each.getBoundingClientRect().right > innerWidth + 1)
        .map((each) => each.outerHTML.slice(0, 80))"""
    assert opened.run(beyond) == []


def test_all_peaks_of_the_shank_are_drawn_before_and_after(opened, made_up):
    rows = made_up.peaks.shank == 0
    low, high = made_up.depth_limits_um
    inside = [
        ((low <= depth) & (depth <= high))[rows].sum()
        for depth in (made_up.peaks.depth_um, made_up.peaks.corrected_depth_um)
    ]
    assert int(opened.data["points"]) == pytest.approx(sum(inside), abs=20)  # of those at the limits
    first, second = opened.panels
    for panel in (first, second):
        colours = opened.colours(panel["left"], panel["top"], panel["width"], 20)
        assert len(colours) > 30
    is_beside = first["left"] + first["width"] < second["left"]
    assert is_beside == (opened.run("return innerWidth") > 700)


def test_motion_and_its_expected_error_are_drawn_where_they_are(wide, made_up):
    """Colours of pixels of the panel before, zoomed in until an error of 1 µm is several pixels."""
    motion, panel = made_up.motions[0], wide.panels[0]
    row, column = 300, 2  # at 300.5 s, in the middle of the probe
    for _ in range(6):
        wide.wheel(wide.place(300.5 / 1_200, 1 - motion.spatial_bins_um[column] / 2_000), -400)
    begin_s, end_s, low_um, high_um = wide.limits
    per_um = panel["height"] / (high_um - low_um)
    line_um = motion.spatial_bins_um[column] + motion.displacement_um[row, column]
    error_px = per_um * made_up.assessment.shanks[0].error_um[row, column]
    x = panel["left"] + panel["width"] * (300.5 - begin_s) / (end_s - begin_s)
    y = panel["top"] + (high_um - line_um) * per_um
    assert LINE in wide.colours(x - 1, y - 2, 2, 5)
    seen = [wide.colours(x - 8, y + share * error_px, 16, 1) for share in (-1.5, -0.7, 0.7, 1.5)]
    tinted = [sum(count for (red, _, blue), count in colours.items() if blue > red + 20) for colours in seen]
    assert (np.array(tinted) > 4).tolist() == [False, True, True, False]
    wide.click("#with-motion")
    assert LINE not in wide.colours(x - 1, y - 2, 2, 5)


def test_spans_left_out_and_breaks_are_drawn_where_they_are(driver, tmp_path):
    sparse = tmp_path / "report.html"
    sparse.write_text(page(made_up_view.view(50), {}), encoding="utf-8")
    wide = Page(driver).open(sparse, WIDE)
    panel = wide.panels[0]
    spans, breaks = [], []
    for time_s in (90, 105, 120, 401, 500, 650, 700):
        x = panel["left"] + panel["width"] * time_s / 1_200
        spans.append(SPAN in wide.colours(x - 1, panel["top"] + 2, 3, 1))
        near = wide.colours(x - 1, panel["top"] + 10, 2, 300).items()
        breaks.append(sum(count for colour, count in near if max(colour) < 130) > 100)
    assert spans == [False, True, False, True, False, False, False]
    assert breaks == [False] * 6 + [True]


def test_before_after_and_both_are_different_pictures(opened):
    pictures = {}
    for view in ("before", "after", "both"):
        opened.click(f"input[value={view}]") if opened.data["view"] != view else None
        assert opened.data["view"] == view
        assert [panel["state"] for panel in opened.panels] == (["before", "after"] if view == "both" else [view])
        pictures[view] = opened.picture()
    assert len(set(pictures.values())) == 3
    opened.press("b")
    assert opened.data["view"] == "before"
    assert opened.picture() == pictures["before"]
    opened.click("#with-motion")
    assert opened.picture() != pictures["before"]


def test_the_wheel_zooms_at_the_pointer_and_a_double_click_shows_all(wide):
    home, first = wide.limits, wide.picture()
    place = wide.place(0.25, 0.75)
    wide.wheel(place, -400)
    begin_s, end_s, low_um, high_um = wide.limits
    assert end_s - begin_s == pytest.approx(np.exp(-0.6) * 1_200, rel=1e-3)
    assert (end_s - begin_s) / 1_200 == pytest.approx((high_um - low_um) / 2_000)
    assert begin_s + 0.25 * (end_s - begin_s) == pytest.approx(300, abs=2)  # what is under the pointer stays there
    assert low_um + 0.25 * (high_um - low_um) == pytest.approx(500, abs=4)
    assert wide.picture() != first
    assert int(wide.data["points"]) > 0
    ActionChains(wide.driver).move_to_element(wide.map).double_click().perform()
    wide._wait(lambda _: wide.limits == home)
    assert wide.picture() == first
    wide.wheel(place, -400, modifiers=8)  # Shift
    assert wide.limits[1] - wide.limits[0] < 700
    assert wide.limits[2:] == home[2:]


def test_the_page_scrolls_on_where_nothing_is_further_out(wide):
    place, was_at = wide.place(0.5, 0.5), wide.run("return scrollY")
    wide.mouse("mouseWheel", place, deltaX=0, deltaY=200)
    wide._wait(lambda _: wide.run("return scrollY") > was_at)
    assert wide.limits == (0, 1_200, 0, 2_000)


def test_dragging_moves_what_is_shown_as_far_as_the_pointer_goes(wide):
    wide.wheel(wide.place(0.5, 0.5), -400)
    before, panel = wide.limits, wide.panels[0]
    x, y = wide.place(0.5, 0.5)
    wide.mouse("mousePressed", (x, y), button="left", clickCount=1)
    wide.after(lambda: wide.mouse("mouseMoved", (x + 60, y + 40), button="left"))
    wide.mouse("mouseReleased", (x + 60, y + 40), button="left", clickCount=1)
    after = wide.limits
    moved_s = 60 / panel["width"] * (before[1] - before[0])
    moved_um = 40 / panel["height"] * (before[3] - before[2])
    expected = [before[0] - moved_s, before[1] - moved_s, before[2] + moved_um, before[3] + moved_um]
    np.testing.assert_allclose(after, expected, rtol=1e-6)
    wide.hover((x, y))
    assert wide.limits == after  # the button is up


def test_keys_and_buttons_do_the_same(opened):
    home = opened.limits
    found = {}
    for way in ("keys", "buttons"):
        steps = []
        for key, name in (
            ("+", "in"),
            ("+", "in"),
            (Keys.ARROW_LEFT, "left"),
            (Keys.ARROW_RIGHT, "right"),
            (Keys.ARROW_RIGHT, "right"),
            (Keys.ARROW_UP, "up"),
            (Keys.ARROW_DOWN, "down"),
            (Keys.ARROW_DOWN, "down"),
            ("-", "out"),
            ("0", "reset"),
        ):
            opened.press(key) if way == "keys" else opened.click(f"[data-action={name}]")
            steps.append(opened.limits)
        found[way] = steps
    assert found["keys"] == found["buttons"]
    steps = found["keys"]
    assert len(set(steps)) >= 8
    assert steps[-1] == home
    assert steps[2][0] < steps[1][0] < steps[4][0]
    assert steps[5][2] > steps[4][2] > steps[7][2]


def test_times_have_the_unit_that_they_have_in_figures(wide):
    wide.run("""window.told = [];
        const plain = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
            window.told.push(text);
            plain.call(this, text, ...place);
        };""")
    seen = set()
    for _ in range(8):  # from 20 minutes down to a minute
        wide.run("window.told.length = 0")
        wide.press("+")
        begin, end, *_ = wide.limits
        (label,) = {text for text in wide.run("return window.told") if text.startswith("time (")}
        assert label == TimeUnit.of(end - begin).label
        seen.add(label)
    assert seen == {"time (min)", "time (s)"}


def test_what_is_shown_stays_within_the_recording(opened):
    for _ in range(3):
        opened.press(Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    opened.press("-")
    assert opened.limits == (0, 1_200, 0, 2_000)
    opened.press(*"+" * 60)
    opened._wait(lambda _: opened.limits[1] - opened.limits[0] < 0.021)
    assert opened.limits[3] - opened.limits[2] == pytest.approx(4)


@pytest.mark.parametrize("at", [(0.1, 0.2), (0.5, 0.5), (0.583, 0.95), (0.584, 0.95), (0.9, 0.02)])
def test_the_readout_tells_the_motion_where_the_pointer_is(wide, made_up, at):
    text, told = wide.hover(wide.place(*at))
    assert told["time"] == pytest.approx(at[0] * 1_200, abs=3)
    assert told["depth"] == pytest.approx((1 - at[1]) * 2_000, abs=5)
    motion, found = made_up.motions[0], made_up.assessment.shanks[0]
    expected = float(motion.at(told["time"], told["depth"]))
    assert told["displacement"] == pytest.approx(expected, abs=0.002)
    assert f"displacement {told['displacement']:.2f} µm".replace("-", "\N{MINUS SIGN}") in text
    error = float(
        type(motion)(np.nan_to_num(found.error_um), motion.temporal_bins_s, motion.spatial_bins_um, motion.steps_s).at(
            told["time"], told["depth"]
        )
    )
    assert told["error"] == pytest.approx(error, abs=0.002)
    assert f"± {told['error']:.2f} µm" in text


def test_in_the_panel_after_it_is_that_of_where_the_tissue_was(wide, made_up):
    text, told = wide.hover(wide.place(0.8, 0.3, panel=1))
    assert "corrected depth" in text
    corrected = told["depth"] - made_up.motions[0].at(told["time"], told["depth"])
    assert corrected == pytest.approx(0.7 * 2_000, abs=5)


def test_what_was_left_out_and_what_nobody_knows_is_told(wide):
    text, told = wide.hover(wide.place(105 / 1_200, 0.5))
    assert 100 < told["time"] < 110
    assert "left out of the estimate (artifact)" in text
    text, told = wide.hover(wide.place(85 / 1_200, 0.5))
    assert 80.5 < told["time"] < 89.5
    assert "expected error" not in text
    wide.mouse("mouseMoved", OUTSIDE)
    wide._wait(lambda _: wide.readout.text == "Showing 0 s to 1,200 s, 0 µm to 2,000 µm.")


def test_motion_is_looked_up_as_driftcli_does(wide, made_up):
    """At bins, windows, steps and beyond the ends, of a motion with steps between bins and in empty sides."""
    motion = made_up.motions[1]
    generator = np.random.default_rng(3)
    time_s = np.r_[generator.uniform(-5, 1_210, 300), 700, 699.999, 700.001, motion.temporal_bins_s[[0, 699, 700, -1]]]
    depth_um = np.r_[generator.uniform(-100, 2_100, len(time_s) - 6), motion.spatial_bins_um]
    script = """
        const data = JSON.parse(document.getElementById('drift-map-data').textContent);
        const motion = new Motion(data.shanks[1].motion);
        return arguments[0].map((time, i) => motion.at(motion.displacement, time, arguments[1][i]));"""
    found = wide.run(script, time_s.tolist(), depth_um.tolist())
    np.testing.assert_allclose(found, motion.at(time_s, depth_um), atol=0.002)


def test_another_shank_is_another_picture_with_another_motion(wide, made_up):
    first = wide.picture()
    wide.after(Select(wide.driver.find_element(By.ID, "shank")).select_by_value, "1")
    assert wide.data["shank"] == "1"
    assert wide.picture() != first
    _, told = wide.hover(wide.place(0.4, 0.5))
    expected = [float(motion.at(told["time"], told["depth"])) for motion in made_up.motions.values()]
    assert told["displacement"] == pytest.approx(expected[1], abs=0.002)
    assert abs(expected[0] - expected[1]) > 0.1


def test_two_fingers_zoom_and_one_moves(driver, file):
    phone = Page(driver).open(file, NARROW)
    x, y = phone.place(0.5, 0.5)
    phone.touch("touchStart", (x - 20, y), (x + 20, y))
    for apart in (30, 45, 60):
        phone.touch("touchMove", (x - apart, y), (x + apart, y))
    phone.touch("touchEnd")
    phone._wait(lambda _: phone.limits[1] - phone.limits[0] < 500)
    begin_s, end_s, *_ = phone.limits
    assert end_s - begin_s == pytest.approx(400, rel=0.05)
    phone.touch("touchStart", (x, y))
    for moved in (15, 30, 60):
        phone.touch("touchMove", (x - moved, y))
    phone.touch("touchEnd")
    phone._wait(lambda _: phone.limits[0] > begin_s + 40)
    assert phone.limits[1] - phone.limits[0] == pytest.approx(end_s - begin_s)
    assert phone.console() == []


def test_a_figure_is_enlarged_and_closed(opened):
    dialog = opened.driver.find_element(By.ID, "enlarged")
    assert not dialog.is_displayed()
    opened.run("document.querySelector('.enlarge').focus()")
    opened.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert dialog.is_displayed()
    image = dialog.find_element(By.TAG_NAME, "img")
    assert opened.run("return [arguments[0].naturalWidth, arguments[0].clientWidth]", image) == [400, 400]
    opened.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


def test_what_is_folded_is_printed(wide):
    folded = "document.querySelectorAll('details:not([open])').length"
    assert wide.run(
        f"const before = {folded}; window.dispatchEvent(new Event('beforeprint')); return [before > 0, {folded}]"
    ) == [True, 0]
    wide.run("window.dispatchEvent(new Event('afterprint'))")
    assert wide.run(f"return {folded}") > 0
    assert len(base64.b64decode(wide.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])) > 10_000


def test_the_picture_follows_the_window(wide):
    before = wide.panels[0]["width"]
    size = {"width": 900, "height": 900, "deviceScaleFactor": 2, "mobile": False}
    wide.after(wide.driver.execute_cdp_cmd, "Emulation.setDeviceMetricsOverride", size)
    wide._wait(lambda _: wide.panels[0]["width"] < before)
    sizes = "const map = document.getElementById('drift-map'); return [map.width, map.clientWidth]"
    assert wide.run(sizes)[0] == 2 * wide.run(sizes)[1]


def test_the_policy_holds(wide):
    """What somebody would put into the page neither loads nor runs."""
    script = """
        const [done] = arguments;
        const refused = [];
        document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
        const image = new Image();
        image.src = 'http://127.0.0.1:9/a.png';
        document.body.append(image);
        const inline = document.createElement('script');
        inline.textContent = 'window.broken = true';
        document.body.append(inline);
        setTimeout(() => done([refused.sort(), window.broken === undefined]), 200);"""
    assert wide.driver.execute_async_script(script) == [["img-src", "script-src-elem"], True]
    assert len(wide.console()) == 2


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_without_verdict_figures_facts_peaks_and_motion_it_still_works(driver, tmp_path, width):
    peaks = made_up_view.view(50).peaks
    none = type(peaks)(*(values[:0] for values in vars(peaks).values()))
    bare = made_up_view.view(50, assessment=None, facts={}, labels=None, motions={}, peaks=none, num_peaks=0)
    path = tmp_path / "report.html"
    path.write_text(page(bare, {}), encoding="utf-8")
    shown = Page(driver).open(path, width)
    shown.press("+")
    shown.hover(shown.place(0.5, 0.5))
    assert shown.data["points"] == "0"
    assert shown.console() == []

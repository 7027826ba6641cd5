"""The documents: links lead somewhere, pages are in the menu, what they tell to type is there, and recipes work."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import h5py
import numpy as np
import pytest
import yaml

import documents
import make_spikeglx
import small_recording
from driftcli.model import VERDICTS
from readme_tables import README, ROOT
from readme_tables import documents as all_documents

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
each_document = pytest.mark.parametrize("document", all_documents(), ids=lambda path: str(path.relative_to(ROOT)))


def text_of(document):
    return document.read_text("utf-8")


@each_document
def test_links_lead_somewhere(document):
    for link in documents.links(text_of(document)):
        path, _, anchor = link.partition("#")
        if path.startswith("https://"):
            continue
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT if document.parent == ROOT else DOCS), f"{link} leads out of its tree"
        assert target.is_file(), f"{link} is not there"
        assert not anchor or anchor in documents.anchors(text_of(target)), f"{link}: no such heading"


def pages_of(nav):
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_is_in_the_menu_once():
    menu = list(pages_of(yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]))
    assert sorted(menu) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_every_page_is_linked_from_the_first():
    linked = {link.partition("#")[0] for link in documents.links(text_of(DOCS / "index.md"))}
    assert linked == {page.name for page in PAGES} - {"index.md"}


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed: pip install -e '.[docs]'")
def test_the_pages_are_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in PAGES:
        built = tmp_path / "site" / ("" if page.stem == "index" else page.stem) / "index.html"
        rows = len(re.findall(r"^\| ---", text_of(page), re.MULTILINE))
        assert built.read_text("utf-8").count("<table>") == rows, f"{page.name}: a table is not taken for one"


@each_document
def test_blocks_say_what_they_are_and_can_be_read(document):
    for fence in documents.fences(text_of(document)):
        assert fence.language in ("sh", "python", "text", "diff", "yaml"), fence.text
        if fence.language == "sh":
            done = subprocess.run(["bash", "-n"], input=fence.text, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr + fence.text
        elif fence.language == "python":
            compile(fence.text, document.name, "exec")
        elif fence.language == "yaml":
            yaml.safe_load(fence.text)


@each_document
def test_commands_and_options_are_there(document):
    wrong = [wrong for words in documents.calls(text_of(document)) if (wrong := documents.wrong_with(words))]
    assert not wrong


def test_what_is_not_there_is_found():
    text = "`driftcli run rec.bin --prob x` and\n```sh\nfor x in y; do driftcli runn x; done\n```\n"
    text += '```sh\nsbatch --wrap "driftcli detect rec.bin \\\n --shard 1/2 --exact"\n```\n'
    text += "`driftcli presets show NAME --set a.b=1 > x --no` and `driftcli --version`"
    found = [documents.wrong_with(words) for words in documents.calls(text)]
    assert sorted(filter(None, found)) == ["detect has no --exact", "no command runn", "run has no --prob"]


def test_anchors_are_those_of_mkdocs():
    text = "# Did it help?\n## `all`: 1 & 2\n```sh\n# no heading\n```\n### run.json\n"
    assert documents.anchors(text) == {"did-it-help", "all-1-2", "runjson"}


@pytest.fixture
def folder(tmp_path):
    """What recipes begin with: `rec.bin` and `day1.bin` with their probe, and a SpikeGLX pair in `data`."""
    data = small_recording.samples(120_000, 24)
    binary, probe = small_recording.write(tmp_path, data)
    probe.rename(tmp_path / "probe.json")
    shutil.copy(binary, tmp_path / "day1.bin")
    run = "mouse7_g0/mouse7_g0_t0.imec0.ap.bin"
    meta = make_spikeglx.with_values(make_spikeglx.made_meta("NP1", saved=24), fileName=f"D:/data/{run}")
    (tmp_path / "data/mouse7_g0_imec0").mkdir(parents=True)
    with_sync = np.hstack([data, np.zeros((len(data), 1), data.dtype)])
    make_spikeglx.make_spikeglx(tmp_path / "data/mouse7_g0_imec0", meta, with_sync)
    return tmp_path


def follow(document, folder, programs, **how):
    """Run the blocks that are marked as tested, one after the other, in the folder."""
    programs.mkdir()
    for name, call in (("driftcli", "-m driftcli"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = documents.shell_script(document, **how)
    assert "# block 2" in script
    done = subprocess.run(
        ["bash"], input=script, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done


QUICK_AND_SLOW = pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])


@pytest.mark.slow
def test_what_the_page_of_pictures_tells_to_type_works(folder, tmp_path):
    recording = [sys.executable, "-m", "driftcli", "run", "rec.bin", "--probe", "probe.json", "--quiet"]
    subprocess.run(recording, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=300)
    follow(DOCS / "pictures.md", folder, tmp_path / "programs", slow=True)
    for picture in ("rec.driftcli/figures/clusters.svg", "first_seconds/report.html", "presets.png"):
        assert (folder / picture).stat().st_size > 1_000


@QUICK_AND_SLOW
def test_the_recipes_of_the_cookbook_work(folder, tmp_path, slow):
    done = follow(DOCS / "cookbook.md", folder, tmp_path / "programs", slow=slow)
    assert not (folder / "failed.txt").exists()
    for corrected in ["rec.driftcli", "day1.driftcli", "edited", *["own", "tried/kilosort_like"][: 2 * slow]]:
        assert (folder / corrected / "corrected.bin").stat().st_size == (folder / "rec.bin").stat().st_size
    assert len(list((folder / "data").rglob("mouse7_driftcorr_g0_t0.imec0.ap.meta"))) == slow
    assert ("peaks, moved by" in done.stdout) == slow
    assert any(f"{verdict}\t" in done.stdout for verdict in VERDICTS) == slow


@QUICK_AND_SLOW
def test_the_worked_example_of_the_readme_works(folder, tmp_path, slow):
    follow(README, folder / "data", tmp_path / "programs", slow=slow)
    corrected = folder / "data/mouse7_g0_imec0/mouse7_g0_t0.imec0.ap.driftcli"
    assert (corrected / "mouse7_driftcorr_g0_t0.imec0.ap.bin").is_file()
    assert (corrected / "kilosort_probe.json").is_file()


# what is there only with some methods, gains, files or shanks
AT_TIMES = {"peaks/z_um", "peaks/alpha", "peaks/y_corrected_um", "shank0/steps_s", "shank1/..."}


def layout_told(section):
    """What a section of the page on files names: datasets, `@name` of attributes, `group@name` of those of groups."""
    text = text_of(DOCS / "files.md")
    found = set()
    for place, what in re.findall(
        r"^\| (.*?) \| (.*) \|$", text.partition(f"\n## {section}\n")[2].partition("\n## ")[0], re.M
    ):
        names = re.findall(r"`([^`]+)`", place)
        if place.startswith("attributes of"):
            found |= {f"{names[0]}@{name}" for name in re.findall(r"`(\w+)`", what)}
        elif place.startswith("attribute"):
            found |= {f"@{name}" for name in names}
        elif section == "assessment.h5" and "/" not in place:  # scores
            found |= {f"shank0@{name}" for name in names}
        else:
            found |= set(names)
    return found


def layout_of(file):
    """The same of a file. Every dataset must say what it is, in which unit."""
    found = {f"@{name}" for name in file.attrs}

    def visit(path, item):
        if isinstance(item, h5py.Dataset):
            assert set(item.attrs) == {"unit", "description"}, path
            found.add(path)
        else:
            found.update(f"{path}@{name}" for name in item.attrs)

    file.visititems(visit)
    return found


@pytest.mark.parametrize("name", ["peaks.h5", "motion.h5", "assessment.h5"])
def test_the_page_of_files_tells_all_that_a_file_holds(small_run, name):
    common = layout_told("In all HDF5 files")
    if name == "assessment.h5":
        common = {place for place in common if place.startswith("@")}
    with h5py.File(small_run.folder / name) as file:
        there = layout_of(file)
    assert len(there) > 10
    told = common | layout_told(name)
    assert sorted(there - told) == [], "not on the page"
    assert sorted(told - there - AT_TIMES) == [], "not in the file"

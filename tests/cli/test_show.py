"""The summary at the end of a verb."""

from driftcli.cli.show import motion_rows, summary_rows


def fact(total_s, counts, files, **others):
    sums = {name: {"size_bytes": n_bytes, "sha256": "x"} for name, n_bytes in files.items()}
    return {"times_s": {"total": total_s}, "counts": counts, "checksums": sums, "output": "o/x", **others}


DETECT = fact(
    90.0,
    {"peaks": 1_234_567, "contacts": 384},
    {"peaks.h5": 12_300_000},
    bad_channels={"dead": [5], "out_of_brain": [380, 381]},
    mask={"share": {"excluded": 0.0, "saturation": 0.01, "gap": 0.0, "artifact": 0.002, "any": 0.012}},
)
ESTIMATE = fact(
    0.5, {"spatial_windows": 9, "temporal_bins": 7200, "displacement_um": [-12.34, 30.0]}, {"motion.h5": 999}
)
APPLY = fact(
    3600.0,
    {"columns": 385, "dtype": "int16", "removed_contacts": 1, "clipped_values": 2},
    {"corrected.bin": 1.66e11, "probe.json": 15_498},
)


def test_a_run_tells_what_was_found_how_fast_and_where_it_is():
    rows = summary_rows({"detect": DETECT, "estimate": ESTIMATE, "apply": APPLY}, 7200.0)
    assert rows == {
        "peaks": "1,234,567 on 384 contacts",
        "bad channels": "1 dead, 2 out of brain",
        "left out": "1.20% of the time: saturation 1.00%, artifact 0.20%",
        "motion": "9 spatial windows × 7,200 temporal bins",
        "displacement": "-12.3 to +30.0 µm",
        "corrected": "385 columns of int16, 1 contact at the border removed, 2 values clipped",
        "time": "1 h 2 min for 2 h of recording (2.0 × real time)\n"
        "detect 1 min 30 s (80.0 × real time)\n"
        "estimate 0.5 s (14,400 × real time)\n"
        "apply 1 h (2.0 × real time)",
        "files": "peaks.h5  12.3 MB\nmotion.h5  999 bytes\ncorrected.bin  166 GB\nprobe.json  15.5 kB\nrun.json",
    }


def test_what_was_not_corrected_is_not_said_to_be():
    kept = APPLY | {"verdict": "no drift found", "corrected": False}
    rows = summary_rows({"apply": kept})
    assert "corrected" not in rows
    assert rows["written"].startswith("not corrected (no drift found): 385 columns of int16, ")
    helped = summary_rows({"apply": APPLY | {"verdict": "helps", "corrected": True}})
    assert helped["corrected"].startswith("385 columns of int16")
    assert "written" not in helped


def test_one_verb_without_a_recording_tells_its_time():
    rows = summary_rows({"estimate": ESTIMATE})
    assert list(rows) == ["motion", "displacement", "time", "files"]
    assert rows["time"] == "0.5 s"


def test_how_uncertain_a_motion_is_is_told_beside_how_far_it_goes():
    told = {**ESTIMATE["counts"], "deviation_um": {"median": 0.3126, "largest": 12.0}}
    rows = motion_rows(told)
    assert list(rows) == ["motion", "displacement", "deviation"]
    assert rows["deviation"] == "0.31 µm in the median, 12.00 µm at most"


def test_a_clean_recording_has_no_rows_of_what_is_wrong():
    clean = DETECT | {"bad_channels": {}, "mask": {"share": {"gap": 0.0, "any": 0.0}}}
    assert list(summary_rows({"detect": clean}, 10.0)) == ["peaks", "time", "files"]


def test_a_shard_tells_what_is_missing():
    shard = {"shard": "1/3", "missing": ["2/3"]}
    assert summary_rows({"detect": shard}, 10.0) == {"detect": "shard 1/3 is done, 1 other not done yet"}
    assert summary_rows({"detect": shard | {"missing": []}}) == {"detect": "shard 1/3 is done, as are all others"}


def test_shanks_are_told_where_there_are_several():
    counts = {"shanks": 4, "spatial_windows": 4, "temporal_bins": 1}
    assert motion_rows(counts) == {"motion": "4 shanks, 4 spatial windows × 1 temporal bin"}

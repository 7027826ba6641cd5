"""The probe that the meta of a SpikeGLX recording describes.

The imro table tells which sites of which probe the channels are connected to, and probeinterface where those are. Newer
metas have the places themselves, in `~snsGeomMap`: they must agree, and stand in where the probe isn't known.
Source: the probe table of SpikeGLX by way of probeinterface 0.4.2; for phase 3A, SpikeGLX's IMROTbl_T3A.cpp.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from probeinterface import Probe, read_spikeglx
from probeinterface.neuropixels_tools import build_neuropixels_probe

from driftcli.errors import InputError
from driftcli.recording.families import family_of
from driftcli.recording.meta import Meta, shown
from driftcli.recording.saved_channels import SavedChannels, places_of
from driftcli.reporter import Reporter

_PASSED_ON = ("~imroTbl", "imDatPrb_sn", "imProbeSN", "imDatPrb_port", "imDatPrb_slot")
_CHANNELS_IN_A_BANK = 384
_OPTION_4, _CHANNELS_OF_OPTION_4 = "4", 276
_CONTACT_UM = 12.0  # the side of the contacts of nearly all Neuropixels probes
_SAME_PLACE_UM = 1.0


def meta_probe(meta: Meta, saved: SavedChannels, reporter: Reporter) -> Probe:
    """The probe of the saved AP channels, wired to the file's columns. Raises InputError where it can't be told."""
    if "~snsGeomMap" in meta.values and ("~imroTbl" not in meta.values or not _is_known(meta.part)):
        reporter.message(f"{meta.path.name}: taking the contacts of part {shown(meta.part)} from its ~snsGeomMap")
        return _probe_of_places(meta, saved)
    meta.text("~imroTbl")
    try:
        probe = _probe_of_imro(meta, saved)
    except Exception as error:  # an unknown part number or table shows itself as nearly any exception
        gain = "" if family_of(meta) else ", and --gain-to-uv"
        raise InputError(
            f"{meta.path.name}: no geometry for probe type {meta.type_named} "
            f"(part {meta.shown('imDatPrb_pn')}): {type(error).__name__}: {shown(str(error))}",
            f"give --probe with the positions of its contacts{gain}",
        ) from error
    _require_all_channels(meta, saved, probe)
    _require_same_places(meta, saved, probe)
    return probe


def num_sites(part: str) -> int | None:
    """How many sites the probe of a part number has, of which a recording is of some; None for one that isn't known."""
    try:
        return int(build_neuropixels_probe(part).get_contact_count())
    except KeyError:
        return None


def _is_known(part: str) -> bool:
    return num_sites(part) is not None


def _probe_of_imro(meta: Meta, saved: SavedChannels) -> Probe:
    """By probeinterface, which opens a file itself and takes the machine's encoding: it gets one in plain ASCII."""
    values = {key: meta.values[key] for key in _PASSED_ON if key in meta.values and meta.values[key].isascii()}
    if meta.is_3a:
        values |= {"imProbeOpt": "3", "~imroTbl": _in_banks_of_384(meta)}
    else:
        values["imDatPrb_pn"] = meta.part
    values["snsSaveChanSubset"] = ",".join(map(str, saved.acquired.tolist()))
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.meta"
        copy.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="ascii")
        return read_spikeglx(copy)


def _in_banks_of_384(meta: Meta) -> str:
    """The imro table of a probe of phase 3A; that of option 4, which has banks of 276 channels, as the others have it.

    The sites lie as in the other options; its last six, 960 to 965, are not known to probeinterface.
    """
    header, entries = meta.entries("~imroTbl")
    if header.split(",")[1].strip() != _OPTION_4:
        return meta.text("~imroTbl")
    table = f"({header})"
    for channel, bank, *settings in (entry.split() for entry in entries):
        in_bank, of_384 = int(channel), divmod(int(bank) * _CHANNELS_OF_OPTION_4 + int(channel), _CHANNELS_IN_A_BANK)
        if in_bank >= _CHANNELS_OF_OPTION_4:
            raise ValueError(f"channel {in_bank} of option 4")
        table += f"({of_384[1]} {of_384[0]} {' '.join(settings)})"
    return table


def _probe_of_places(meta: Meta, saved: SavedChannels) -> Probe:
    header, _ = meta.entries("~snsGeomMap")
    shanks, x, y, _ = places_of(meta, "~snsGeomMap", saved).T
    found = re.fullmatch(r"[^,]*,[^,]*,\s*([0-9]{1,5}(?:\.[0-9]{1,9})?)\s*,[^,]*", header)
    if found is None:
        raise InputError(
            f"{meta.path.name} has a ~snsGeomMap whose header is not (part,shanks,shank pitch,shank width)",
            "give --probe with the positions of its contacts",
        )
    shank_pitch_um = float(found[1])
    probe = Probe(ndim=2, si_units="um", model_name=meta.part, manufacturer="imec")
    probe.set_contacts(
        positions=np.column_stack([x + shank_pitch_um * shanks, y]),
        shapes="square",
        shape_params={"width": _CONTACT_UM},
        shank_ids=shanks.astype(int).astype(str),
    )
    probe.set_device_channel_indices(np.arange(saved.num_ap))
    return probe


def _require_all_channels(meta: Meta, saved: SavedChannels, probe: Probe) -> None:
    """probeinterface takes row i of the table for channel i, and leaves channels out that it ends before."""
    _, entries = meta.entries("~imroTbl")
    firsts = [re.match(r"\s*([0-9]{1,9})(?:\s|\Z)", entry) for entry in entries]
    ordered = meta.probe_type == 1110 or all(each and int(each[1]) == row for row, each in enumerate(firsts))
    if probe.get_contact_count() != saved.num_ap or not ordered:
        raise InputError(
            f"{meta.path.name}: its ~imroTbl has no entry for every saved channel, in their order",
            "take the meta file that SpikeGLX wrote, or give --probe with the positions of its contacts",
        )


def _require_same_places(meta: Meta, saved: SavedChannels, probe: Probe) -> None:
    """Shank by shank, the two sources may differ by where they count from."""
    if "~snsGeomMap" not in meta.values:
        return
    shanks, *there, _ = places_of(meta, "~snsGeomMap", saved).T
    ids = np.zeros(saved.num_ap) if probe.shank_ids is None else np.array([float(each) for each in probe.shank_ids])
    off = np.asarray(probe.contact_positions) - np.column_stack(there)
    same = (ids == shanks).all() and all(
        (np.ptp(off[shanks == shank], axis=0) <= _SAME_PLACE_UM).all() for shank in np.unique(shanks)
    )
    if not same:
        raise InputError(
            f"{meta.path.name} contradicts itself: its ~imroTbl and ~snsGeomMap have contacts in other places",
            "take the meta file that SpikeGLX wrote, or give --probe with the positions of its contacts",
        )

"""Families of Neuropixels probes: what probes with one kind of converter have in common.

Source: the probe table of SpikeGLX (github.com/billkarsh/ProbeTable, table version 1.8) and its metadata pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftcli.errors import InputError
from driftcli.recording.meta import Meta


@dataclass(frozen=True)
class Family:
    """How probes state their gain, and what holds where the meta of an early release doesn't say.

    name: what its probes are called.
    gains_in_imro: whether there is a gain per channel in the imro table; else all have one, `fixed_gain`.
    max_int: the converter gives -max_int to max_int - 1.
    takes_lf: whether the converters take LF channels, too.
    """

    name: str
    gains_in_imro: bool
    max_int: int
    fixed_gain: float
    takes_lf: bool


NEUROPIXELS_1 = Family("Neuropixels 1.0, NHP, Ultra", gains_in_imro=True, max_int=512, fixed_gain=0.0, takes_lf=True)
NEUROPIXELS_2_PROTOTYPE = Family(
    "Neuropixels 2.0, prototypes", gains_in_imro=False, max_int=8192, fixed_gain=80.0, takes_lf=False
)
NEUROPIXELS_2 = Family("Neuropixels 2.0, NXT", gains_in_imro=False, max_int=2048, fixed_gain=100.0, takes_lf=False)

# The numbers of part numbers, and those of types (0, 21, 24, and otherwise one of the parts) in one.
NUMBERS = {
    NEUROPIXELS_1: (
        *(0, 1000, 1001, *range(1010, 1018), *range(1020, 1023), *range(1030, 1034), *range(1040, 1043), 1050, 1051),
        *(1100, 1110, *range(1120, 1124), 1200, 1210, 1221, 1300, 1400, 3000),
    ),
    NEUROPIXELS_2_PROTOTYPE: (21, 24, 2000, 2010),
    NEUROPIXELS_2: (*range(2003, 2007), 2013, 2014, *range(2020, 2023), 2300, *range(3010, 3013), *range(3020, 3025)),
}
_FAMILY_OF = {number: family for family, numbers in NUMBERS.items() for number in numbers}


def family_of(meta: Meta) -> Family | None:
    """The family of the meta's probe, None for one that isn't known. Raises InputError for two at once."""
    by_type, by_part = _FAMILY_OF.get(meta.probe_type), _FAMILY_OF.get(meta.number_of_part)
    if by_type and by_part and by_type is not by_part:
        raise InputError(
            f"{meta.path.name} contradicts itself: probe type {meta.type_named}, part {meta.shown('imDatPrb_pn')} "
            f"({by_type.name}; {by_part.name})",
            "take the meta file that SpikeGLX wrote",
        )
    return by_type

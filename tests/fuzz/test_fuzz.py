"""Whatever a file holds, its reader reads it or says what is wrong, soon and in little memory.

200 spoiled inputs a reader, all of them on any machine; benchmarks/fuzz.py reads as many as one likes. A failure is
told with its seed and number: `python tests/fuzz/run.py READER SEED NUMBER 1` reads that input again.
"""

import pytest

from fuzz.children import read_spoiled
from fuzz.readers import READERS

SEED, INPUTS = 0, 200


@pytest.mark.parametrize("name", READERS)
def test_spoiled_inputs_are_read_or_refused(name):
    found = read_spoiled(name, SEED, 0, INPUTS)
    assert found["failures"] == []
    assert found["inputs"] == INPUTS
    assert 0 < found["refused"] < found["inputs"]  # some of the mutations do no harm, most do

"""`.prb` files: the same probe as the program that runs them gives, and nothing is run."""

import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probeinterface import read_prb as run_prb

from driftcli.errors import InputError
from driftcli.recording.prb import read_prb

SAME = {
    "klusta": """
total_nb_channels = 8
radius = 100
channel_groups = {
    0: {
        'channels': [3, 1, 0],  # in this order
        'graph': [[0, 1], [1, 3]],
        'geometry': {3: (0, 0), 1: [16, 20.5], 0: (-1e1, +40)},
    },
    1: {'channels': list(range(4, 6)), 'geometry': {4: (0, 5), 5: (0, 25)}},
}
""",
    "spyking circus": """
'''A linear probe'''
total_nb_channels = 6
radius            = 250
pitch: float = 20
channel_groups = {1: {"channels": list(range(6)), "graph": [], "geometry": {}}}
for i in range(6):
    channel_groups[1]["geometry"][i] = [i % 2 * 16.0, i // 2 * pitch / 2 + 3 - 1]
""",
    "comprehensions": """
n, pitch = 4, 20
i = 7
channel_groups = {}
for shank in range(3):
    first = shank * n
    channel_groups[shank] = {
        'channels': [first + i for i in range(n)],
        'geometry': {
            first + row * 2 + side: (250 * shank + side * 16 + i, row * pitch) for row in range(2) for side in range(2)
        },
    }
""",
    "append": """
channels = []
positions = ()
for c, place in enumerate([(0, 0), (0, 20), (5, 40)]):
    channels.append(c)
    positions += (place,)
channels += [3]
positions = positions + ((9, 9),)
Channel_Groups = {'a': dict(channels=tuple(channels), geometry=positions)}
""",
    "zip": """
xs = [0] * 3 + [32] * len([1, 2, 3])
ys = [0., 20., 40.] * 2
chans = range(6)
geometry = dict(zip(chans, list(zip(xs, ys))))
last = geometry[5]
geometry[5] = (last[0], float(int(last[-1])) + 1)
channel_groups = {0: {'geometry': geometry, 'channels': [2, 1, 0][::-1] + [3.0, 4.0, 5.0]}}
""",
    "conditions": """
wide = False
pitch = 10 * 2 ** 1
print('pitch', pitch)
sites = {5: (0, 0), 3: (16, 0.5 ** -2), 1: (0, pitch)}
dead = [7, 9]
if 0 < pitch <= 20 != 3:
    sites[2] = (3, 3)
elif wide:
    sites[4] = (4, 4)
else:
    sites[6] = (6, 6)
wired = [c for c in sorted(sites.keys()) if c not in dead if c != 6]
name = 'geo' + 'metry'
channel_groups = {0: {'channels': list(reversed(wired)), name: {c: xy for c, xy in sites.items() if c in wired}}}
channel_groups[1] = {'channels': dead, 'geometry': dict(zip(dead, [list(xy) for xy in sites.values()][1:3]))}
""",
    "what nobody needs": """
from math import sqrt
import os.path as path, sys

def get_graph(channels, step=1):
    graph = []
    i = 0
    while i < len(channels) - step:
        graph.append((channels[i], channels[i + step]))
        i += 1
    return graph

total_nb_channels = len(sys.argv) and sqrt(4)
radius = None if path.sep else 3
first = list(reversed(range(3)))
graph = get_graph(first, step=2)
channel_groups = {
    1: {'channels': first, 'graph': graph, 'geometry': {c: (0, 25 * c) for c in first}, 'label': f'{1}'},
    2: {},
}
channel_groups[2]['channels'] = [5, 4]
channel_groups[2]['graph'] = get_graph(channel_groups[2]['channels'])
channel_groups[2]['geometry'] = {4: (0, 0), 5: (0, 25)}
""",
    "list of places": "channel_groups = {0: {'channels': [1, 0], 'geometry': [(0, 0), (1, 2)]}}\r\n",
}


@pytest.mark.parametrize("name", SAME)
def test_the_probe_is_that_of_the_program_that_runs_the_file(tmp_path, name):
    path, plain = tmp_path / "p.prb", tmp_path / "plain.prb"
    path.write_text(SAME[name])
    names: dict[str, object] = {}
    exec(SAME[name], names)  # probeinterface's own way hides names from comprehensions
    plain.write_text(f"channel_groups = {names.get('channel_groups') or names['Channel_Groups']!r}")
    ours, theirs = read_prb(path), run_prb(plain)
    assert len(ours.probes) == len(theirs.probes)
    for our, their in zip(ours.probes, theirs.probes, strict=True):
        np.testing.assert_array_equal(our.contact_positions, their.contact_positions)
        np.testing.assert_array_equal(our.device_channel_indices, their.device_channel_indices)
        np.testing.assert_array_equal(our.probe_planar_contour, their.probe_planar_contour)
        assert our.to_dict(array_as_list=True) == their.to_dict(array_as_list=True)


GROUP = "channel_groups = {0: {'channels': [0], 'geometry': {0: (0, 0)}}}\n"
NEEDS_X = "channel_groups = {0: {'channels': [0], 'geometry': {0: (0, x)}}}\n"
NOT_PLAIN = [
    ("import os\nx = os.getpid()\n", 1, "os is imported, and imports are not run"),
    ("\nfrom os import getpid as x\n", 2, "x is imported"),
    ("def f():\n    return 1\nx = f()\n", 1, "f is a function of the file"),
    ("def f(i):\n    i.append(1)\n\ny = []\nf(y)\n", 1, "f is a function"),
    ("import numpy as np\ny = np.zeros(3)\nfor x in y:\n    pass\n", 1, "np is imported"),
    ("import numpy as np\nif np.pi > 3:\n    x = 1\n", 1, "np is imported"),
    ("x = {}\nx.update(a=1)\n", 2, "behind a dot only keys, values, items"),
    ("x = [1].keys()\n", 1, "behind a dot"),
    ("x = 'a' < [1]\n", 1, "only numbers and texts can be compared"),
    ("x = 3 is 3\n", 1, "'is' is more"),
    ("x = (-8) ** 0.5\n", 1, "complex"),
    ("x = sorted(['b', 'a'])\n", 1, "no number"),
    ("x = 'a' * 9 < 'b'\n", 1, "only numbers and lists"),
    ("x = 1\n\n__import__('os').system('touch hacked')\n", 3, "can be called"),
    ("open('hacked', 'w')\n", 1, "can be called"),
    ("x = (1).__class__\n", 1, "a name behind a dot"),
    ("while True:\n    pass\n", 1, "while is more"),
    ("x = lambda: 1\n", 1, "a function"),
    ("x = f'{1}'\n", 1, "an f-string is more"),
    ("x = [i for i in [1] if i and 1]\n", 1, "'and' or 'or'"),
    ("x = 2 ** 10 ** 10\n", 1, "a power is far too large"),
    ("x = 3 ** 60\n", 1, "a number is far too large"),
    ("x = 1 << 10\n", 1, "a shift of bits is more than a plain description"),
    ("x = 1 ^ 2\n", 1, "what is written here is more than a plain description"),
    ("x = 'a' + 'b' * 4\n", 1, "only numbers and lists"),
    ("x = 'a'\nfor i in range(99):\n    x = x + x\n", 3, "steps"),
    (f"x, y = '{'a' * 100_000}', '{'a' * 99_999}a'\nfor i in range(2000):\n    x == y\n", 3, "steps"),
    ("x = 'a' * 10 ** 9\n", 1, "only numbers and lists"),
    ("x = 'a' * 1000000000\n", 1, "only numbers and lists"),
    ("x = [0] * 1000000000\n", 1, "steps"),
    ("x = range(1000000000000000000)\n", 1, "steps"),
    ("x = [i for i in range(2000) for j in range(2000)]\n", 1, "steps"),
    ("for i in range(10000):\n    for j in range(10000):\n        pass\n", 2, "steps"),
    ("x = [1]\nfor i in range(99):\n    x = x + x\n", 3, "steps"),
    ("x = 3\nfor i in range(99):\n    x = x * x\n", 3, "too large"),
    ("x = (1, 1)\nfor i in range(60):\n    x = (x, x)\nx = {x: 1}\n", 4, "no key"),
    ("x = y\n", 1, "'y' is not known"),
    ("x = [i for i in range(3)]\nx = i\n", 2, "'i' is not known"),
    ("x = 1 / 0\n", 1, "ZeroDivisionError"),
    ("x = [1][3]\n", 1, "IndexError"),
    ("x = {**{}}\n", 1, "**"),
    ("x = b'1'\n", 1, "bytes"),
    ("x = range = 3\nx = range(3)\n", 2, "can be called"),
    ("x, y = 1, 2, 3\n", 1, "3 values for 2 names"),
    ("x = {\n", 1, "not Python"),
    ("x = " + "9" * 5000 + "\n", 1, "not Python"),
    ("x = " + "(" * 5000 + "\n", 1, "Python|deep"),
    ("x = " + "-" * 450_000 + "1\n", 1, "Python|deep"),
    ("x = " + "1+" * 200_000 + "1\n", 1, "Python|deep"),
    ("x = 1" + "[0]" * 150_000 + "\n", 1, "Python|deep"),
    ("x = \x00\n", 1, "null"),
    ("#" * 1_100_000, None, "longer than"),
    ("\nx = f'" + "{1}" * 100_000 + "'\n", 2, "an f-string in so long a file"),
    ('x = Fr"' + "{1}" * 22_000 + '"\n', 1, "an f-string"),
]


@pytest.mark.parametrize(("text", "line", "words"), NOT_PLAIN, ids=[repr(each[0][:40]) for each in NOT_PLAIN])
def test_what_is_more_than_a_probe_is_refused_by_line_and_never_run(tmp_path, monkeypatch, text, line, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.prb").write_text(text + NEEDS_X)
    began = time.process_time()
    with pytest.raises(InputError, match=words.replace("**", r"\*\*")) as caught:
        read_prb(tmp_path / "p.prb")
    assert time.process_time() - began < 3
    assert line is None or f"p.prb, line {line}: " in caught.value.message
    assert "probeinterface JSON" in caught.value.hint
    assert len(caught.value.message) < 600
    assert [each.name for each in tmp_path.iterdir()] == ["p.prb"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("channel_groups = {0: {'channels': f(3), 'geometry': {0: (0, 0)}}}\n", 1),
        ("channel_groups = {0: {'channels': [0],\n 'geometry': f(3)}}\n", 2),
        ("channel_groups = {0: {'channels': [0],\n 'geometry': {\n0: f(3)}}}\n", 3),
        ("channel_groups = {\n0: f(3)}\n", 2),
        ("\nchannel_groups = f(3)\n", 2),
        ("c, g = f(3)\nchannel_groups = {0: {'channels': [0], 'geometry': {0: (0, 0)}}, 1: {'channels': c}}\n", 1),
        ("channel_groups = {0: {'channels': [0]}}\nchannel_groups[0]['geometry'] = f(3)\n", 2),
    ],
)
def test_what_is_not_known_is_told_where_channels_or_geometry_need_it(tmp_path, text, line):
    (tmp_path / "p.prb").write_text(text)
    with pytest.raises(InputError, match=rf"p\.prb, line {line}: only range, .* can be called"):
        read_prb(tmp_path / "p.prb")


@pytest.mark.parametrize(
    "piece",
    [
        "[" * 180 + "]" * 180 + "\n",
        "{" * 180 + "}" * 180 + "\n",
        "(" * 100 + ")" * 100 + "\n",
        "lambda:" * 90 + "0\n",
        "a=" * 50 + "1\n",
        "x = [i for i in [1] if i == 1]\n",
        "x='f'\n",
    ],
)
def test_the_longest_file_is_read_or_refused_soon(tmp_path, piece):
    (tmp_path / "p.prb").write_text(piece * (480_000 // len(piece)) + GROUP)
    began = time.process_time()
    with suppress(InputError):
        read_prb(tmp_path / "p.prb")
    assert time.process_time() - began < 4


def test_thousands_of_contacts_that_are_spelled_out_are_read(tmp_path):
    places = {c: [16.0 * (c % 72), 17.5 * (c // 72)] for c in range(5184)}
    (tmp_path / "p.prb").write_text(f"channel_groups = {{0: {{'channels': {[*places]}, 'geometry': {places}}}}}\n")
    probe = read_prb(tmp_path / "p.prb").probes[0]
    np.testing.assert_array_equal(probe.contact_positions, [*places.values()])


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("3", "no channel_groups"),
        ("{}", "no channel_groups"),
        ("{0: 3}", "no list of channels"),
        ("{0: {'channels': [], 'geometry': {}}}", "no list of channels"),
        ("{0: {'channels': [True], 'geometry': {1: (0, 0)}}}", "no list of channels"),
        ("{0: {'channels': [0.5], 'geometry': {0.5: (0, 0)}}}", "no list of channels"),
        ("{0: {'channels': ['0'], 'geometry': {'0': (0, 0)}}}", "no list of channels"),
        ("{0: {'channels': [0], 'geometry': {1: (0, 0)}}}", "no position"),
        ("{0: {'channels': [0], 'geometry': {0: (0, 0, 0)}}}", "no position"),
        ("{0: {'channels': [0], 'geometry': {0: ('0', 0)}}}", "no position"),
        ("{0: {'channels': [0], 'geometry': {0: 5}}}", "no position"),
        ("{0: {'channels': [0, 1], 'geometry': {0: (0, 0), 1: (0, 0)}}}", "unique"),
        ("{i: {'channels': [0], 'geometry': {0: (0, i)}} for i in range(2)}", "unique"),
        ("{0: {'channels': [18446744073709551616], 'geometry': {18446744073709551616: (0, 0)}}}", "no position"),
    ],
)
def test_groups_that_are_none_are_refused(tmp_path, groups, words):
    (tmp_path / "p.prb").write_text(f"channel_groups = {groups}\n")
    with pytest.raises(InputError, match=words):
        read_prb(tmp_path / "p.prb")


def test_other_encodings_and_nagging_code_are_read(tmp_path):
    (tmp_path / "p.prb").write_bytes(b"# made by Andr\xe9\nx = '\\d'\n" + GROUP.encode())
    assert read_prb(tmp_path / "p.prb").get_contact_count() == 1
    (tmp_path / "p.prb").write_bytes(b"\xef\xbb\xbf" + GROUP.encode())
    assert read_prb(tmp_path / "p.prb").get_contact_count() == 1


NUMBERS = st.integers(-30, 30).map(str) | st.floats(0.5, 9).map(repr) | st.sampled_from(["a", "b[0]", "b[-1]"])
REASONING = st.recursive(
    NUMBERS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner)
        | st.builds("({} ** {})".format, inner, st.sampled_from(["2", "0.5", "-1", "3"]))
        | st.builds("[3, 5][{} {} {}]".format, inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner)
        | st.builds("-{}".format, inner)
        | st.builds("[{}, {}][{}]".format, inner, inner, st.sampled_from(["0", "1", "-2"]))
        | st.builds("float(int({}))".format, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(REASONING)
def test_reckoning_is_that_of_python(tmp_path, expression):
    try:
        expected = float(eval(expression, {"a": 7, "b": [2.5, 3]}))
    except (ArithmeticError, ValueError, TypeError):  # TypeError: of a root of a negative number
        expected = None
    head = "a, b = 7, [2.5, 3]\n"
    (tmp_path / "p.prb").write_text(
        f"{head}channel_groups = {{0: {{'channels': [0], 'geometry': {{0: (0, {expression})}}}}}}\n"
    )
    if expected is None:
        with pytest.raises(InputError):
            read_prb(tmp_path / "p.prb")
    else:
        np.testing.assert_equal(read_prb(tmp_path / "p.prb").probes[0].contact_positions[0, 1], expected)

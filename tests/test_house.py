"""The rules of the house, walked through in the source: what may import what, and what the product never holds."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from driftcli.errors import DriftcliError

PACKAGE = Path(__file__).parents[1] / "driftcli"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    "errors": 0,
    "reporter": 0,
    "units": 0,
    "bounded": 1,
    "catalogue": 1,
    "arrays": 1,
    "model": 1,
    "files": 1,
    "vectors": 1,
    "joining": 1,
    "kernels": 1,
    "lock": 1,
    "log": 2,
    "spool": 2,
    "presets": 2,
    "workflow": 3,
    "api": 4,
    "cli": 4,
    "__init__": 5,
    "__main__": 5,
}
STAGES = (
    "recording",
    "preprocess",
    "mask",
    "simulate",
    "detect",
    "localize",
    "select",
    "estimate",
    "footprints",
    "interpolate",
    "store",
    "assess",
    "report",
)
FLOORS |= dict.fromkeys(STAGES, 2)
ONLY_IN = {
    "distributed": {"workflow"},
    "h5py": {"store"},
    "matplotlib": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
    "click": {"cli"},
    "yaml": {"presets"},
}


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "driftcli"}
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down(file):
    for name in imports(file):
        package, _, rest = name.partition(".")
        if package == "driftcli" and rest and not rest.startswith("__"):
            other = rest.partition(".")[0]
            assert other == room(file) or FLOORS[other] < FLOORS[room(file)], f"{file.name} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(file):
    for library in {name.partition(".")[0] for name in imports(file)} & set(ONLY_IN):
        assert room(file) in ONLY_IN[library], f"{file.name} imports {library}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_product_holds_no_assert_and_no_prange(file):
    tree = ast.parse(file.read_text())
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert "prange" not in file.read_text()


def calls_of_blas(tree: ast.Module) -> list[str]:
    found = [ast.unparse(node) for node in ast.walk(tree) if isinstance(getattr(node, "op", None), ast.MatMult)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.endswith("linalg"):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            before, _, name = ast.unparse(node.func).rpartition(".")
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            product = bool(before) and name in {"dot", "vdot", "inner", "matmul", "tensordot"}
            optimized = name == "einsum" and options.get("optimize", "False") != "False"
            algebra = before.endswith("linalg") and not (name == "norm" and "axis" in options)
            if product or optimized or algebra:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_calls_blas(file):
    """BLAS starts threads of its own beside ours, and its last bits depend on their number."""
    assert not calls_of_blas(ast.parse(file.read_text()))


@pytest.mark.parametrize(
    "code",
    [
        "a @ b",
        "a @= b",
        "a.dot(b)",
        "np.matmul(a, b)",
        "from scipy.linalg import solve",
        "np.einsum(s, a, optimize=True)",
        "np.linalg.norm(a)",
        "np.linalg.inv(a)",
    ],
)
def test_calls_of_blas_are_found(code):
    assert calls_of_blas(ast.parse(code))
    assert not calls_of_blas(ast.parse("np.einsum(s, a)\nnp.linalg.norm(a, axis=1)\ndef solve(a): ...\nsolve(a)"))


def test_kernels_know_the_vectors_that_they_were_compiled_with():
    """numba's cache does not see that driftcli/vectors.py changed; a file that holds its digest changes with it."""
    digest = hashlib.sha256((PACKAGE / "vectors.py").read_bytes()).hexdigest()[:12]
    users = [file for file in FILES if "driftcli.vectors" in imports(file)]
    assert users
    for file in users:
        assert f"# digest {digest}" in file.read_text(), f"write '# digest {digest}' behind the import in {file}"


def test_kernels_release_the_lock_and_are_cached():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            for decorator in getattr(node, "decorator_list", ()):
                text = ast.unparse(decorator)
                if "njit" in text or "numba.jit" in text:
                    assert "nogil=True" in text, f"{file}:{node.lineno}"
                    assert "cache=True" in text, f"{file}:{node.lineno}"


def is_kernel(node: ast.AST) -> bool:
    return any("jit" in ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ()))


def names_from_other_files(tree: ast.Module) -> set[str]:
    """What a module calls the things that it imports from driftcli, instructions for vectors aside."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "driftcli.vectors":
            continue
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "driftcli":
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.partition(".")[0] == "driftcli"]
            names |= {alias.asname or "driftcli" for alias in ours}
    return names


def strangers_in_kernels(tree: ast.Module) -> list[str]:
    foreign = names_from_other_files(tree)
    # a name given to something from another file is as foreign
    for node in tree.body:
        if isinstance(node, ast.Assign) and foreign & {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}:
            foreign |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    kernels = [node for node in ast.walk(tree) if is_kernel(node)]
    return [
        f"line {name.lineno}: {name.id}"
        for kernel in kernels
        for name in ast.walk(kernel)
        if isinstance(name, ast.Name) and name.id in foreign
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_kernels_use_nothing_of_another_file(file):
    """numba's cache watches a kernel's own file only: what it used of another file would stay as it was compiled."""
    assert not strangers_in_kernels(ast.parse(file.read_text()))


def test_what_kernels_use_of_another_file_is_found():
    kernel = "\n@numba.njit(nogil=True, cache=True)\ndef kernel(x):\n    return {}\n"
    for imported, used in [
        ("from driftcli.localize import waveforms", "waveforms.feature(x)"),
        ("from driftcli.localize.waveforms import feature as f", "x + f(x)"),
        ("import driftcli.localize.waveforms", "driftcli.localize.waveforms.PTP"),
        ("from driftcli.localize import waveforms\n_f = waveforms.feature", "_f(x)"),
    ]:
        assert len(strangers_in_kernels(ast.parse(imported + kernel.format(used)))) == 1, used
        assert not strangers_in_kernels(ast.parse(imported + kernel.format("np.sqrt(x)")))


ERRORS = {"DriftcliError", *(each.__name__ for each in DriftcliError.__subclasses__())}


def errors_without_a_hint(tree: ast.Module) -> list[str]:
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in ERRORS]
    hints = ((node, node.args[1:2] + [each.value for each in node.keywords if each.arg == "hint"]) for node in made)
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node, hint in hints
        if not hint or (isinstance(hint[0], ast.Constant) and not hint[0].value)
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_error_says_what_to_try(file):
    assert not errors_without_a_hint(ast.parse(file.read_text()))


def test_an_error_without_a_hint_is_found():
    for call in ('InputError("it broke")', 'UsageError("it broke", "")', 'OutputError("it broke", hint="")'):
        assert len(errors_without_a_hint(ast.parse(f"raise {call}"))) == 1, call
    for call in ('InputError("a", "b")', "UsageError(text, hint)", 'OutputError("a", hint="b")', 'ValueError("a")'):
        assert not errors_without_a_hint(ast.parse(f"raise {call}")), call


def test_reporters_that_pass_messages_on_pass_notes_on():
    """A reporter put between two others would else keep decisions from the log."""
    found = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and "Reporter" in map(ast.unparse, node.bases):
                found.append(node.name)
                methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                assert not {"message", "note"} & methods or {"message", "note"} <= methods, f"{file}: {node.name}"
    assert {"Console", "Log"} <= set(found)


def test_oracles_import_nothing_of_the_product():
    oracles = sorted((Path(__file__).parent / "oracles").glob("*.py"))
    assert oracles
    for file in oracles:
        assert not [name for name in imports(file) if name.startswith("driftcli")], file


@pytest.mark.parametrize(
    "verb",
    [
        (),
        ("run",),
        ("submit",),
        ("merge",),
        ("info",),
        ("detect",),
        ("estimate",),
        ("assess",),
        ("apply",),
        ("verify",),
        ("presets",),
        ("presets", "list"),
        ("simulate",),
        ("accuracy",),
        ("correct-peaks",),
        ("export",),
        ("import",),
        ("plot",),
        ("compare",),
    ],
)
def test_help_loads_no_numerics(verb):
    code = (
        f"import sys; sys.argv = ['driftcli', *{verb!r}, '--help']\n"
        "from driftcli.cli import main\n"
        "try: main.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'numpy', 'numba', 'scipy', 'h5py', 'matplotlib', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout

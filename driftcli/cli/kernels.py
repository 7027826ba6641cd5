"""Where compiled kernels are kept, so that they are compiled once and not at every start."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_VARIABLE = "NUMBA_CACHE_DIR"


def find_a_place() -> None:
    """See to it that numba can keep kernels; call it before anything imports numba.

    numba keeps them in the package's own folder or in the user's cache. Where neither can be written, it would fail;
    they then go to a temporary folder of this process, and NUMBA_CACHE_DIR can name a lasting one.
    """
    if _VARIABLE in os.environ or os.access(_PACKAGE, os.W_OK) or _user_cache_is_writable():
        return
    folder = tempfile.mkdtemp(prefix="driftcli-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_VARIABLE] = folder


def are_compiled() -> bool:
    """Whether an earlier run has left compiled kernels in a place that numba looks at."""
    if _VARIABLE in os.environ:
        return any(Path(os.environ[_VARIABLE]).rglob("*.nbi"))
    places = (_PACKAGE, _user_cache()) if _user_cache().is_dir() else (_PACKAGE,)
    return any(path for place in places for path in place.rglob("*.nbi") if "driftcli" in str(path))


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "numba"


def _user_cache_is_writable() -> bool:
    try:
        _user_cache().mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return False
    return os.access(_user_cache(), os.W_OK)

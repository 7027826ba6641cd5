"""Where compiled kernels are kept, so that they are compiled once and not at every start."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).parent
_VARIABLE = "NUMBA_CACHE_DIR"
_INDEX = f"*.py{sys.version_info.major}{sys.version_info.minor}.nbi"  # kernels are compiled for one Python
_TEMPORARY = "driftcli-kernels-"


def find_a_place() -> None:
    """See to it that numba can keep kernels; call it before anything imports numba.

    numba keeps them in the package's own folder or in the user's cache. Where neither can be written, it would fail;
    they then go to a temporary folder of this process, and NUMBA_CACHE_DIR can name a lasting one.
    """
    if _VARIABLE in os.environ or os.access(_PACKAGE, os.W_OK) or _user_cache_is_writable():
        return
    folder = tempfile.mkdtemp(prefix=_TEMPORARY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_VARIABLE] = folder


def place() -> Path:
    """Where numba keeps kernels: this folder, or folders within it."""
    if _VARIABLE in os.environ:
        return Path(os.environ[_VARIABLE])
    return _PACKAGE if os.access(_PACKAGE, os.W_OK) else _user_cache()


def news() -> str | None:
    """What to tell of compiling: None when an earlier run has left compiled kernels in a place that numba looks at."""
    if _are_compiled():
        return None
    if Path(os.environ.get(_VARIABLE, "")).name.startswith(_TEMPORARY):
        return f"this run compiles the kernels it needs, as every one here; set {_VARIABLE} to a folder that keeps them"
    return "the first run after an installation compiles the kernels it needs, which takes some 20 s"


def _are_compiled() -> bool:
    elsewhere = Path(os.environ[_VARIABLE]) if _VARIABLE in os.environ else _user_cache()
    # outside of the package numba names a folder after the one of the source and a hash of its path
    folders = {path.name for path in _PACKAGE.iterdir() if path.is_dir()}
    kept = (path.parent.name.rpartition("_")[0] for path in elsewhere.rglob(_INDEX))
    in_package = _VARIABLE not in os.environ and any(_PACKAGE.rglob(_INDEX))
    return in_package or any(name in folders for name in kept)


def _user_cache() -> Path:
    """As numba names it; not an absolute path where the user has no home folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def _user_cache_is_writable() -> bool:
    if not _user_cache().is_absolute():
        return False
    try:
        _user_cache().mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(_user_cache(), os.W_OK)

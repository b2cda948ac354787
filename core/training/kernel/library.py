"""Finding the compiled library, and refusing one that this processor could not run."""

from __future__ import annotations

import ctypes
import importlib.machinery
import platform
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

STEM = "_ppo"
INTERFACE = 1  # of the library's functions; the same number stands in ppo.cpp
COMPILERS = ("c++", "g++", "clang++")
FOLDER = Path(__file__).parent
_CPU_FILE = Path("/proc/cpuinfo")
_AGAIN = "run `make kernel`, or install Rewardsmith again"


@dataclass(frozen=True, slots=True)
class Found:
    """A library that can be used, or None and the reason.

    Attributes:
        library: loaded, with the right interface, for this processor.
        reason:  why there is none, and what to do; empty where there is one.
        needs:   the processor's features that it was compiled for.
    """

    library: ctypes.CDLL | None
    reason: str = ""
    needs: tuple[str, ...] = ()


def find(folder: Path = FOLDER, features: Collection[str] | None = None) -> Found:
    """Look for the library in a folder.

    Args:
        folder:   where the build leaves it.
        features: of this processor; None: those that the operating system lists.  Where it lists
                  none (macOS), the library is trusted to have been built here.
    """
    path = _library_in(folder)
    if path is None:
        return Found(None, _why_not_built())
    try:
        library = ctypes.CDLL(str(path))
        interface, needs = _ask(library)
    except (OSError, AttributeError) as error:
        return Found(None, f"{path.name} cannot be loaded ({error}); {_AGAIN}")
    if interface != INTERFACE:
        return Found(None, f"{path.name} belongs to another version; {_AGAIN}")
    features = cpu_features() if features is None else features
    lacking = sorted(set(needs) - set(features)) if features else []
    if lacking:
        return Found(None, _wrong_processor(path, lacking))
    return Found(library, needs=needs)


def cpu_features(file: Path = _CPU_FILE) -> frozenset[str]:
    """Return the instruction sets of this processor, by Linux' names; none where it lists none."""
    if not file.exists():
        return frozenset()
    for line in file.read_text(errors="replace").splitlines():
        name, _, features = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(features.split())
    return frozenset()


def describe(needs: Collection[str]) -> str:
    """Say in a few words what a library was built for, by the widest vectors that it uses.

    >>> describe(("avx", "avx2", "fma"))
    'built for AVX2'
    """
    wide = next((name for name in ("avx512f", "avx2", "avx", "sve") if name in needs), None)
    return f"built for {wide.upper()}" if wide else f"built for any {platform.machine()}"


def _library_in(folder: Path) -> Path | None:
    candidates = (folder / f"{STEM}{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _ask(library: ctypes.CDLL) -> tuple[int, tuple[str, ...]]:
    """Ask the two functions that need no particular processor."""
    library.rewardsmith_needs.restype = ctypes.c_char_p
    needs = library.rewardsmith_needs().decode().split()
    return int(library.rewardsmith_interface()), tuple(needs)


def _why_not_built() -> str:
    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    if compiler is None:
        return f"no C++ compiler was found at install; install g++ and {_AGAIN}"
    return f"it was not built at install, but {compiler} is here now; {_AGAIN}"


def _wrong_processor(path: Path, lacking: list[str]) -> str:
    return (
        f"{path.name} was built for another processor: this {platform.machine()} lacks "
        f"{', '.join(lacking)}; {_AGAIN}, or build with REWARDSMITH_KERNEL_ARCH=x86-64-v3"
    )

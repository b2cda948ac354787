"""Builds the optional compiled kernel; everything else about the package stands in pyproject.toml.

The kernel is a plain shared library without Python in it, so a C++ compiler is all that it takes.
It is compiled for the processor at hand; set REWARDSMITH_KERNEL_ARCH (x86-64-v3, say) when the machine
that installs is not the one that trains.  Without a compiler the installation goes on without it.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

KERNEL = "core/training/kernel"
# Single flags instead of -ffast-math, which would hide NaN and flush denormals in the whole process.
FLAGS = [
    *("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
]


class BuildKernel(build_ext):
    """Calls the compiler once, without the flags that extensions of Python need."""

    def build_extension(self, ext: Extension) -> None:
        """Compile the extension's source into its place."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [*compiler(), *FLAGS, *architecture(), *ext.sources, "-o", str(target)]
        self.announce(shlex.join(command), level=2)
        if subprocess.run(command, check=False).returncode:
            raise CompileError("the optional kernel did not compile; training goes on without it")


def compiler() -> list[str]:
    """Return the command of a C++ compiler: CXX, else the first that is installed."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in ("g++", "clang++", "c++"):
        if shutil.which(name):
            return [name]
    raise CompileError("no C++ compiler was found; the optional kernel is left out")


def architecture() -> list[str]:
    """Return what processor to compile for."""
    return [f"-march={os.environ.get('REWARDSMITH_KERNEL_ARCH') or 'native'}"]


setup(
    ext_modules=[
        Extension(
            "core.training.kernel._ppo",
            [f"{KERNEL}/ppo.cpp"],
            depends=[
                f"{KERNEL}/{name}.h" for name in ("loss", "member", "needs", "network", "vectors")
            ],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernel},
)

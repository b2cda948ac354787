"""All mutations: those that the modules of this package name in `MUTATIONS`."""

from __future__ import annotations

import importlib
import pkgutil

import tests.mutations
from tests.mutations.mutation import Mutation

_MACHINERY = {"__main__", "listing", "mutation", "test_mutations"}


def every_mutation() -> list[Mutation]:
    """Return the mutations of every module, in the order of the modules' names."""
    names = sorted(m.name for m in pkgutil.iter_modules(tests.mutations.__path__))
    modules = [
        importlib.import_module(f"tests.mutations.{n}") for n in names if n not in _MACHINERY
    ]
    return [mutation for module in modules for mutation in module.MUTATIONS]

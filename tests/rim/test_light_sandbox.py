"""Checks and screens in a small sandbox: which program goes where, and what is rehearsed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from core.ports import ScreenOrder
from core.records.spec import Training
from core.sandbox import IsolationTooWeak
from core.training import rehearsal
from core.training.laboratory import Laboratory
from tests.builders import a_preflight
from tests.rim.laboratory_parts import CART_POLE, MemoryArtifacts, ignore, rewarding


class Asked(Exception):
    """Which sandbox was asked for a child."""


class Box:
    """A sandbox that tells its name instead of forking."""

    def __init__(self, name: str, level: int) -> None:
        self.name = name
        self.isolation = SimpleNamespace(level=level)

    def require(self, level: int) -> None:
        if self.isolation.level < level:
            raise IsolationTooWeak(self.name)

    def spawn(self, *given, **named):
        raise Asked(self.name)


NUMPY = rewarding("return {'x': obs.x}")
TORCH = replace(NUMPY, array="torch")
PREFLIGHT = a_preflight(probe=MemoryArtifacts().put(b""))


def a_laboratory(light: Box | None) -> Laboratory:
    artifacts = MemoryArtifacts()
    artifacts.put(b"")
    return Laboratory(Box("full", 3), artifacts, light=light)


@pytest.mark.parametrize(
    ("programs", "box"),
    [([NUMPY], "light"), ([TORCH], "full"), ([NUMPY, TORCH], "full"), ([], "light")],
    ids=["numpy", "torch", "both", "none"],
)
def test_programs_are_screened_in_the_lightest_sandbox_that_can_call_them(programs, box):
    order = ScreenOrder(
        preflight=PREFLIGHT,
        training=Training(),
        mode="replace",
        weight=0.5,
        programs={f"0.{n}": program for n, program in enumerate(programs)},
        asked=frozenset(),
        sources=(),
    )
    with pytest.raises(Asked, match=box):
        a_laboratory(Box("light", 3)).screen(order, ignore)


@pytest.mark.parametrize(("program", "box"), [(NUMPY, "light"), (TORCH, "full")])
def test_a_program_is_checked_where_its_library_is_loaded(program, box):
    with pytest.raises(Asked, match=box):
        a_laboratory(Box("light", 3)).check(program, CART_POLE, PREFLIGHT)


def test_a_laboratory_of_one_sandbox_does_all_in_it():
    with pytest.raises(Asked, match="full"):
        a_laboratory(None).check(NUMPY, CART_POLE, PREFLIGHT)


def test_no_program_runs_behind_weaker_walls_than_its_candidate_bears():
    artifacts = MemoryArtifacts()
    artifacts.put(b"")
    laboratory = Laboratory(Box("full", 1), artifacts, light=Box("light", 3))
    assert laboratory.walls().level == 3
    with pytest.raises(IsolationTooWeak):
        laboratory.check(TORCH, CART_POLE, PREFLIGHT)


def test_what_libraries_load_at_their_first_call_is_loaded_before_the_sandbox_closes():
    before = "import sys, core.training.rehearsal as r; was = 'numpy.ma' in sys.modules"
    after = "r.warm_up(); sys.exit(was or 'numpy.ma' not in sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{before}; {after}"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "broken",
    ["return {'near': next_obs.x, 'calm': next_obs.x * np.nan}", "return {'near': next_obs.y}"],
)
def test_a_rehearsal_that_breaks_does_not_go_unnoticed(monkeypatch, broken):
    head = rehearsal.SOURCE.partition("    near =")[0]
    monkeypatch.setattr(rehearsal, "SOURCE", f"{head}    {broken}\n")
    with pytest.raises(RuntimeError, match="a rehearsal of check failed"):
        rehearsal.warm_up()

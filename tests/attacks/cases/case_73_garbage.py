"""The function that measures, hunted down through the garbage collector."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    73,
    "hunt down the metric",
    "gc = sys.modules['builtins'].__import__('gc')\n"
    "for thing in gc.get_objects():\n"
    "    if getattr(thing, '__name__', '') in ('episode_fitness', 'fitness_of', 'mean', 'score'):\n"
    "        if getattr(thing, '__code__', None) is not None:\n"
    "            thing.__code__ = (lambda *a, **k: 999.0).__code__\n",
)

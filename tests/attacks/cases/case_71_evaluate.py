"""The function that evaluates, replaced wherever it is found."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    71,
    "replace the function that evaluates",
    "for module in list(sys.modules.values()):\n"
    "    for name in ('score', 'measure', 'episode_fitness', 'run_episodes', 'fitness_rows'):\n"
    "        if name in vars(module):\n"
    "            module.__dict__[name] = lambda *a, **k: 999.0\n"
    "sys.modules['__main__'].evaluate = lambda *a, **k: 999.0\n",
)

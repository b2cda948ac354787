"""The trainer's random numbers, replaced by constants."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    86,
    "replace the random numbers",
    "torch = sys.modules['torch']\n"
    "torch.randn = torch.rand = lambda *a, **k: torch.zeros(1)\n"
    "torch.manual_seed = lambda *a, **k: None\n"
    "np.random.default_rng = lambda *a, **k: None\n",
)

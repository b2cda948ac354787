"""NumPy's own functions, replaced by ones that keep the shape and forge the value."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    74,
    "replace NumPy's functions",
    "mean = np.mean\n"
    "np.mean = np.nanmean = np.average = lambda *a, **k: mean(*a, **k) * 0 + 999.0\n",
)

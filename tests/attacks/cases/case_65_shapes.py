"""Arrays of another shape or type than one float per row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.attacks.cases.fakes import checks, rewarding

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

BODIES = {
    "a scalar": "1.0",
    "no dimension": "np.float32(1.0)",
    "a column": "obs.x[:, None]",
    "a matrix": "obs.all_of_it",
    "one row too few": "obs.x[1:]",
    "objects": "obs.x.astype(object)",
    "complex numbers": "obs.x + 0j",
    "text": "obs.x.astype(str)",
    "dates": "obs.x.astype('datetime64[s]')",
    "records": "np.zeros(len(obs.x), dtype=[('a', 'f4')])",
}
TENSORS = {
    "a tensor elsewhere": "torch.zeros(len(obs.x), device='meta')",
    "a tensor of integers": "obs.x.long()[:, None]",
    "a number instead of a tensor": "obs.x.mean().item()",
}
NUMPY = {name: rewarding(f"return {{'a': {body}}}") for name, body in BODIES.items()}
TORCH = {
    name: rewarding(f"return {{'a': {body}}}").replace("numpy as np", "torch")
    for name, body in TENSORS.items()
}
REFUSED = checks(65, "return arrays of another shape or type", "runtime", NUMPY | TORCH)
WITH_HISTORY = rewarding("return {'a': obs.x.clone().requires_grad_()}").replace(
    "numpy as np", "torch"
)


def run(bench: Bench) -> list[str]:
    """A tensor that asks for its gradient is taken without its history."""
    rule = bench.rejection(WITH_HISTORY)
    return REFUSED.run(bench) + ([] if rule == "accepted" else [f"with a gradient: {rule}"])


CASE = replace(REFUSED, run=run)

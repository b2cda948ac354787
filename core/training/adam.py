"""Adam for the rows of a stack, each with its own learning rate and count of steps.

Kingma and Ba (arXiv 1412.6980).  The step rate · (m / c₁) / (√(v / c₂) + ε), c being 1 - βᵗ, is taken
as size · m / (√v + epsilon), size = rate·√c₂ / c₁ and epsilon = ε·√c₂: what is one number per member
is computed first, for many steps at once, and a whole pass over the parameters is saved.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from core.training.networks import power

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-5


@dataclass(frozen=True, slots=True)
class Pace:
    """What a step needs of its number, float32 [..., P, 1] each."""

    size: Tensor
    epsilon: Tensor


def pace(updates: Tensor, rate: Tensor) -> Pace:
    """Return the pace of the steps with these numbers [..., P, 1], counted from 1, at rates [P, 1]."""
    root = (1 - power(_BETA2, updates)).sqrt_()
    size = (rate * root).div_(1 - power(_BETA1, updates))
    return Pace(size.float(), (_EPSILON * root).float())


def step(
    values: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    its: Pace,
    still: Tensor | None,
) -> None:
    """Take one step.

    Args:
        values:   [P, n] is changed.
        gradient: [P, n]
        moments:  first and second, [P, n] each, are changed.
        its:      pace of this step.
        still:    bool [P, 1]: rows whose values stay, whatever their gradient is; None: no row.
    """
    first, second = moments
    first.lerp_(gradient, 1 - _BETA1)
    second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
    ratio = first / second.sqrt().add_(its.epsilon)
    if still is not None:
        ratio.masked_fill_(still, 0.0)
    values.addcmul_(ratio, its.size, value=-1)

"""First states of episodes for rows that start anew on a device, without a word from the host.

Gymnasium draws an episode's first state from a generator of its own, which is too slow for thousands
of rows and would make every step wait.  So a supply of first states is drawn once, in gymnasium's
manner, and the episode number e of a row with seed s takes entry hash(s, e) of it.  The same row
seed gives the same episodes whatever the batch's size, on the CPU as on a GPU, because the hash is
of whole numbers.  What is given up: there are SUPPLY different beginnings and not infinitely many.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SUPPLY = 8192
SUPPLY_SEED = 20_240_817  # any number; part of what makes a run reproducible

_GOLDEN = -7046029254386353131  # 2^64 divided by the golden ratio, as a signed number
_FIRST = -4658895280553007687  # the multipliers of SplitMix64 (Steele, Lea and Flood, 2014)
_SECOND = -7723592293110705685


def row_keys(seeds: Sequence[int], device: torch.device) -> Tensor:
    """Return the rows' seeds as int64 [rows], mixed so that neighbouring seeds are far apart."""
    signed = [(seed + 2**63) % 2**64 - 2**63 for seed in seeds]
    return _mixed(torch.tensor(signed, dtype=torch.int64, device=device))


def chosen(keys: Tensor, episodes: Tensor, supply: int = SUPPLY) -> Tensor:
    """Return which entry of the supply each row's episode begins with, int64 [rows].

    Args:
        keys:     [rows] from `row_keys`.
        episodes: int64 [rows], how many episodes the row has had before.
        supply:   how many entries there are.
    """
    return _shifted(_mixed(keys + episodes * _GOLDEN), 11) % supply


def _mixed(value: Tensor) -> Tensor:
    """Return SplitMix64's scrambling of int64 numbers; products wrap around as in C."""
    value = value + _GOLDEN
    value = (value ^ _shifted(value, 30)) * _FIRST
    value = (value ^ _shifted(value, 27)) * _SECOND
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Shift to the right, filling with zeros; torch alone would repeat the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)

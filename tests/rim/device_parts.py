"""On which devices the tests of the learner run: the CPU always, CUDA where there is one."""

from __future__ import annotations

import pytest
import torch

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
on_every_device = pytest.mark.parametrize("device", ["cpu", CUDA])

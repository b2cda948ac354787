"""What is behind the walls, started once a file: what waits in a sandbox goes on from test to test.

A file that needs other modules or folders in there has a fixture of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from core.sandbox import Sandbox
from tests.rim.laboratory_parts import MemoryArtifacts

if TYPE_CHECKING:
    from core.training.laboratory import Laboratory


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """In which programs are checked."""
    box = Sandbox(["core.training.check", "core.training.preflight"])
    yield box
    box.close()


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    """All that a worker does behind the walls."""
    from core.training.laboratory import PRELOAD, Laboratory  # it brings torch

    box = Sandbox(PRELOAD)
    yield Laboratory(box, MemoryArtifacts())
    box.close()


@pytest.fixture
def one_thread() -> None:
    """As trainings compute in their children."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def one_seed() -> None:
    """For tests that draw from torch's own stream."""
    import torch

    torch.manual_seed(0)

"""What a worker process works with, put together from its settings."""

from __future__ import annotations

import pytest

from core.settings import Settings
from workers.toolbox import open_bench


@pytest.mark.parametrize("slots", [1, 2])
def test_as_many_trainings_run_at_once_as_the_worker_has_slots(tmp_path, slots):
    bench = open_bench(Settings(home=tmp_path), trains=False, slots=slots)
    try:
        assert bench.tools.laboratory.at_once == slots
    finally:
        bench.sandbox.close()

"""The lock lets honest work through: training, linear algebra, physics, environments, weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.sandbox import GIB, Limits, Sandbox

pytestmark = pytest.mark.slow

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

LIMITS = Limits(wall_seconds=60, cpu_seconds=60, memory_bytes=GIB)


@pytest.fixture(scope="module")
def sandbox():
    sandbox = Sandbox(["sandbox_work"], import_paths=[Path(__file__).parent])
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize(
    ("work", "low", "high"),
    [
        pytest.param("torch", 1e-6, 10.0, id="a step of Adam lowers the loss"),
        pytest.param("svd and fft", 0.0, 1e-9, id="LAPACK and FFT"),
        pytest.param("mujoco batch", 0.1, 3.2, id="MuJoCo on two threads"),
        pytest.param("Hopper-v5", -100.0, 100.0, id="a MuJoCo environment"),
        pytest.param("LunarLander-v3", -500.0, 500.0, id="a Box2D environment"),
        pytest.param("CartPole-v1", 1.0, 10.0, id="a classic environment"),
        pytest.param("safetensors", 0.0, 0.0, id="weights to bytes and back"),
    ],
)
def test_honest_work_is_done_behind_the_lock(sandbox, work, low, high):
    with sandbox.spawn("sandbox_work:do", LIMITS) as child:
        child.send({"work": work})
        assert low <= child.receive().header["result"] <= high
        assert child.wait(10).exit_code == 0

"""Which device a training gets, and that nobody touches CUDA before the fork."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from core.envs.tensor_batch import OnDevice
from core.errors import ConfigurationError, TrainingFailed
from core.records.task import Task
from core.sandbox.codec import Frame
from core.training.deadlines import Deadlines
from core.training.devices import HOST, make_tensor_batch, pick_device
from core.training.protocol import TrainOrder, order_message, read_order
from core.training.train_child import carry_out
from tests.rim.device_parts import CUDA, on_every_device
from tests.rim.training_parts import CART_POLE

HOPPER = Task("hopper", "Hopper-v5", "")


def an_order(device):
    return TrainOrder(
        CART_POLE,
        {"rollout": 16, "minibatch": 32, "hidden": [8]},
        envs=4,
        mode="replace",
        weight=1.0,
        members=(("native", 0), ("native", 1)),
        programs={"native": None},
        start_steps=0,
        stop_steps=128,
        total_steps=128,
        checkpoint_at=(128,),
        device=device,
    )


def settings_module():
    """The settings of a shell; a machine that only trains may lack their library."""
    return pytest.importorskip("core.settings")


class Heard:
    def begin(self, pack): ...

    def save_when_due(self, pack): ...

    def progress(self, steps, seconds): ...

    def snapshot(self, steps, weights): ...

    def failed(self, member, steps, reason): ...


def test_the_cpu_is_the_default_and_auto_falls_back_to_it():
    assert pick_device("cpu", HOPPER) == HOST
    assert pick_device("auto", CART_POLE) == HOST
    assert pick_device("cuda", HOPPER, "sac") == HOST
    assert settings_module().read_settings().device == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_missed_by_name():
    assert pick_device("auto", HOPPER) == HOST
    with pytest.raises(TrainingFailed, match="REWARDSMITH_DEVICE=cpu"):
        pick_device("cuda", HOPPER)


@pytest.mark.parametrize("device", [CUDA])
def test_a_device_is_found_by_its_number(device):
    assert pick_device("cuda", HOPPER) == pick_device("cuda:0", HOPPER) == torch.device("cuda", 0)
    with pytest.raises(TrainingFailed, match="cuda:99"):
        pick_device("cuda:99", HOPPER)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CUDA"])
def test_the_setting_takes_no_other_words(device, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_DEVICE", device)
    with pytest.raises(ConfigurationError, match="REWARDSMITH_DEVICE"):
        settings_module().read_settings()


def test_the_order_carries_the_device():
    order = an_order("cuda:1")
    header, blobs = order_message(order)
    assert read_order(Frame(header, blobs)) == order


@on_every_device
def test_an_environment_that_no_gpu_simulates_is_stepped_on_the_host(device):
    batch = make_tensor_batch(CART_POLE, 4, torch.device(device))
    assert isinstance(batch, OnDevice)
    assert batch.adapter == "numpy"
    assert batch.reset(range(4)).device.type == device
    batch.close()


@on_every_device
def test_a_child_carries_out_its_order_on_the_device(device):
    pack = carry_out(an_order(device), Heard(), Deadlines())
    assert pack.progressed.steps == 128
    assert len(pack.checkpoints()) == 2
    again = replace(an_order(device), resume=pack.checkpoints(), start_steps=128, stop_steps=256)
    assert carry_out(again, Heard(), Deadlines()).progressed.steps == 256


@pytest.mark.slow
def test_what_the_zygote_does_before_it_forks_leaves_cuda_untouched():
    code = (
        "import sys, torch\n"
        "from core.training.train_child import warm_up\n"
        "warm_up()\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert 'warp' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

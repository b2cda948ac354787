"""Where a pack is trained: on the host, or on a GPU of this machine.

CUDA cannot be used in a child of a process that has used it, so nothing here runs before the fork:
the zygote imports torch and asks it nothing about devices.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from core.envs import make_batch
from core.envs.tensor_batch import OnDevice, TensorBatch
from core.errors import TrainingFailed
from core.records.task import Task

HOST = torch.device("cpu")


def pick_device(wish: str, task: Task, algorithm: str = "ppo") -> torch.device:
    """Return the device that the operator's setting means for a task.

    Args:
        wish: "cpu", "cuda", "cuda:N", or "auto": CUDA where there is a device and the task's
            simulator runs on it, the CPU otherwise.
        task: what is to be learnt.
        algorithm: the learner; those other than PPO are trained on the host.

    Raises:
        TrainingFailed: a device was asked for by name and is not there.
    """
    if wish == "cpu" or algorithm != "ppo" or (wish == "auto" and not simulated_on_device(task)):
        return HOST
    number = int(wish.partition(":")[2] or 0)
    if number < torch.cuda.device_count():
        return torch.device("cuda", number)
    if wish == "auto":
        return HOST
    raise TrainingFailed(
        f"{torch.cuda.device_count()} CUDA devices",
        expected=f"the device {wish!r}, as REWARDSMITH_DEVICE says",
        where="starting a training",
        hint="Set REWARDSMITH_DEVICE=cpu, or install a torch built for CUDA and its driver.",
    )


def simulated_on_device(task: Task) -> bool:
    """Tell whether MuJoCo Warp is installed and knows the task."""
    if not has_simulator():
        return False
    from core.envs.warp_plan import simulated

    return simulated(task)


def has_simulator() -> bool:
    """Tell whether MuJoCo Warp is installed (the extra `gpu-sim`)."""
    return find_spec("mujoco_warp") is not None


def make_tensor_batch(task: Task, rows: int, device: torch.device) -> TensorBatch:
    """Make a batch whose blocks are tensors on the device: simulated there, or else on the host.

    Raises:
        EnvironmentUnusable: it cannot be built.
    """
    if simulated_on_device(task):
        from core.envs.warp_rows import WarpRows

        return WarpRows(task, rows, device)
    return OnDevice(make_batch(task, rows), device)

"""What a jailed child needs on top of the usual to use an NVIDIA GPU: a profile of its own.

The kernel driver is a large surface that a jailed child then speaks to: reading, writing and ioctl
on its device files, maps of terabytes of address space, more open files.  So the profile belongs to
children that may train on a device, and to no others: PPO where the operator named a device, or let
the task decide and it is one that is simulated there.  Without a limit of the address space, shared
memory of such a child is bounded by its container alone; private memory still has its limit.

Paths were put together from NVIDIA's documentation of its device files; on a machine without a
GPU the profile opens nothing, and that is all that has been run of it.  MuJoCo Warp compiles its
kernels into a cache folder, which no jailed child may write: warm that cache outside first.
"""

from __future__ import annotations

from pathlib import Path

OPEN_FILES = 1024

_DEVICE_FOLDER = Path("/dev")
_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia[0-9]*")
_READABLE = (
    "/proc/driver/nvidia",
    "/proc/devices",
    "/proc/modules",
    "/sys/bus/pci/devices",
    "/sys/devices/pci0000:00",
    "/sys/devices/system/node",
    "/sys/module/nvidia",
    "/usr/local/nvidia",
    "/usr/local/cuda",
)


def devices() -> list[Path]:
    """Return the device files of the driver that this machine has."""
    return sorted(path for pattern in _DEVICES for path in _DEVICE_FOLDER.glob(pattern))


def readable() -> list[Path]:
    """Return what the driver's library reads, as far as this machine has it."""
    return [path for path in map(Path, _READABLE) if path.exists()]

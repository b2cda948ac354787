"""The gradient of a stack's weights: a product for every member, rounded alike wherever it lies.

A matrix product of a CPU's library may choose its way by where in memory the result begins, and rounds
differently on each.  Members lie one behind another in a flat tensor, at any distance, so the product
is made in a room of its own in which every member begins at the same place of a cache line, and is
copied from there.  That is also quicker than to write it in its place.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LINE = 16  # float32 numbers, 64 bytes


def room_for(weight: Tensor) -> Tensor | None:
    """Return the room for the gradient of a weight [P, O, I]; a device other than a CPU needs none.

    Of a layer with few inputs it is the turned gradient [P, I, O]: made that way round, the product of
    a first layer of 64 took an eighth to a quarter of the time.
    """
    if weight.device.type != "cpu":
        return None
    members, outputs, inputs = weight.shape
    rows, columns = (inputs, outputs) if 2 * inputs <= outputs else (outputs, inputs)
    size = rows * columns
    flat = torch.zeros(max(2, members) * (size + -size % _LINE) + _LINE)
    start = -(flat.data_ptr() // flat.element_size()) % _LINE
    lines = flat[start:][: flat.numel() - _LINE].view(max(2, members), -1)
    return lines[:, :size].view(-1, rows, columns)


def write_slope(slope: Tensor, d: Tensor, x: Tensor, room: Tensor | None) -> None:
    """Write ∂loss/∂weight = dᵀ·x of every member.

    A product of one matrix is another than one of many and rounds differently, so a single member is
    taken twice.

    Args:
        slope: [P, O, I], where it goes.
        d:     [P, B, O] ∂loss/∂(output of the layer).
        x:     [P, B, I] its input.
        room:  of `room_for`.
    """
    members = slope.shape[0]  # a tensor's `len` took as long as a small product
    if members == 1:  # expanded, not copied: another layout would be another way of computing
        d, x = d.expand(2, -1, -1), x.expand(2, -1, -1)
    turned = d.transpose(1, 2)
    if room is None:
        slope.copy_(turned.bmm(x)[:members])
    elif room.shape[1:] == slope.shape[1:]:
        slope.copy_(torch.bmm(turned, x, out=room)[:members])
    else:
        slope.copy_(torch.bmm(x.transpose(1, 2), d, out=room).transpose(1, 2)[:members])

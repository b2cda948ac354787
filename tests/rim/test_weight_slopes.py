"""The gradient of a stack's weights: right, and the same bits wherever a member lies."""

from itertools import product

import pytest
import torch

from core.training.weight_slopes import room_for, write_slope

SHAPES = list(product((4, 40, 64), (1, 2, 3, 6, 9, 15, 64), (1, 3, 4, 11, 15, 17, 64)))


def slopes_of(d, x):
    """Write the gradients into a flat tensor at odd distances, as parameters lie there."""
    members, _, outputs = d.shape
    inputs = x.shape[2]
    flat = torch.zeros(members, outputs * inputs + 5)
    slope = flat[:, 3 : 3 + outputs * inputs].view(members, outputs, inputs)
    write_slope(slope, d, x, room_for(slope))
    return slope


def drawn(rows, outputs, inputs, members=5):
    source = torch.Generator().manual_seed(rows + outputs + inputs)
    return (torch.randn(members, rows, n, generator=source) for n in (outputs, inputs))


@pytest.mark.parametrize(("rows", "outputs", "inputs"), SHAPES)
def test_a_slope_is_the_product_and_nothing_of_it_depends_on_a_member_s_place(
    rows, outputs, inputs
):
    d, x = drawn(rows, outputs, inputs)
    slope = slopes_of(d, x)
    torch.testing.assert_close(slope, torch.einsum("pbo,pbi->poi", d, x), atol=1e-4, rtol=1e-5)
    assert torch.equal(slopes_of(d.flip(0), x.flip(0)).flip(0), slope)
    for some in (1, 2, 3):
        assert torch.equal(slopes_of(d[:some].clone(), x[:some].clone()), slope[:some])

"""A thinned series shows every peak of the whole one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.downsampling import thinned

SERIES = arrays(np.float64, st.integers(0, 400), elements=st.floats(-1e9, 1e9))


@given(SERIES, st.integers(4, 60))
def test_it_keeps_both_ends_and_both_extremes_within_the_limit(values, most):
    shown = thinned(values, most)
    assert len(shown) <= most
    assert (np.diff(shown) > 0).all()
    if len(values):
        assert (shown[0], shown[-1]) == (0, len(values) - 1)
        assert values[shown].max() == values.max()
        assert values[shown].min() == values.min()


@given(SERIES, st.integers(4, 60))
def test_a_short_series_is_shown_whole(values, most):
    if len(values) <= most:
        assert thinned(values, most).tolist() == list(range(len(values)))


def test_every_stretch_keeps_its_own_extremes():
    values = np.sin(np.arange(1000) / 7.0)
    values[[123, 456, 789]] = 5.0, -5.0, 7.0
    shown = set(thinned(values, 102).tolist())
    assert {123, 456, 789} <= shown
    for start in range(0, 1000, 20):
        stretch = values[start : start + 20]
        assert {start + int(stretch.argmin()), start + int(stretch.argmax())} <= shown


def test_fewer_points_than_ends_and_extremes_are_no_picture():
    with pytest.raises(ValueError, match="at least 4"):
        thinned(np.zeros(10), 3)

"""The training child as it is, but for the times at which it saves: a test has no half minute."""

from __future__ import annotations

from core.training import train_child


def train(channel, links):
    """Carry out one order, saving several times a second."""
    train_child.SAVE_SECONDS = 0.2
    train_child._SAVE_SHARE, train_child._SAVE_COST = 0.0, 1.0
    train_child._SAVED_BYTES_PER_SECOND = 1e12
    train_child.train(channel, links)

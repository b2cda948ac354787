"""What a user takes away: one file that needs only gymnasium and numpy."""

from core.export.reward_file import Provenance, render_reward_file

__all__ = ["Provenance", "render_reward_file"]

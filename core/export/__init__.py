"""What a user takes away: one file that needs nothing of ours, or a folder that plays."""

from core.export.bundle import Parts, write_bundle
from core.export.reward_file import Provenance, render_reward_file

__all__ = ["Parts", "Provenance", "render_reward_file", "write_bundle"]

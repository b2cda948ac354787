"""Render one frame of each environment for the pages: `python -m bench.pictures [ID…]`.

Needs the extras `worker` and `robotics`, Pillow, and EGL for MuJoCo (`MUJOCO_GL=egl`).
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import gymnasium as gym
from PIL import Image, ImageOps

from core.envs import robotics
from core.tasks import catalogue

FOLDER = Path(__file__).parents[1] / "api" / "pages" / "static" / "tasks"
SIZE = (240, 160)
STEPS = 12  # after which most agents have left the pose in which they begin
MOST_BYTES = 3_000


def main() -> None:
    """Write a picture for each environment; those that cannot be rendered have none."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = set(sys.argv[1:])
    for task in {task.environment: task for task in catalogue().values()}.values():
        if wanted and task.environment not in wanted:
            continue
        try:
            picture = frame(task.environment, dict(task.env_kwargs))
        # An environment may fail in whatever way its own code does; the page does without it.
        except Exception as error:  # noqa: BLE001
            print(f"{task.environment}: none ({error!r})")
            continue
        content = packed(picture)
        (FOLDER / f"{task.environment}.webp").write_bytes(content)
        print(f"{task.environment}: {len(content)} bytes")


def frame(environment: str, arguments: dict[str, object]) -> Image.Image:
    """Return what an environment looks like after a few random steps."""
    if environment.startswith(("Fetch", "PointMaze")):
        import gymnasium_robotics

        gym.register_envs(gymnasium_robotics)
        robotics.mend()
    env = gym.make(environment, render_mode="rgb_array", **arguments)
    try:
        env.reset(seed=3)
        env.action_space.seed(3)
        for _ in range(STEPS):
            _, _, ended, _, _ = env.step(env.action_space.sample())
            if ended:
                break
        return Image.fromarray(env.render())
    finally:
        env.close()


def packed(picture: Image.Image) -> bytes:
    """Return the middle of a picture as WebP, small enough to be one of forty on a page."""
    small = ImageOps.fit(picture, SIZE)
    for quality in (80, 60, 40, 25, 15, 8):
        out = io.BytesIO()
        small.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= MOST_BYTES:
            break
    return out.getvalue()


if __name__ == "__main__":
    main()

"""Pictures of environments, rendered by `bench/pictures.py`: this server loads no simulator."""

from __future__ import annotations

from api.pages.static_files import address, files


def picture_of(environment: str) -> str | None:
    """Return the address of a picture of an environment; None where there is none."""
    name = f"tasks/{environment}.webp"
    return address(name) if name in files() else None

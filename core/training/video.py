"""From raw pictures to files: an MP4 for players, and a small animated WebP that shows itself."""

from __future__ import annotations

import io
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import FilmingFailed
from core.ports import Progress, Watch

ENCODE_SECONDS = 120.0
WIDTH, HEIGHT = 320, 240  # at most, of a picture
PREVIEW_PICTURES, PREVIEW_WIDTH = 40, 160
_POLL_SECONDS = 0.2
_LAST_WORDS = 400


@dataclass(frozen=True, slots=True)
class Pictures:
    """A film before it is a file.

    Attributes:
        rgb: [T, height, width, 3] uint8, width and height even.
        fps: pictures a second when it is shown.
    """

    rgb: npt.NDArray[np.uint8]
    fps: float


def fitted(width: int, height: int) -> tuple[int, int]:
    """Return the size of a picture in WIDTH × HEIGHT, in even numbers as video wants them.

    >>> fitted(600, 400)
    (320, 212)
    """
    scale = min(1.0, WIDTH / width, HEIGHT / height)
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def encode_mp4(pictures: Pictures, watch: Watch, progress: Progress) -> bytes:
    """Return the film as MP4 (H.264) that plays in every browser; the same pictures, the same bytes.

    Raises:
        FilmingFailed: there is no encoder, or it failed.
        StepInterrupted, ClaimLost: `watch` said so.
    """
    height, width = pictures.rgb.shape[1:3]
    with tempfile.TemporaryDirectory(prefix="rewardsmith-film-") as folder:
        target = Path(folder) / "film.mp4"
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        source += ["-r", f"{pictures.fps:g}", "-i", "-"]
        coded = ["-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-threads", "1"]
        coded += ["-pix_fmt", "yuv420p", "-movflags", "+faststart"]
        exact = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
        command = [_encoder(), "-v", "error", "-y", *source, *coded, *exact, str(target)]
        run_attended(command, pictures.rgb.tobytes(), {}, ENCODE_SECONDS, watch, progress)
        return target.read_bytes()


def _encoder() -> str:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise FilmingFailed(
            "no video encoder", hint="Install it: pip install imageio-ffmpeg"
        ) from error
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:  # the package has no program for this machine
        raise FilmingFailed(f"no video encoder: {error}") from error


def encode_preview(pictures: Pictures) -> bytes:
    """Return some of the pictures, small, as an animated WebP without end.

    Raises:
        FilmingFailed: Pillow is not there, or cannot write WebP.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise FilmingFailed("no Pillow", hint="Install it: pip install pillow") from error
    count, height, width = pictures.rgb.shape[:3]
    every = max(1, -(-count // PREVIEW_PICTURES))
    size = (PREVIEW_WIDTH, max(1, height * PREVIEW_WIDTH // width))
    small = [Image.fromarray(rgb).resize(size) for rgb in pictures.rgb[::every]]
    file = io.BytesIO()
    duration = round(1000 * every / pictures.fps)
    try:
        small[0].save(
            file,
            "WEBP",
            save_all=True,
            append_images=small[1:],
            duration=duration,
            loop=0,
            quality=60,
        )
    except (OSError, KeyError, ValueError) as error:
        raise FilmingFailed(f"no preview: {error}") from error
    return file.getvalue()


def run_attended(
    command: Sequence[str],
    given: bytes,
    environment: Mapping[str, str],
    seconds: float,
    watch: Watch,
    progress: Progress,
) -> bytes:
    """Run a trusted program with input to its end and return its output; `watch` may end it.

    Raises:
        FilmingFailed: it failed, with its last words, or took too long.
        StepInterrupted, ClaimLost: `watch` said so.
    """
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as words,
    ):
        source.write(given)
        source.seek(0)
        process = subprocess.Popen(
            command, stdin=source, stdout=out, stderr=words, env=dict(environment), cwd="/"
        )
        try:
            _wait(process, seconds, watch, progress)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            words.seek(0)
            told = words.read()[-_LAST_WORDS:].decode(errors="replace").strip()
            name = Path(command[0]).name
            raise FilmingFailed(f"{name} ended with {process.returncode}: {told}")
        out.seek(0)
        return out.read()


def _wait(
    process: subprocess.Popen[bytes], seconds: float, watch: Watch, progress: Progress
) -> None:
    until = time.monotonic() + seconds
    while process.poll() is None:
        watch(progress)
        if time.monotonic() > until:
            raise FilmingFailed(f"it took longer than {seconds:g} s")
        time.sleep(_POLL_SECONDS)

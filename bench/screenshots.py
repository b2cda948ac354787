"""Take the pictures of the pages that the documentation shows, of a real job, in both themes.

    python -m bench.screenshots [--into docs/pages] [--only compare]

A small job is designed from start to end by a server with two workers; needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import HOW, chromium_path
from tests.stack import Stack, eventually, stack

JOB = {
    "task": "cartpole-park",
    "name": "park the cart",
    "iterations": 3,
    "candidates": 5,
    "training": {"steps": 150_000, "seeds": 2},
    "evaluation": {"episodes": 8, "confirm_seeds": 5, "confirm_episodes": 10},
}
LATER = {"task": "pendulum", "iterations": 2, "candidates": 3, "training": {"steps": 40_000}}
PATIENT = {**JOB, "name": "judge the parking", "iterations": 2, "await_feedback": True}
SIZE = {"width": 1280, "height": 900}
HAND = {"width": 360, "height": 720}
TALLEST = 1_700  # pixels of a page that are shown
COLOURS = (160, 64, 32, 16)
MOST_BYTES = 150_000


def main() -> None:
    """Run the jobs, look at every page, and keep what was seen."""
    parser = argparse.ArgumentParser(description="Take the pictures of the pages.")
    parser.add_argument("--into", type=Path, default=Path("docs/pages"))
    parser.add_argument("--only", nargs="+", default=None, help="Names of pages.")
    options = parser.parse_args()
    into: Path = options.into
    into.mkdir(parents=True, exist_ok=True)
    path = chromium_path()
    if path is None:
        raise SystemExit(HOW)
    with (
        tempfile.TemporaryDirectory() as folder,
        stack(Path(folder) / "home") as running,
        sync_playwright() as driver,
    ):
        running.serve("--workers", "2")
        done = running.post("/v1/jobs", JOB)["id"]
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        eventually(lambda: running.job(done)["best"], 300, "a first candidate is measured")
        for scheme in ("light", "dark"):
            _take(browser, running, f"/jobs/{done}", into / f"job-live-{scheme}.png", scheme)
        running.finished(done, 900)
        patient = running.post("/v1/jobs", PATIENT)["id"]
        eventually(lambda: running.job(patient)["status"] == "awaiting_feedback", 900, "a wait")
        running.post("/v1/jobs", LATER)
        shown = {**pages_of(running, done), "job-judged": f"/jobs/{patient}"}
        for scheme in ("light", "dark"):
            for name, where in shown.items():
                if options.only and name not in options.only:
                    continue
                _take(browser, running, where, into / f"{name}-{scheme}.png", scheme)
        _take(browser, running, f"/jobs/{done}", into / "job-hand.png", "light", HAND)
        browser.close()


def pages_of(running: Stack, job_id: str) -> dict[str, str]:
    """Return the pages by the names of their pictures."""
    found = running.get(f"/v1/jobs/{job_id}/candidates")["data"]
    measured = sorted((c for c in found if c["fitness"]), key=lambda c: -c["fitness"]["mean"])
    best = running.job(job_id)["best"]["id"]
    others = [c["id"] for c in measured if c["id"] != best][:2]
    chosen = "&".join(f"c={name}" for name in [best, *others])
    return {
        "jobs": "/jobs",
        "new-job": "/jobs/new",
        "job": f"/jobs/{job_id}",
        "candidate": f"/candidates/{best}",
        "compare": f"/compare?{chosen}",
        "cost": f"/jobs/{job_id}/cost",
        "workers": "/workers",
        "library": "/library",
        "tasks": "/tasks",
        "task": "/tasks/cartpole-park",
    }


def _take(
    browser: Any, running: Stack, where: str, file: Path, scheme: str, size: Any = None
) -> None:
    context = browser.new_context(viewport=size or SIZE, color_scheme=scheme)
    page = context.new_page()
    page.goto(running.url + where, wait_until="load")
    page.wait_for_timeout(1_000)
    tall = page.evaluate("document.documentElement.scrollHeight")
    shown = size or dict(SIZE, height=min(tall, TALLEST))
    clip = {"x": 0, "y": 0, **shown}
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    for colours in COLOURS:
        small = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
        small.save(file, optimize=True)
        if file.stat().st_size <= MOST_BYTES:
            break
    print(f"{file}: {file.stat().st_size // 1000} kB")
    context.close()


if __name__ == "__main__":
    main()

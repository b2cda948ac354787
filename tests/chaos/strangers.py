"""Somebody with another key asks for everything that the jobs of a round are known by."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx2

from core.storage import Store

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
LISTS = ("/v1/jobs", "/v1/library", "/v1/datasets/designer.jsonl")
MOST_JOBS = 3
PATIENCE_SECONDS = 20.0


def seen_by(url: str, key: str, store: Store, jobs: Mapping[str, str]) -> list[str]:
    """Return what a stranger's key is told of other people's jobs.

    Args:
        url:   of the server.
        key:   of somebody to whom none of the jobs belongs.
        store: that knows their parts.
        jobs:  ids by anything; a few of them are asked for.
    """
    chosen = sorted(jobs.values())[:MOST_JOBS]
    wrong = []
    for method, path in _questions(chosen, store):
        answer = _ask(method, url + path, key)
        if answer.status_code != 404:
            wrong.append(f"{method} {path}: {answer.status_code}")
    for path in LISTS:
        text = _ask("get", url + path, key).text
        wrong += [f"{path} names {job}" for job in jobs.values() if job in text]
    return wrong


def _questions(jobs: list[str], store: Store) -> Iterator[tuple[str, str]]:
    """Yield every question of the API that names a job or a part of one, and needs no body."""
    paths = json.loads(DOCUMENT.read_text())["paths"]
    for job in jobs:
        candidates = store.candidates(job, limit=1).items
        runs = store.native_runs(job)[:1]
        known = {"job_id": job, "number": "0"}
        known |= {"candidate_id": candidates[0].id} if candidates else {}
        known |= {"run_id": runs[0].id} if runs else {}
        for path, methods in paths.items():
            names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
            if not {"job_id", "candidate_id", "run_id"} & set(names) or not set(names) <= set(
                known
            ):
                continue
            for method, told in methods.items():
                if "requestBody" not in told:
                    yield method, path.format(**known)


def _ask(method: str, url: str, key: str) -> httpx2.Response:
    """Ask, as often as it takes: the server may just be coming back."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer = httpx2.request(
                method, url, headers={"Authorization": f"Bearer {key}"}, timeout=5
            )
        except httpx2.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            if answer.status_code != 503 or time.monotonic() > until:
                return answer

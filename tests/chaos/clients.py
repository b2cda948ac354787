"""The people outside: they submit jobs, cancel some, resume what was paused, and remember it all."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.chaos.schedule import Plan

BODY: dict[str, Any] = {
    "task": "cartpole",
    "iterations": 2,
    "candidates": 2,
    "screens": [],
    "training": {"steps": 2_000, "seeds": 1, "packs": 2, "checkpoints": 1},
    "evaluation": {"episodes": 2, "confirm_seeds": 2, "confirm_episodes": 2},
}
BUDGETS = (4_000, 12_000, 1_000_000)  # tokens: too few for all, about enough, plenty
RETRY_SECONDS = 0.3
RESUME_SECONDS = 1.0


@dataclass
class Clients:
    """Threads that use the API as people do, and never give up.

    Attributes:
        accepted: key -> id of every job that the server said it had taken.
        wrong:    what a server must never answer.
    """

    url: str
    plan: Plan
    key: str
    accepted: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    answers: int = 0
    _done: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for number, work in enumerate((self._submit, self._submit, self._resume)):
            thread = threading.Thread(target=work, args=(number,), name=f"client-{number}")
            self._threads.append(thread)
            thread.start()

    def submitted(self) -> bool:
        """Tell whether every job was accepted."""
        return not any(thread.is_alive() for thread in self._threads[:2])

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(30)

    def _submit(self, half: int) -> None:
        chance = random.Random(f"{self.plan.seed} jobs {half}")
        begun = time.monotonic()
        numbers = range(half, self.plan.jobs, 2)
        for place, number in enumerate(numbers):
            due = begun + self.plan.seconds * 0.9 * place / len(numbers)
            self._done.wait(max(0.0, due - time.monotonic()))
            self._one(f"key-{self.plan.seed}-{number}", chance)

    def _one(self, key: str, chance: random.Random) -> None:
        body = {**BODY, "seed": chance.randrange(100)}
        if chance.random() < self.plan.openai:
            body |= {"designer": {"name": "openai"}, "budget": {"tokens": chance.choice(BUDGETS)}}
        answer = self._until(
            lambda: self._post("/v1/jobs", body, {"Idempotency-Key": key}), (200, 202)
        )
        if answer is None:
            return
        self.accepted[key] = answer["id"]
        if chance.random() < self.plan.cancelled:
            self._done.wait(chance.uniform(0.0, 4.0))
            self._until(lambda: self._post(f"/v1/jobs/{answer['id']}/cancel"), (200, 202, 409))

    def _resume(self, _: int) -> None:
        while not self._done.wait(RESUME_SECONDS):
            answer = self._try(
                lambda: httpx2.get(
                    f"{self.url}/v1/jobs?status=paused&limit=100", headers=self._own, timeout=5
                )
            )
            if answer is None or answer.status_code != 200:
                continue
            for job in answer.json()["data"]:
                self._try(lambda job=job: self._post(f"/v1/jobs/{job['id']}/resume"))

    def _post(
        self, path: str, body: object | None = None, headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        told = {**(headers or {}), **self._own}
        return httpx2.post(f"{self.url}{path}", json=body, headers=told, timeout=5)

    @property
    def _own(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def _until(self, ask: Callable[[], httpx2.Response], good: tuple[int, ...]) -> Any:
        while not self._done.is_set():
            answer = self._try(ask)
            if answer is not None and answer.status_code in good:
                return answer.json()
            self._done.wait(RETRY_SECONDS)
        return None

    def _try(self, ask: Callable[[], httpx2.Response]) -> httpx2.Response | None:
        """Ask once; a server that is away is tried again, one that breaks is remembered."""
        try:
            answer = ask()
        except httpx2.TransportError:
            return None
        self.answers += 1
        if answer.status_code >= 500 and answer.status_code != 503:
            self.wrong.append(f"{answer.status_code}: {answer.text[:300]}")
        return answer

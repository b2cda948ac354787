"""What a worker of the suite works with: everything real but the laboratory, which trains nothing.

A training takes 5 to 30 ms here, so that a minute holds thousands of transitions instead of ten, and a
share of them takes as long as a lease, so that owners meet.  It keeps artifacts, saves on the way and
asks its watch, as a real one does.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from dataclasses import dataclass, replace
from functools import partial

from core.designers import Deadlines, DesignerSettings, make_designer
from core.ports import (
    Checked,
    FilmOrder,
    PackOrder,
    PackResult,
    Progress,
    Save,
    Screening,
    ScreenOrder,
    Watch,
    save_nothing,
)
from core.prices import read_prices
from core.records.history import History
from core.records.kinds import NATIVE
from core.records.measured import Preflight, Report, Rollout, Run, Saved, Walls
from core.records.programs import Program, ProgramShape
from core.records.spec import Training
from core.records.task import Task
from core.settings import Settings
from core.storage import FolderArtifacts, Store
from core.toolbox import Toolbox
from core.training.held_out import held_out_seeds
from core.tuning import propose_params
from workers.toolbox import StoredGate

SECONDS = (0.005, 0.03)
SLOW = "CHAOS_SLOW_TRAININGS"  # share of trainings that take
SLOW_SECONDS = (2.5, 3.5)
WATCH_SECONDS = 0.1
WEIGHTS_BYTES = 6_000
LEVEL = 3
DEADLINES = Deadlines(
    connect_seconds=1.0,
    attempt_seconds=1.0,
    call_seconds=4.0,
    attempts=3,
    pause_seconds=1.5,
    rest_seconds=0.5,
    gate_seconds=0.3,
)


@dataclass(frozen=True)
class PretendLaboratory:
    """Implements `core.ports.Laboratory` without any child."""

    artifacts: FolderArtifacts

    def walls(self) -> Walls:
        return Walls(LEVEL)

    def preflight(
        self, task: Task, training: Training, seed: int, watch: Watch, *, source: bool = False
    ) -> Preflight:
        return Preflight(
            fields=task.fields,
            observation_size=4,
            action={"kind": "discrete", "n": 2, "start": 0},
            max_episode_steps=500,
            quantiles={field.name: (-1.0, 0.0, 1.0) for field in task.fields},
            random_fitness=20.0,
            steps_per_second=1e6,
            adapter="pretend",
            probe=self.artifacts.put(_bytes("probe", seed)),
            estimate={},
            isolation_level=LEVEL,
        )

    def check(self, program: Program, task: Task, preflight: Preflight) -> ProgramShape:
        return ProgramShape(("upright",), (), 0.1)

    def check_and_screen(self, key: str, order: ScreenOrder) -> Checked:
        return Checked(ProgramShape(("upright",), (), 0.1), Screening((), {}))

    def screen(self, order: ScreenOrder, watch: Watch) -> Screening:
        return Screening((), {})

    def train(self, order: PackOrder, watch: Watch, save: Save = save_nothing) -> PackResult:
        chance = random.Random(_digest(repr(order.members), order.rung, order.stage))
        slow = chance.random() < float(os.environ.get(SLOW, "0"))
        seconds = chance.uniform(*(SLOW_SECONDS if slow else SECONDS))
        _train(seconds / 2, watch)
        save([self._saved(order, arm, seed) for arm, seed in order.members])
        _train(seconds / 2, watch)
        runs = tuple(self._run(order, arm, seed) for arm, seed in order.members)
        reports = {arm: Report() for arm in order.arms if arm != NATIVE}
        return PackResult(runs, reports)

    def film(self, order: FilmOrder, watch: Watch) -> Rollout:
        _train(SECONDS[0], watch)
        name = (order.arm.key, order.episode, *order.held_out)
        video, trace = (self.artifacts.put(_bytes(kind, *name)) for kind in ("video", "trace"))
        return Rollout(
            order.arm.key, order.episode, order.held_out[0], video=video, trace=trace, frames=1
        )

    def _saved(self, order: PackOrder, arm: str, seed: int) -> Saved:
        steps = (order.start_steps + order.stop_steps) // 2
        place = self.artifacts.put(_bytes(order.stage, arm, seed, order.rung, "half"))
        return Saved(order.stage, arm, seed, order.rung, steps, checkpoint=place)

    def _run(self, order: PackOrder, arm: str, seed: int) -> Run:
        program = order.arms[arm].program
        code = "native" if program is None else program.sha256
        run = Run(
            *(order.stage, arm, seed, order.rung, "scored"),
            env_steps=order.stop_steps - order.start_steps,
            seconds=0.01,
            isolation_level=LEVEL,
            adapter="pretend",
            backend="pretend",
        )
        luck = _digest(code, seed, order.rung) % 1000
        if arm != NATIVE and luck < 50:
            return replace(run, status="failed", failure="the loss was not finite")
        fitness = 100.0 + luck / 10
        return replace(
            run,
            fitness=fitness,
            episodes=(fitness,) * len(order.held_out),
            checkpoints=((order.stop_steps, fitness),),
            weights=self.artifacts.put(_bytes(code, seed, order.rung, order.stage)),
        )


def _train(seconds: float, watch: Watch) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        watch(Progress("training", 1, 2))
        time.sleep(min(left, WATCH_SECONDS))


def _digest(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


def _bytes(*parts: object) -> bytes:
    return random.Random(_digest(*parts)).randbytes(WEIGHTS_BYTES)


@dataclass(frozen=True)
class PretendBench:
    """Takes the place of `workers.toolbox.Bench`; the designers are real."""

    tools: Toolbox

    def permit(self, history: History) -> None:
        """Nothing that needs a wall is run here."""

    def close(self) -> None: ...


def open_pretend_bench(settings: Settings, store: Store) -> PretendBench:
    key = settings.openai_api_key
    assert key is not None
    designers = DesignerSettings(
        api_key=key.get_secret_value(),
        base_url=settings.openai_base_url,
        model="pretend-1",
        max_tokens=2_000,
        deadlines=DEADLINES,
        gates=lambda name: StoredGate(store, name, None),
    )
    tools = Toolbox(
        designer=lambda spec: make_designer(spec.designer, designers),
        laboratory=PretendLaboratory(FolderArtifacts(settings.artifacts_path)),
        held_out=partial(held_out_seeds, settings.secret_key()),
        tuner=propose_params,
        prices=read_prices(None),
        model="pretend-1",
    )
    return PretendBench(tools)

"""The composition root: settings in, the outside world out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import structlog

from core.designers import OPENAI_MODEL, Deadlines, DesignerSettings, make_designer
from core.errors import StorageFailed
from core.prices import read_prices
from core.records.history import History
from core.sandbox import Isolation, Sandbox, expect_hidden
from core.sandbox.selftest import FULL
from core.settings import Settings
from core.storage import FolderArtifacts, Store
from core.toolbox import Toolbox
from core.training.held_out import held_out_seeds
from core.training.laboratory import PRELOAD, PRELOAD_DESIGN, PRELOAD_TORCH, Laboratory
from core.training.supervising import Supervision
from core.tuning import propose_params

log = structlog.get_logger("rewardsmith.worker")


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker process owns: the tools for steps, and the sandboxes behind them.

    Attributes:
        tools:     for steps.
        sandboxes: all of them; some are started when they are first needed.
        held_to:   those that are held to the isolation that is asked for.
        required_isolation: the level below which code that a model or a person wrote is not run here;
            0 where the operator said by name that weaker walls will do.
    """

    tools: Toolbox
    sandboxes: tuple[Sandbox, ...]
    held_to: tuple[Sandbox, ...]
    required_isolation: int

    def permit(self, history: History) -> None:
        """Make sure that this machine's walls are good enough for a job.

        Programs of our own grammar contain nothing but arithmetic on fields, so they may run at a
        lower level, which is stored with every run; what people handed in is not of it.

        Raises:
            IsolationTooWeak: says what is missing and how to get it.
        """
        if history.spec.designer.name != "evolution" or history.given:
            for sandbox in self.held_to:
                sandbox.require(self.required_isolation)

    def close(self) -> None:
        """End the sandboxes, and all children with them."""
        for sandbox in self.sandboxes:
            sandbox.close()


@dataclass(frozen=True, slots=True)
class StoredGate:
    """Implements `core.ports.Gate` on the database, where all workers meet."""

    store: Store
    name: str
    per_minute: float | None

    def enter(self) -> float:
        """Return 0 if a call may be made now, and count it; else for how many seconds to wait."""
        return self.store.endpoints.enter(self.name, self.per_minute)

    def leave(self, ended: Literal["answered", "failed", "refused"]) -> None:
        """Note how a call ended; where the database is away, what was answered is not lost for that."""
        try:
            self.store.endpoints.leave(self.name, ended)
        except StorageFailed as error:
            log.warning("end of a call not noted", endpoint=self.name, reason=str(error))


def open_bench(settings: Settings, store: Store, *, trains: bool, slots: int = 1) -> Bench:
    """Start the sandboxes and put the tools together.

    What most proposals need fits into a small one, whose children start in half the time.  The large
    one of a worker that does not train is for programs in torch, and waits for the first of them.

    Args:
        settings: of this machine.
        store:    where workers meet.
        trains:   whether training must be possible; a design-only worker stays light.
        slots:    how many steps this worker does at a time, and the machine at once: into so many
                  packs a job's runs are split that does not ask for a number.

    Raises:
        ConfigurationError: generated code could read what this machine keeps.
        ZygoteFailed: a sandbox cannot be started.
    """
    expect_hidden(settings.private_paths(), settings.environment_paths)
    folders = [Path(folder) for folder in settings.environment_paths]
    light = Sandbox(PRELOAD_DESIGN)
    large = Sandbox(PRELOAD if trains else PRELOAD_TORCH, import_paths=folders)
    now = (large, light) if trains else (light,)
    try:
        weakest = min(_started(now), key=lambda found: found.level)
    except BaseException:
        for sandbox in (large, light):
            sandbox.close()
        raise
    allowed = settings.allow_weaker_isolation == "i-understand"
    required = 0 if allowed else settings.required_isolation
    # A lower requirement is the same word of the operator's, given in another setting.
    waived = required <= weakest.level < FULL
    if waived:
        log.warning("generated code runs behind weaker walls", **asdict(weakest))
    artifacts = FolderArtifacts(settings.artifacts_path)
    tools = Toolbox(
        designer=lambda spec: make_designer(spec.designer, designer_settings(settings, store)),
        laboratory=Laboratory(
            large,
            artifacts,
            Supervision(device=settings.device, niceness=settings.training_nice),
            at_once=slots,
            waived=waived,
            light=light,
        ),
        held_out=partial(held_out_seeds, settings.secret_key()),
        tuner=propose_params,
        prices=read_prices(settings.prices),
        model=settings.openai_model or OPENAI_MODEL,
    )
    return Bench(tools, (large, light), now, required)


def _started(sandboxes: Sequence[Sandbox]) -> list[Isolation]:
    """Start them at once, for one of them takes seconds; return what they found of their walls."""
    with ThreadPoolExecutor(len(sandboxes)) as pool:
        return list(pool.map(lambda sandbox: sandbox.isolation, sandboxes))


def designer_settings(settings: Settings, store: Store) -> DesignerSettings:
    """Return what designers need to know of a machine's settings."""
    key = settings.openai_api_key
    deadlines = Deadlines(
        attempt_seconds=settings.designer_attempt_seconds,
        call_seconds=settings.designer_call_seconds,
        attempts=settings.designer_attempts,
    )
    return DesignerSettings(
        api_key=None if key is None else key.get_secret_value(),
        base_url=settings.openai_base_url,
        model=settings.openai_model or OPENAI_MODEL,
        max_tokens=settings.openai_max_tokens,
        deadlines=deadlines,
        recordings=settings.recordings_path,
        gates=lambda name: StoredGate(store, name, settings.designer_calls_per_minute),
    )

"""The pipe between a worker and its training child: an order in, news out.

Both ends use this page, so it imports neither torch nor an environment.  The worker reads news with
`core.training.news`, which believes nothing that it has not checked.

    order          → what to train, once
    begun          ← what steps the environments and computes the networks, before the first step
    progress       ← one to five times a second
    snapshot       ← weights of the living members, when a requested step count is reached
    member_saved   ← a living member's curve and checkpoint on the way, every so often; and then
    pack_saved     ← that all living members have said theirs
    member_failed  ← a member that cannot go on, and why
    member_done    ← a living member's curve and checkpoint, at the end
    done           ← the last word; or
    broken         ← the last word, if the environment or a checkpoint is at fault and not a program
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from core.ports import PackOrder
from core.records.kinds import FITNESS, Json, Mode
from core.records.measured import Curve
from core.records.programs import Program
from core.records.task import Task
from core.sandbox.codec import BadFrame, Frame
from core.training.wire import program_from_json, program_to_json, task_from_json, task_to_json

Message: TypeAlias = tuple[dict[str, Any], dict[str, bytes]]  # header and blobs of a frame

MOST_REASON_LETTERS = 1200
SAVE_SECONDS = 30.0  # between two savings of a pack, at the beginning of a rung
_STORED = "stored."  # begins the names of blobs that are not a member's own checkpoint
LAST_WORDS = frozenset({"done", "broken"})  # kinds of frames after which nothing follows


# --- worker to child ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainOrder:
    """What a training child is to do.

    Attributes:
        task:        with its fields.
        settings:    of the learner, by name; the task's own were merged in when the job was made.
        envs:        environments per member.
        mode, weight: how the designed reward is composed with the native one.
        members:     (arm key, seed), in the order in which the news number them.
        programs:    arm key -> program; None trains on the native reward.
        start_steps, stop_steps: environment steps per member at which the rung begins and ends.
        total_steps: the last rung's last step.
        checkpoint_at: step counts at which weights are wanted.
        resume:      place of a member -> checkpoint to go on from.
        threads:     that the environments may use for their physics.
        algorithm:   the learner.
        warm:        place of a member -> names of what its replay begins with, in `stored`.
        stored:      name -> checkpoint of another run.
        device:      where to train, as `core.training.devices.pick_device` reads it.
        fitness_alone: whether the environment's rewards give way to the fitness, step by step.
        time_limit:  of an episode in steps, None if there is none.
        learner:     the user's own, as `core.learners` reads it; None for ours.
    """

    task: Task
    settings: Json
    envs: int
    mode: Mode
    weight: float
    members: tuple[tuple[str, int], ...]
    programs: Mapping[str, Program | None]
    start_steps: int
    stop_steps: int
    total_steps: int
    checkpoint_at: tuple[int, ...]
    resume: Mapping[int, bytes] = field(default_factory=dict)
    threads: int = 1
    algorithm: str = "ppo"
    warm: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    stored: Mapping[str, bytes] = field(default_factory=dict)
    device: str = "cpu"
    fitness_alone: bool = False
    time_limit: int | None = None
    learner: Json | None = None


def train_order(
    order: PackOrder,
    resume: Mapping[tuple[str, int], bytes],
    known_steps: int = 0,
    stored: Mapping[str, bytes] | None = None,
) -> TrainOrder:
    """Say what a pack's order means for the child.

    Args:
        order:       the pack.
        resume:      (arm key, seed) -> the checkpoint's bytes; empty at the start of rung 0.
        known_steps: the last step count at which weights are known from an earlier child.
        stored:      sha256 -> bytes of the checkpoints that `order.warm` names.

    Raises:
        ValueError: the fitness alone in one pack with other arms.
    """
    alone = FITNESS in order.arms
    if alone and len(order.arms) > 1:
        raise ValueError(f"expected the fitness in a pack of its own, but found {list(order.arms)}")
    return TrainOrder(
        task=order.task,
        settings=dict(order.training.settings),
        envs=order.training.envs,
        mode=order.mode,
        weight=order.weight,
        members=order.members,
        programs={key: arm.program for key, arm in order.arms.items()},
        start_steps=order.start_steps,
        stop_steps=order.stop_steps,
        total_steps=max(order.training.steps, order.stop_steps),
        checkpoint_at=tuple(at for at in checkpoint_steps(order) if at > known_steps),
        threads=order.threads,
        resume={place: resume[m] for place, m in enumerate(order.members) if m in resume},
        algorithm=order.training.algorithm,
        warm={place: order.warm[m] for place, m in enumerate(order.members) if m in order.warm},
        stored=stored or {},
        fitness_alone=alone,
        time_limit=order.preflight.max_episode_steps,
        learner=order.learner,
    )


def checkpoint_steps(order: PackOrder) -> tuple[int, ...]:
    """Return the different step counts at which an order wants weights, ascending."""
    length, count = order.stop_steps - order.start_steps, max(1, order.checkpoints)
    steps = (order.start_steps + length * (i + 1) // count for i in range(count))
    return tuple(dict.fromkeys(steps))


def order_message(order: TrainOrder) -> Message:
    """Return the order as a frame's header and blobs."""
    header = {
        "kind": "order",
        "task": task_to_json(order.task),
        "settings": dict(order.settings),
        "envs": order.envs,
        "mode": order.mode,
        "weight": order.weight,
        "members": [list(member) for member in order.members],
        "programs": {key: program_to_json(p) for key, p in order.programs.items()},
        "start_steps": order.start_steps,
        "stop_steps": order.stop_steps,
        "total_steps": order.total_steps,
        "checkpoint_at": list(order.checkpoint_at),
        "threads": order.threads,
        "algorithm": order.algorithm,
        "device": order.device,
        "fitness_alone": order.fitness_alone,
        "time_limit": order.time_limit,
        "learner": None if order.learner is None else dict(order.learner),
        "warm": {str(place): list(names) for place, names in order.warm.items()},
    }
    resume = {str(place): content for place, content in order.resume.items()}
    return header, resume | {_STORED + name: content for name, content in order.stored.items()}


def read_order(frame: Frame) -> TrainOrder:
    """Return the order that `order_message` wrote; the child trusts its worker.

    Raises:
        BadFrame: it is no order.
    """
    header = frame.header
    if header.get("kind") != "order":
        raise BadFrame(repr(header.get("kind")), expected="an order")
    return TrainOrder(
        task=task_from_json(header["task"]),
        settings=header["settings"],
        envs=header["envs"],
        mode=header["mode"],
        weight=header["weight"],
        members=tuple((arm, seed) for arm, seed in header["members"]),
        programs={key: program_from_json(data) for key, data in header["programs"].items()},
        start_steps=header["start_steps"],
        stop_steps=header["stop_steps"],
        total_steps=header["total_steps"],
        checkpoint_at=tuple(header["checkpoint_at"]),
        threads=header["threads"],
        resume={int(name): b for name, b in frame.blobs.items() if not name.startswith(_STORED)},
        algorithm=header["algorithm"],
        device=header["device"],
        fitness_alone=header["fitness_alone"],
        time_limit=header["time_limit"],
        learner=header["learner"],
        warm={int(place): tuple(names) for place, names in header["warm"].items()},
        stored={
            name.removeprefix(_STORED): content
            for name, content in frame.blobs.items()
            if name.startswith(_STORED)
        },
    )


# --- child to worker ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begun:
    """What steps the environments, and what computes the networks."""

    adapter: str
    backend: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """Environment steps of all members together so far, and their speed."""

    done: int
    steps_per_second: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Weights by member's place, at a step count per member."""

    steps: int
    weights: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class MemberSaved:
    """What a living member can go on from if its process ends before its rung does."""

    member: int
    curve: Curve
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class PackSaved:
    """All living members have been saved, at a step count per member, after seconds of training."""

    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """A member that cannot go on."""

    member: int
    steps: int
    reason: str


@dataclass(frozen=True, slots=True)
class MemberDone:
    """What a living member ends with."""

    member: int
    env_steps: int
    curve: Curve
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The last word of a child that carried its order out, after seconds of wall-clock training."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The last word of a child that could not: `error` is a class of `core.errors`."""

    error: str
    reason: str


News: TypeAlias = (
    Begun
    | Advanced
    | Snapshot
    | MemberSaved
    | PackSaved
    | MemberFailed
    | MemberDone
    | Done
    | Broken
)


def news_message(news: News) -> Message:
    """Return news as a frame's header and blobs."""
    match news:
        case Begun(adapter, backend):
            return {"kind": "begun", "adapter": adapter, "backend": backend}, {}
        case Advanced(done, speed):
            return {"kind": "progress", "done": done, "steps_per_second": speed}, {}
        case Snapshot(steps, weights):
            return {"kind": "snapshot", "steps": steps}, {str(m): w for m, w in weights.items()}
        case MemberSaved(member, curve, checkpoint):
            header = {"kind": "member_saved", "member": member, **_curve_header(curve)}
            return header, {"checkpoint": checkpoint}
        case PackSaved(steps, seconds):
            return {"kind": "pack_saved", "steps": steps, "seconds": seconds}, {}
        case MemberFailed(member, steps, reason):
            said = {"member": member, "steps": steps, "reason": reason[:MOST_REASON_LETTERS]}
            return {"kind": "member_failed", **said}, {}
        case MemberDone(member, env_steps, curve, checkpoint):
            said = {"member": member, "env_steps": env_steps, **_curve_header(curve)}
            return {"kind": "member_done", **said}, {"checkpoint": checkpoint}
        case Done(seconds):
            return {"kind": "done", "seconds": seconds}, {}
        case Broken(error, reason):
            return {"kind": "broken", "error": error, "reason": reason[:MOST_REASON_LETTERS]}, {}


def _curve_header(curve: Curve) -> dict[str, Any]:
    series = {name: list(values) for name, values in curve.series.items()}
    return {"steps": list(curve.steps), "series": series}

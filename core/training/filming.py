"""The parent's side of a film: an episode lived in the jail, drawn, encoded, and traced.

film_child   lives the episode with the actor, in the jail    → pictures or states, steps
examine      what the program paid for each step, in the jail → components, features
painting     MuJoCo's states, outside                         → pictures
video        pictures                                         → MP4, WebP
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from core.errors import FilmingFailed, ScoringFailed
from core.fields import Floats
from core.ports import Artifacts, FilmOrder, Progress, Watch
from core.records.kinds import Json
from core.records.measured import Rollout
from core.sandbox import ChildFailed, Frame, Sandbox
from core.training.attending import next_frame
from core.training.examining import LIMITS, read_terms
from core.training.lived import save_lived
from core.training.measuring import ACTOR, Actors, Companion, converse, expect_ready, limits_of
from core.training.painting import paint
from core.training.transitions import Recording, load_recording, save_recording
from core.training.video import Pictures, encode_mp4, encode_preview
from core.training.wire import layout_from_json, program_to_json, space_to_json, task_to_json

CAMERA = "core.training.film_child:film"
TERMS = "core.training.examine:tell_terms"
LONGEST_SECONDS = 10.0  # of a video
FPS = 30.0
MOST_TRACED = 600
ASKED_AT_ONCE = 1_000  # steps of which a program is asked what it paid
TOLD_SECONDS = 120.0  # for all of them; an answer takes tens of milliseconds
KINDS = ("components", "features")
_DIGITS = 6


Told: TypeAlias = Mapping[str, Mapping[str, Floats]]
"""Kind of term -> name -> [N]."""


@dataclass(frozen=True, slots=True)
class Take:
    """An episode as the camera saw it; `shots` are pictures or states, see `camera`."""

    fitness: float
    native: float
    length: int
    terminated: bool
    camera: str
    why: str
    count: int
    size: tuple[int, int]
    fps: float
    every: int
    shots: bytes
    recording: Recording


def film_episode(sandbox: Sandbox, artifacts: Artifacts, order: FilmOrder, watch: Watch) -> Rollout:
    """Live an episode again before a camera; see the port.

    Raises:
        ScoringFailed, EnvironmentUnusable, SandboxFailed: it could not be lived.
    """
    assert order.run.weights is not None  # only such runs are filmed
    weights = artifacts.get(order.run.weights)
    take = _lived(sandbox, order, weights, watch)
    rollout = Rollout(
        arm=order.arm.key,
        episode=order.episode,
        seed=order.held_out[0],
        training_seed=order.run.seed,
        weights=order.run.weights,
        fitness=take.fitness,
        native=take.native,
        length=take.length,
        terminated=take.terminated,
        steps_per_frame=take.every,
    )
    told = _told(sandbox, order, take.recording, watch)
    trace = _trace(order, take, told)
    rollout = replace(
        rollout,
        trace=artifacts.put(json.dumps(trace, allow_nan=False).encode()),
        recording=artifacts.put(
            save_lived(take.recording.transitions, order.preflight.observation_size, told)
        ),
    )
    try:
        pictures = _pictures(order, take, watch)
        progress = _progress(order, "encoding")
        video, preview = encode_mp4(pictures, watch, progress), encode_preview(pictures)
    except FilmingFailed as error:
        return replace(rollout, failure=str(error))
    count, height, width = pictures.rgb.shape[:3]
    return replace(
        rollout,
        frames=count,
        fps=pictures.fps,
        width=width,
        height=height,
        video=artifacts.put(video),
        preview=artifacts.put(preview),
    )


def _progress(order: FilmOrder, note: str) -> Progress:
    return Progress("filming", 0, 1, f"{order.arm.key}: {note}")


# --- the episode ------------------------------------------------------------------------------


def _lived(sandbox: Sandbox, order: FilmOrder, weights: bytes, watch: Watch) -> Take:
    """Let camera and actor live the episode."""
    progress = _progress(order, "an episode")
    limits = limits_of(order, 1)
    asked = {
        "task": task_to_json(order.task),
        "seed": order.held_out[0],
        "max_episode_steps": order.preflight.max_episode_steps,
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ExitStack() as stack:
        stack.enter_context(theirs)
        camera = stack.enter_context(sandbox.spawn(CAMERA, limits, links=[ours]))
        camera.send(asked)
        expect_ready(next_frame(camera, watch, progress))

        def companion(_: int, held: ExitStack) -> Companion:
            child = held.enter_context(sandbox.spawn(ACTOR, limits, links=[theirs]))
            return Companion(child, order, order.arm.program, [weights])

        actors = stack.enter_context(Actors(companion))
        actors.turn(0)
        return _read_take(converse(camera, actors, "filmed", watch, progress))


def _read_take(frame: Frame) -> Take:
    said: dict[str, Any] = dict(frame.header)
    try:
        return Take(
            fitness=float(said["fitness"]),
            native=float(said["native"]),
            length=int(said["length"]),
            terminated=bool(said["terminated"]),
            camera=str(said["camera"]),
            why=str(said["why"])[:400],
            count=int(said["shots"]),
            size=(int(said["size"][0]), int(said["size"][1])),
            fps=float(said["fps"]),
            every=max(1, int(said["every"])),
            shots=frame.blobs["shots"],
            recording=load_recording(frame.blobs["recording"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ScoringFailed(f"{error}", expected="a filmed episode", where="camera") from error


# --- the pictures -----------------------------------------------------------------------------


def _pictures(order: FilmOrder, take: Take, watch: Watch) -> Pictures:
    """Return the film: in its own time if that is short, else as fast as it has to be.

    Raises:
        FilmingFailed: there are no pictures.
    """
    if take.camera == "nothing" or not take.count:
        raise FilmingFailed(take.why or "there were no pictures")
    fps = min(FPS, max(take.fps / take.every, take.count / LONGEST_SECONDS))
    if take.camera == "states":
        progress = _progress(order, "drawing")
        return Pictures(paint(order.task, take.shots, take.count, watch, progress), fps)
    width, height = take.size
    if len(take.shots) != take.count * width * height * 3:
        raise FilmingFailed(f"{len(take.shots)} bytes", expected=f"{take.count} pictures")
    rgb = np.frombuffer(take.shots, np.uint8).reshape(take.count, height, width, 3)
    return Pictures(rgb, fps)


# --- the trace --------------------------------------------------------------------------------


def _trace(order: FilmOrder, take: Take, told: Told) -> Json:
    """Return what was known at each step, or each k-th of a long episode.

    `steps` count from 1, as the state after that many; the picture of a step is number
    step / steps_per_frame.
    """
    whole = take.recording.transitions
    every = -(-len(whole) // MOST_TRACED)
    places = np.arange(every - 1, len(whole), every)
    shown = whole.take(places)
    layout = layout_from_json(space_to_json(order.preflight))
    fields: dict[str, list[float]] = {}
    for column in layout.columns:
        for place in range(column.start, column.stop):
            number = "" if column.scalar else f"[{place - column.start}]"
            fields[f"{column.field.name}{number}"] = _rounded(shown.next[:, place])
    action = np.asarray(shown.action, np.float64).reshape(len(places), -1)
    return {
        "steps": (places + 1).tolist(),
        "steps_per_frame": take.every,
        "fields": fields,
        "action": [_rounded(column) for column in action.T],
        "native": _rounded(shown.native),
        **{
            kind: {n: _rounded(v[places]) for n, v in terms.items()} for kind, terms in told.items()
        },
    }


def _told(sandbox: Sandbox, order: FilmOrder, lived: Recording, watch: Watch) -> Told:
    """Ask the program, in the jail, what it paid for the steps; empty where it cannot say.

    It is asked piece by piece, because an answer has a greatest length; a piece of which it cannot say
    anything is the last, and so is one that comes too late.
    """
    count, until = len(lived.transitions), time.monotonic() + TOLD_SECONDS
    pieces: list[dict[str, dict[str, list[float]]]] = []
    for cut in range(0, count if order.arm.program is not None else 0, ASKED_AT_ONCE):
        pieces.append(_terms(sandbox, order, _rows(lived, cut), watch))
        if not any(pieces[-1].values()) or time.monotonic() > until:
            break
    return {kind: _joined([piece[kind] for piece in pieces], count) for kind in KINDS}


def _rows(lived: Recording, first: int) -> Recording:
    rows = slice(first, first + ASKED_AT_ONCE)
    return Recording(lived.transitions.take(rows), lived.episode[rows], lived.fitness)


def _joined(pieces: Sequence[Mapping[str, Sequence[float]]], count: int) -> Mapping[str, Floats]:
    """Return the terms of which every piece tells, name -> [N]."""
    names = pieces[0] if pieces else ()
    found = {n: [v for piece in pieces for v in piece.get(n, ())] for n in names}
    return {n: np.array(v, np.float32) for n, v in found.items() if len(v) == count}


def _terms(
    sandbox: Sandbox, order: FilmOrder, shown: Recording, watch: Watch
) -> dict[str, dict[str, list[float]]]:
    assert order.arm.program is not None  # `_told` asks nobody else
    header = {
        "program": program_to_json(order.arm.program),
        "space": space_to_json(order.preflight),
    }
    with sandbox.spawn(TERMS, LIMITS) as child:
        try:
            child.send(header, {"recording": save_recording(shown)})
            frame = next_frame(child, watch, _progress(order, "its terms"))
        except ChildFailed:
            return {kind: {} for kind in KINDS}
    return {kind: read_terms(frame, kind, len(shown.transitions)) for kind in KINDS}


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in np.asarray(values, np.float64).tolist()]

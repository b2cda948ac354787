"""A small task, and jobs at several points of their way; what prompts and methods are tried on."""

from dataclasses import replace

from core.program import read_program
from core.records.history import History
from core.records.measured import Curve, Preflight, Report, Run, TermStatistics
from core.records.people import Remark
from core.records.programs import Check, ProgramShape, Screen
from core.records.rounds import Candidate, Iteration
from core.records.spec import JobSpec, Training
from core.records.task import Field, Fitness, Task

FIELDS = (
    Field("position", "obs[0]", "m", -2.4, 2.4, "position of the sled on its rail"),
    Field("velocity", "obs[1]", "m/s", meaning="velocity of the sled, positive to the right"),
    Field("wind", "obs[2:5]", "m/s", meaning="wind at three masts"),
    Field("tension", "sim.cable[0]", "N", meaning="pull of the cable", visible=("reward",)),
    Field("slack", "info.slack", "1", meaning="1 if the cable went slack", visible=("reward",)),
    Field("terminated", "terminated", "1", 0.0, 1.0, "1 when the sled left its rail"),
    Field("judge_mark", "info.judge_mark", "1", meaning="what a judge gave", visible=("metric",)),
)
TASK = Task(
    name="sled-hold",
    environment="Sled-v0",
    description="Hold the sled one metre to the right of the centre, in any wind.",
    fitness=Fitness(
        "share", where="0.9 < position < 1.1 and judge_mark > 3", horizon=200, goal=0.9
    ),
    fields=FIELDS,
    actions="action[0] is the pull of the winch, from -1 (left) to 1 (right).",
)
PREFLIGHT = Preflight(
    fields=FIELDS,
    observation_size=5,
    action={"kind": "box", "size": 1, "low": [-1.0], "high": [1.0]},
    max_episode_steps=200,
    quantiles={
        "position": (-1.6, 0.01, 1.7),
        "velocity": (-0.9, 0.0, 0.9),
        "wind": (-4.0, 0.2, 4.1),
        "tension": (0.0, 12.5, 80.0),
        "slack": (0.0, 0.0, 1.0),
        "terminated": (0.0, 0.0, 1.0),
        "judge_mark": (0.0, 2.0, 5.0),
    },
    random_fitness=0.05,
    steps_per_second=40_000.0,
    adapter="numpy",
    probe="0" * 64,
    estimate={},
)
TRAINING = Training(steps=100_000, seeds=2, rungs=(0.3, 1.0))
SPEC = JobSpec(task=TASK, iterations=3, candidates=4, training=TRAINING)

GOOD = """\
import numpy as np

PARAMS = {"hold": 1.0, "calm": 0.1}


def reward(obs, action, next_obs, params):
    error = np.abs(next_obs.position - 1.0)
    return {
        "hold": params.hold * np.exp(-np.square(error)),
        "calm": -params.calm * np.abs(next_obs.velocity),
    }
"""
PLAIN = """\
import numpy as np


def reward(obs, action, next_obs, params):
    return {"alive": 1.0 - next_obs.terminated}
"""
REPLY = f"""\
The sled drifts with the wind. A bell around the goal leads it there.

Prediction: fitness 0.6; component hold rises

```python
{GOOD}```
"""


def native_runs(fitness=0.4):
    return tuple(
        Run(
            "baseline",
            "native",
            seed,
            1,
            "scored",
            fitness,
            checkpoints=((50_000, fitness / 2), (100_000, fitness)),
        )
        for seed in (0, 1)
    )


def a_job(*iterations, spec=SPEC, **facts):
    """A job whose preflight and baseline are done."""
    return History(
        spec,
        status="running",
        preflight=facts.pop("preflight", PREFLIGHT),
        native=facts.pop("native", native_runs()),
        iterations=tuple(iterations),
        **facts,
    )


def runs_of(key, fitness, rung=1):
    """Two seeds; the second is a little worse."""
    return tuple(
        Run(
            "search",
            key,
            seed,
            level,
            "scored",
            value * (0.5 if level < rung else 1.0),
            checkpoints=(
                ((15_000, value * 0.2), (30_000, value * 0.5))
                if level == 0
                else ((65_000, value * 0.8), (100_000, value))
            ),
            curve=Curve((10_000, 20_000), {"return": (1.0, 2.0)}),
        )
        for level in range(rung + 1)
        for seed, value in ((0, fitness + 0.02), (1, fitness - 0.02))
    )


REPORT = Report(
    components={
        "hold": TermStatistics(0.7, 0.2, 0.0, 1.0, 0.9, 0.1, 0.0, 0.8, (0.1, 0.3, 0.6, 0.7)),
        "calm": TermStatistics(
            -0.02, 0.01, -0.09, 0.0, 0.1, 0.0, 0.0, -0.5, (-0.05, -0.02, -0.02, -0.02)
        ),
    },
    features={
        "gap": TermStatistics(
            0.1, 0.3, -1.0, 1.0, correlation=-0.4, smooth=1.4, explains=0.3, used=0.2, lipschitz=8.0
        )
    },
    inputs={
        "position": TermStatistics(0.9, 0.4, -1.0, 2.4, smooth=2.2, explains=0.5, lipschitz=40.0),
        "velocity": TermStatistics(0.0, 0.3, -1.0, 1.0, smooth=0.9, explains=0.05, lipschitz=3.0),
    },
    episode_length=180.0,
    terminated=0.2,
    episodes={
        "best": ({"step": 0, "position": 0.0, "judge_mark": 1.0}, {"step": 199, "position": 1.0}),
        "worst": ({"step": 0, "position": 0.0}, {"step": 40, "position": 2.4}),
    },
    recorded=20,
    told={"best": {"fitness": 0.71}, "worst": {"fitness": 0.02}},
)


def trained(iteration, number, fitness, source=GOOD, operator="seed", report=REPORT, **facts):
    """A candidate that reached the last rung."""
    key = f"{iteration}.{number}"
    return Candidate(
        iteration,
        number,
        operator,
        "trained",
        analysis=f"Idea {key}: pull towards the mark. The rest follows.",
        prediction=f"fitness {fitness + 0.2:.1f}; component hold rises",
        program=read_program(source, FIELDS, "replace"),
        shape=ProgramShape(("hold", "calm"), ("gap",), 0.1),
        runs=runs_of(key, fitness),
        report=report,
        **facts,
    )


def rejected(iteration, number, message="line 3: expected shape (7,), but found shape (7, 3)"):
    """A candidate whose program never passed its checks."""
    return Candidate(
        iteration,
        number,
        "seed",
        "rejected",
        analysis="Idea: reward every mast at once.",
        checks=(Check("shape", False, message),),
        rejection=message,
    )


def broken(iteration, number, reason="the loss was not finite after 12,000 steps"):
    """A candidate whose training broke."""
    key = f"{iteration}.{number}"
    program = read_program(PLAIN, FIELDS, "replace")
    failed = Run("search", key, 0, 0, "failed", failure=reason)
    return Candidate(iteration, number, "seed", "failed", program=program, runs=(failed,))


def trained_screened(iteration, number):
    """A candidate that a screen kept from training."""
    message = (
        "8 of 20 pairs of stored trajectories are ordered wrongly. The worst: trajectory 3 (fitness "
        "0.9) is paid 12, trajectory 7 (fitness 0.1) is paid 80."
    )
    return replace(
        trained(iteration, number, 0.5, PLAIN),
        status="screened",
        runs=(),
        report=None,
        screens=(Screen("duplicate", "pass"), Screen("order", "fail", -0.2, message)),
        saved_steps=200_000,
    )


REMARK = Remark(0, "text", "0.0", text="It reaches the mark but shivers there.", iteration=0)


def spec_of(method, **changes):
    """The job of a method with its own defaults, with four slots at most."""
    given = {}
    for name, value in method.defaults.items():
        piece = getattr(SPEC, name)
        given[name] = replace(piece, **value) if isinstance(value, dict) else value
    given["candidates"] = min(given.get("candidates", SPEC.candidates), 4)
    return replace(SPEC, **{**given, **changes})


def closed_iteration(method, number, *candidates, before=(), spec=SPEC, analysis=""):
    """An iteration that the method has reflected on."""
    open_one = Iteration(number, tuple(candidates), proposed=True)
    feedback = method.digest(a_job(*before, open_one, spec=spec), number)
    return replace(open_one, feedback=replace(feedback, analysis=analysis))


def one_iteration(method, *candidates, spec=SPEC, analysis=""):
    """A job after its first iteration."""
    return a_job(closed_iteration(method, 0, *candidates, spec=spec, analysis=analysis), spec=spec)


def some_iteration(method, spec=SPEC, analysis=""):
    """A job after a first iteration in which everything happened: best, weak, rejected, broken."""
    return one_iteration(
        method,
        trained(0, 0, 0.55),
        trained(0, 1, 0.3, PLAIN),
        rejected(0, 2),
        broken(0, 3),
        spec=spec,
        analysis=analysis,
    )


def reopened(history):
    """The same job just before its last iteration was reflected on."""
    *before, last = history.iterations
    return replace(history, iterations=(*before, replace(last, feedback=None)))


def text_of(prompt):
    return "\n".join(text for _, text in prompt.messages)


def with_slots(history, count):
    return replace(history, spec=replace(history.spec, candidates=count))

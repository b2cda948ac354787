"""What is to be learnt: an environment, its named fields, and how well it was done."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.records.kinds import ArrayLibrary, FitnessKind, Json, Reduction, Visibility


@dataclass(frozen=True, slots=True)
class Field:
    """One named piece of an observation.

    Attributes:
        name:    Python identifier by which programs and fitness read it.
        source:  `obs[i]`, `obs[i:j]`, `obs.key[i]`, `obs.key[i:j]`, `info.key`, `sim.name[...]`
                 or `terminated` (design page, §10.6).
        unit:    SI unit, "1" for a pure number.
        low:     smallest value the environment documents or guarantees; None if unbounded.
        high:    largest value; None if unbounded.
        meaning: a phrase for people and models.
        visible: who may see it: the policy, the designed reward, or only the metric.
    """

    name: str
    source: str
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    visible: tuple[Visibility, ...] = ("policy", "reward")


@dataclass(frozen=True, slots=True)
class Fitness:
    """How well an episode was done; higher is better; no generated code can reach it.

    kind      per episode
    return    sum of the native reward
    success   1 if `where` held (over="any": at any step; over="last": at the last one), else 0
    share     number of steps at which `where` held, divided by `horizon`
    statistic `over` (mean, max, min, last, sum) of `field`, a field or a sum of fields
    least     the smallest of its `parts`, each a fitness of another kind: all of them are wanted

    `goal` is the value at which the task counts as solved, if there is one.
    """

    kind: FitnessKind = "return"
    where: str | None = None
    field: str | None = None
    over: Reduction | None = None
    horizon: int | None = None
    goal: float | None = None
    parts: tuple[Fitness, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learnt.

    `fields` is empty for an environment outside the catalogue until preflight has derived them from
    its observation space.  `max_episode_steps` None means the environment's own time limit.
    `array` is the library in which its programs are written: torch for simulators on a GPU.
    """

    name: str
    environment: str
    description: str
    fitness: Fitness = Fitness()
    fields: tuple[Field, ...] = ()
    env_kwargs: Json = field(default_factory=dict)
    max_episode_steps: int | None = None
    actions: str = ""
    training: Json = field(default_factory=dict)  # the catalogue's own training defaults
    array: ArrayLibrary = "numpy"

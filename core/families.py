"""Families of environments that come in a package of their own, by their names alone.

Gymnasium knows their ids only once that package has been imported; in an id of the form `module:EnvId`
it imports the module itself.  Nothing is imported here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROBOTICS = "gymnasium_robotics"


@dataclass(frozen=True, slots=True)
class Family:
    """Environments that are registered by importing one module.

    Attributes:
        names:       that its environments bear.
        module:      to be imported.
        package:     what `pip install` is told beside the service.
        requirement: the line of a `requirements.txt` of somebody else's.
    """

    names: re.Pattern[str]
    module: str
    package: str
    requirement: str


_FAMILIES = (
    Family(re.compile(r"^ALE/|NoFrameskip-v\d$"), "ale_py", "ale-py", "ale-py"),
    Family(
        re.compile(r"^(Fetch|Hand(Reach|Manip)|AntMaze|PointMaze|Adroit|FrankaKitchen)"),
        ROBOTICS,
        '"rewardsmith[robotics]"',
        "gymnasium-robotics>=1.4.2",
    ),
    Family(re.compile(r"^(MiniGrid|BabyAI)-"), "minigrid", "minigrid", "minigrid"),
    Family(
        re.compile(r"^(highway|merge|roundabout|parking|racetrack)-"),
        "highway_env",
        "highway-env",
        "highway-env",
    ),
    Family(re.compile(r"^Meta-World/"), "metaworld", "metaworld", "metaworld"),
    Family(re.compile(r"^dm_control/"), "shimmy", '"shimmy[dm-control]"', "shimmy[dm-control]"),
)


def family_of(environment: str) -> Family | None:
    """Return the family of an environment's id, with or without a module before it.

    >>> family_of("FetchReach-v4").module
    'gymnasium_robotics'
    >>> family_of("CartPole-v1") is None
    True
    """
    name = environment.rpartition(":")[2]
    return next((family for family in _FAMILIES if family.names.search(name)), None)


def importable_id(environment: str) -> str:
    """Return the id by which `gymnasium.make` finds an environment with no help.

    >>> importable_id("FetchReach-v4"), importable_id("CartPole-v1"), importable_id("mine:My-v0")
    ('gymnasium_robotics:FetchReach-v4', 'CartPole-v1', 'mine:My-v0')
    """
    family = family_of(environment)
    if family is None or ":" in environment:
        return environment
    return f"{family.module}:{environment}"

"""`rewardsmith tasks` and `rewardsmith methods`: what a job may name."""

from __future__ import annotations

from client.api import Client
from client.console import JsonFlag, Screen


def tasks(json_output: JsonFlag = False) -> None:
    """List the tasks of the catalogue."""
    screen = Screen(json_output)
    with Client() as client:
        found = client.tasks()
    screen.emit({"data": [task.model_dump(mode="json") for task in found]})
    for task in found:
        screen.say(f"{task.name:26} {task.environment:26} {task.description}")


def methods(json_output: JsonFlag = False) -> None:
    """List the methods and the designers."""
    screen = Screen(json_output)
    with Client() as client:
        found = client.methods()
    screen.emit(found.model_dump(mode="json"))
    for heading, names in (("methods", found.data), ("designers", found.designers)):
        screen.say(heading)
        for item in names:
            screen.say(f"  {item.name:14} {item.description}")

"""The Python client and the `rewardsmith` command.

>>> from client import Client                                # doctest: +SKIP
>>> job = Client().jobs.create("cartpole-park")              # doctest: +SKIP
>>> for event in job.stream(): print(event.kind)             # doctest: +SKIP
>>> job.best.save("reward.py")                               # doctest: +SKIP
"""

from client.api import ApiProblem, Client, Job, StreamedEvent, Unreachable

__all__ = ["ApiProblem", "Client", "Job", "StreamedEvent", "Unreachable"]

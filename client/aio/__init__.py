"""The Python client for asyncio, with the same resources.

>>> from client.aio import AsyncClient                           # doctest: +SKIP
>>> async with AsyncClient() as client:                          # doctest: +SKIP
...     job = await client.jobs.create("cartpole-park")
...     async for event in job.stream(): print(event.kind)
...     await job.best.save("reward.py")
"""

from client.aio.api import AsyncClient, AsyncJobs
from client.aio.candidates import AsyncBest, AsyncCandidates
from client.aio.jobs import AsyncJob

__all__ = ["AsyncBest", "AsyncCandidates", "AsyncClient", "AsyncJob", "AsyncJobs"]

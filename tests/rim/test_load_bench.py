"""The load: what it sends, what it counts, and what it makes of that; and once the whole, for real."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest

from bench.load import phases
from bench.load.soak import broken_steps, growth
from bench.load.traffic import Order, Traffic, milliseconds
from bench.load.watching import Size
from bench.reliability.load_page import shortfalls
from bench.reliability.page import render

STAMP = {"command": "make load", "day": "2026-01-02", "commit": "abc", "machine": "2 cores"}


def job_number(number: int) -> str:
    return f"job_{number:026d}"


class Pretender:
    """A server that makes jobs up, as quickly, slowly or wrongly as it is told to."""

    def __init__(self, pause=0.0, status=202, always=None, hang_up=False):
        self.pause, self.status, self.always, self.hang_up = pause, status, always, hang_up
        self.jobs: dict[bytes, str] = {}
        self.requests: list[bytes] = []
        self.visits: set[asyncio.Task] = set()

    async def serve(self, reader, writer):
        self.visits.add(asyncio.current_task())
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError):
                break
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            await reader.readexactly(int(fields.get(b"Content-Length", 0)))
            self.requests.append(head.partition(b" HTTP")[0])
            if self.hang_up:
                break
            await asyncio.sleep(self.pause)
            status, job = self._answer(head, fields)
            if writer.is_closing():
                break
            body = json.dumps({"id": self.always or job}, separators=(",", ":")).encode()
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body
            )
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def _answer(self, head, fields):
        if head.startswith(b"POST"):
            key = fields[b"Idempotency-Key"]
            return self.status, self.jobs.setdefault(key, job_number(len(self.jobs)))
        return 200, head.split(b" ")[1].split(b"/")[3].decode()


def sent(pretender, submissions=200.0, polls=200.0, seconds=0.5, warm_up=0.1, known=()):
    async def run():
        server = await asyncio.start_server(pretender.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        order = Order(port, ["key"], submissions, polls, seconds, warm_up, seed=1, known=known)
        found = await Traffic(order).run()
        server.close()
        await asyncio.gather(*pretender.visits)
        return found

    return asyncio.run(run())


def test_everything_that_is_due_is_sent_and_counted_after_the_warm_up(monkeypatch):
    monkeypatch.setattr("bench.load.traffic.AGAIN", 5)
    pretender = Pretender()
    found = sent(pretender)
    posts = [request for request in pretender.requests if request.startswith(b"POST")]
    counted = found["submissions"]["answered"] + found["polls"]["answered"]
    assert counted < len(pretender.requests), "what came in the warm-up is not counted"
    assert 100 <= counted <= 320, "400 a second for half a second"
    assert found["submissions"]["errors"] == found["polls"]["errors"] == {}
    assert len(found["accepted"]) == len(pretender.jobs)
    assert len(posts) > len(pretender.jobs), "some keys were sent twice, for one job"


def test_a_slow_server_does_not_slow_the_load_down_and_pays_for_what_waits():
    found = sent(Pretender(pause=0.2), submissions=100, polls=0.001)
    assert found["submissions"]["due"] >= 30
    assert found["submissions"]["p50_ms"] >= 200
    assert found["connections"] >= 10


@pytest.mark.parametrize(
    ("pretender", "error"),
    [
        pytest.param(Pretender(status=429), "status 429", id="a refusal"),
        pytest.param(Pretender(hang_up=True), "Broken: the connection was closed", id="no answer"),
    ],
)
def test_whatever_is_no_good_answer_is_an_error(pretender, error):
    found = sent(pretender)["submissions"]
    assert found["answered"] == 0
    assert found["errors"] == {error: len(pretender.requests)}


def test_an_answer_about_another_job_is_an_error():
    liar = Pretender(always=job_number(7))
    found = sent(liar, submissions=0.001, known=[(job_number(3), 0)])["polls"]
    assert found["errors"]["another job than was asked for"] > 10


def test_a_quantile_is_that_of_the_nearest_rank():
    assert [milliseconds([0.001 * n for n in range(1, 101)], q) for q in (0.5, 0.99, 1.0)] == [
        *(50.0, 99.0, 100.0)
    ]
    assert milliseconds([], 0.5) is None


# --- what is made of it -----------------------------------------------------------------------


def mix(per_second=150.0, p99=80.0):
    kind = {"per_second": per_second, "p50_ms": 5.0, "p99_ms": p99, "max_ms": 90.0, "errors": {}}
    return {
        **{"submissions": kind, "polls": {**kind, "per_second": 2 * per_second}},
        "goal": {"submissions": 150, "polls": 300, "p99_ms": 500},
        **{"seconds": 60.0, "jobs": 9_000, "lost": 0, "unasked": 0, "errors": 0},
        **{"cores": {"server": 0.9, "all": 2.0}, "load_before": 0.1},
    }


def moment(p99=10.0):
    return {"times": 20, "p50_ms": 5.0, "p99_ms": p99, "max_ms": 12.0, "goal_ms": 50}


def test_what_is_slower_or_less_than_wanted_is_a_shortfall():
    assert shortfalls({"parts": {"busy": mix(), "jail": moment()}}) == []
    missed = shortfalls({"parts": {"busy": mix(per_second=120.0, p99=700.0), "jail": moment(60.0)}})
    assert len(missed) == 5, missed


def test_the_page_tells_load_and_soak():
    size = {"mebibytes": [100.0, 101.0], "percent": 1.0, "descriptors": [9, 9], "threads": [3, 3]}
    soak = {
        **{**STAMP, "minutes": 30.0, "submissions": 3_600, "recycled_workers": 6, "lost": 0},
        **{"errors_by_kind": {}, "load_before": 0.2, "sizes": {"server": size}},
        **{"broken_steps": {"ValueError: no": 2}, "failed": 1},
    }
    load = {**STAMP, "parts": {"busy": mix(), "jail": moment()}}
    page = render({"load": load, "soak": soak})
    assert "| busy | submissions | 150 | 150 | 5 | 80 | 90 | < 500 | 0 |" in page
    assert "| start of a locked child | 20 | 5 | 10 | 12 | < 50 |" in page
    assert "| server | 100 → 101 | +1.0 % | 9 → 9 | 3 → 3 |" in page
    assert "Missed: nothing." in page
    assert "steps that broke: ValueError: no 2; jobs that failed: 1" in page


def test_steps_that_broke_are_counted_by_what_was_raised(tmp_path):
    lines = [
        {"event": "step done", "step": "propose/1"},
        {"event": "step failed", "exception": "Traceback…\n  …\nValueError: no\n"},
        {"event": "step failed", "exception": "Traceback…\nValueError: no"},
    ]
    log = tmp_path / "worker-0.log"
    log.write_text("\n".join(["not JSON", *map(json.dumps, lines)]))
    assert broken_steps([log]) == {"ValueError: no": 2}


def test_growth_is_from_after_the_warm_up_to_the_end():
    sizes = [Size(10, 5, 2)] * 5 + [Size(20, 5, 2)] * 20 + [Size(21, 6, 2)] * 5
    found = growth(sizes)
    assert found["mebibytes"] == [20, 21]
    assert found["descriptors"] == [5, 6]
    assert found["percent"] == 5.0


# --- for real ---------------------------------------------------------------------------------


@pytest.mark.slow  # PostgreSQL, Valkey, a server and two workers: half a minute
def test_a_short_mix_on_the_whole_service_loses_nothing(monkeypatch):
    gentle = phases.Phase(20, 40, 5_000, phases.make_idle)
    monkeypatch.setitem(phases.PHASES, "gentle", gentle)
    found = phases.measure("gentle", 3.0)
    assert (found["errors"], found["lost"], found["unasked"]) == (0, 0, 0)
    assert found["submissions"]["answered"] > 20
    assert found["jobs"] > 20
    assert found["cores"]["server"] > 0

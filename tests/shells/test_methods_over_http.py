"""Every method brings a job to its end on a real environment, asking a real HTTP endpoint.

The endpoint answers with completions that were written once from our prompts, and recorded here.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from core.methods import METHODS
from core.program import read_program
from core.records.people import Remark
from core.replies import read_reply
from core.storage import open_store
from core.tasks import find_task
from tests.stack import Stack, eventually, stack

COMPLETIONS = Path(__file__).parent / "completions"
KINDS = ("reward", "joint")
SMALL = {
    "task": "cartpole-park",
    "designer": {"name": "openai", "model": "recorded"},
    "iterations": 2,
    "candidates": 2,
    "training": {"steps": 1_000, "seeds": 1, "packs": 1, "checkpoints": 2, "envs": 4},
    "evaluation": {"episodes": 2, "confirm_seeds": 2, "confirm_episodes": 2},
}
SECOND = {  # what the second prompt shows of the first iteration
    "smith": "# What was ",  # measured in the last iteration, or tried in the whole job
    "eureka": "lists run from the first checkpoint to the last",
    "text2reward": "It is too slow.",
    "lesr": "What an adviser concluded after iteration 0",
    "self_refine": "best episode, cart_position: mean",
    "card": "The process, and two trajectories",
    "limen": "# The parent: candidate 0.",
}


def completion(name: str) -> str:
    return (COMPLETIONS / f"{name}.md").read_text(encoding="utf-8")


class Endpoint(BaseHTTPRequestHandler):
    """A chat-completions endpoint that answers from the recorded files, in order for each job."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = "\n".join(message["content"] for message in asked["messages"])
        body = json.dumps(
            {
                "id": "c1",
                "model": asked["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": self.answer(text)},
                    }
                ],
                "usage": {"prompt_tokens": 1_000, "completion_tokens": 300, "total_tokens": 1_300},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, text: str) -> str:
        if "Answer in words alone" in text:
            return completion("analysis")
        kind = "reward" if "define `reward` alone" in text else "joint"
        with self.server.lock:
            number = self.server.asked[kind]
            self.server.asked[kind] += 1
        return completion(f"{kind}_{number % 4}")

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.asked, server.lock, server.daemon_threads = Counter(), threading.Lock(), True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ThreadingHTTPServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def server(endpoint, tmp_path_factory) -> Iterator[Stack]:
    url = f"http://127.0.0.1:{endpoint.server_port}/v1"
    home = tmp_path_factory.mktemp("methods")
    with stack(home, openai_base_url=url, openai_api_key="sk-local", no_proxy="*") as made:
        made.serve("--workers", "2")
        yield made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(4))
def test_the_recorded_completions_pass_the_rules_and_can_be_scored(kind, number):
    reply = read_reply(completion(f"{kind}_{number}"))
    design = "reward" if kind == "reward" else "joint"
    program = read_program(
        reply.source, find_task("cartpole-park").fields, "replace", design=design
    )
    assert program.has_features == (kind == "joint")
    assert reply.prediction.startswith("fitness")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("method", METHODS)
def test_a_job_ends_and_its_second_prompt_knows_the_first_results(server, endpoint, method):
    endpoint.asked.clear()
    job_id = server.post("/v1/jobs", {**SMALL, "method": method})["id"]
    if method == "text2reward":
        eventually(lambda: server.job(job_id)["status"] == "awaiting_feedback", 120, "a wait")
        films_to_judge(server, job_id)
        say(server, job_id, "It is too slow.")
    job = server.finished(job_id)
    assert job["status"] == "succeeded", job["failure"]
    # A screen may drop one: what it judges by hangs on this server's own held-out seeds.
    assert rejections(server, job_id) == []
    exchanges = server.get(f"/v1/jobs/{job_id}/exchanges")["data"]
    assert {exchange["attempt"] for exchange in exchanges} == {0}
    later = [e for e in exchanges if e["iteration"] == 1 and e["slot"] >= 0]
    for exchange in later:
        assert SECOND[method] in "\n".join(m["text"] for m in exchange["prompt"])
    shown = any("How the environment builds" in m["text"] for m in exchanges[0]["prompt"])
    assert shown == (method == "eureka")
    analyses = [e for e in exchanges if e["kind"] == "analysis"]
    assert len(analyses) == (2 if method == "lesr" else 0)


def films_to_judge(server: Stack, job_id: str) -> None:
    """Who is asked finds the films of the iteration beside the form: real ones, each a video."""
    found = server.get(f"/v1/jobs/{job_id}/rollouts")["data"]
    assert {(one["arm"][:2], one["stage"]) for one in found} == {
        ("0.", "search"),
        ("na", "baseline"),
    }
    page = httpx2.get(f"{server.url}/jobs/{job_id}", headers={"Accept": "text/html"}).text
    asked = page[page.index("What do you think of these candidates?") :]
    for one in found:
        assert httpx2.get(server.url + one["video"]).content[4:8] == b"ftyp"
        assert f'<video src="{one["video"]}"' in asked


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_models_share_the_slots_of_a_job(server, endpoint):
    endpoint.asked.clear()
    arms = [
        {"name": "first", "model": "recorded-a", "temperature": 0.3},
        {"name": "second", "model": "recorded-b", "leaning": "Prefer few components."},
    ]
    job_id = server.post("/v1/jobs", {**SMALL, "candidates": 4, "arms": arms})["id"]
    assert server.finished(job_id)["status"] == "succeeded"
    found = server.get(f"/v1/jobs/{job_id}/candidates")["data"]
    arm_of = {(c["iteration"], c["number"]): c["arm"] for c in found}
    models, temperatures = {"first": "recorded-a", "second": "recorded-b"}, set()
    for exchange in server.get(f"/v1/jobs/{job_id}/exchanges")["data"]:
        arm = arm_of[exchange["iteration"], exchange["slot"]]
        assert exchange["model"] == models[arm]
        leans = "Prefer few components." in "\n".join(m["text"] for m in exchange["prompt"])
        assert leans == (arm == "second")
        temperatures.add((arm, exchange["temperature"]))
    assert {arm for arm, _ in temperatures} == {"first", "second"}
    assert temperatures <= {("first", 0.3), ("second", 0.9), ("second", 0.6)}
    told = {arm["name"]: arm for arm in server.get(f"/v1/jobs/{job_id}/arms")["data"]}
    for name, arm in told.items():
        own = [c for c in found if c["arm"] == name]
        assert arm["asked"] == len(own)
        assert arm["tokens"] == sum(c["tokens"] for c in own) / len(own)
        assert arm["alpha"] + arm["beta"] == 2 + len(own)
    last = server.get(f"/v1/jobs/{job_id}/iterations")["data"][-1]
    assert [a["alpha"] for a in last["feedback"]["data"]["arms"]] == [
        a["alpha"] for a in told.values()
    ]


def say(server: Stack, job_id: str, text: str) -> None:
    store = open_store(f"sqlite:///{server.home / 'rewardsmith.db'}")
    try:
        store.add_remark(job_id, Remark(0, "text", "0.0", text=text))
    finally:
        store.close()


def rejections(server: Stack, job_id: str) -> list[str]:
    found = server.get(f"/v1/jobs/{job_id}/candidates")["data"]
    return [candidate["rejection"] for candidate in found if candidate["rejection"]]

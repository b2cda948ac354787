"""The Python client against a real server."""

from __future__ import annotations

import hashlib
import socket
import sys
import threading
from contextlib import closing, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gymnasium as gym
import httpx2
import numpy as np
import pytest

from api.history_views import CandidateView
from api.show import job_view
from client import ApiProblem, Client, Job, Unreachable, transport
from client.demo import DEMO, TASK
from client.notebook import show_candidate
from client.tables import COLUMNS
from core.errors import ConfigurationError, InvalidInput, NotFound
from tests.builders import SOURCE
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def client(server):
    with Client(server) as client:
        yield client


@pytest.fixture
def nobody(monkeypatch) -> str:
    """An address at which nobody listens."""
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.001)
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_job_is_created_and_read_and_steered(client):
    job = client.jobs.create("cartpole-park", "Park it.", iterations=1, labels={"a": "b"})
    assert job.document["spec"]["task"]["description"] == "Park it."
    assert client.jobs.get(job.id).document == job.document
    assert [j.id for j in client.jobs.list(task="cartpole-park")] == [job.id]
    assert job.pause().status == "paused"
    assert job.resume().status == "queued"
    assert job.cancel().finished


def test_every_creation_carries_a_key_so_that_repeating_it_is_safe(client):
    first = client.jobs.create("cartpole-park", idempotency_key="mine")
    assert client.jobs.create("cartpole-park", idempotency_key="mine").id == first.id
    assert client.jobs.create("cartpole-park").id != first.id


def test_the_list_reads_as_many_pages_as_there_are(client, store, monkeypatch):
    monkeypatch.setattr("client.api.PAGE", 2)
    ids = [stories.a_new_job(store) for _ in range(5)]
    assert [job.id for job in client.jobs.list()] == ids[::-1]


def test_a_refusal_carries_the_whole_problem(client):
    with pytest.raises(ApiProblem, match="Did you mean") as caught:
        client.jobs.create("cartpole-prak")
    assert (caught.value.status, caught.value.code) == (422, "unknown-task")
    assert caught.value.problem["request_id"]


def test_waiting_returns_the_finished_job_and_gives_up_in_time(client, store):
    assert client.jobs.get(stories.a_finished_job(store)).wait().status == "succeeded"
    with pytest.raises(TimeoutError, match="still queued"):
        client.jobs.get(stories.a_new_job(store)).wait(timeout=0.0)


def test_somebody_who_waits_less_than_between_two_looks_waits_all_the_same(client, store):
    job_id = stories.a_new_job(store)
    threading.Timer(0.2, store.request_cancel, [job_id]).start()
    assert client.jobs.get(job_id).wait(timeout=0.9, poll=1.0).finished


def test_somebody_who_looks_without_a_pause_waits_for_ever(client, store):
    job_id = stories.a_new_job(store)
    threading.Timer(0.2, store.request_cancel, [job_id]).start()
    assert client.jobs.get(job_id).wait(poll=0.0).finished


@pytest.mark.parametrize("sent", ['"{}"', 'W/"{}"', ""], ids=["as it is", "by a proxy", "by none"])
def test_a_download_is_whole_whatever_a_proxy_made_of_its_tag(client, sent):
    def answer(request: httpx2.Request) -> httpx2.Response:
        tag = sent.format(hashlib.sha256(b"whole").hexdigest())
        return httpx2.Response(
            200, content=request.url.params["is"].encode(), headers={"ETag": tag}
        )

    http = httpx2.Client(base_url=client.base_url, transport=httpx2.MockTransport(answer))
    client.jobs.transport._http = http
    best = Job(client.jobs.transport, {"id": "job_x"}).best
    http.params = {"is": "whole"}
    assert best.source() == "whole"
    http.params = {"is": "who"}
    with pytest.raises(Unreachable, match="damaged") if sent else nullcontext():
        best.source()


def test_the_best_reward_is_saved_as_it_was_sent(client, store, tmp_path):
    job = client.jobs.get(stories.a_finished_job(store))
    path = job.best.save(tmp_path / "reward.py")
    assert path.read_text() == job.best.source()
    assert job.best.view().key == "0.0"


def test_history_and_catalogue_are_within_reach(client, store):
    job = client.jobs.get(stories.a_finished_job(store))
    (iteration,) = job.iterations()
    first, second = job.candidates
    assert iteration.candidates == [first, second]
    assert job.iteration(0) == iteration
    assert list(job.candidates.of("rejected")) == [second]
    assert job.candidates["0.1"] == job.candidates[second.id] == second
    assert "def reward" in client.code(first.id)
    assert client.run(client.runs(first.id)[0].id).seed >= 0
    assert client.candidate(first.id) == first
    assert len(job.exchanges()) == 1
    assert client.task("cartpole-park").name == "cartpole-park"
    assert {task.name for task in client.tasks()} >= {"cartpole-park", "pendulum"}
    assert {method.name for method in client.methods().data} >= {"smith", "eureka"}
    assert client.ready()


def test_a_server_that_is_not_there_is_unreachable(nobody):
    with Client(nobody) as client:
        assert not client.ready()
        with pytest.raises(Unreachable, match="rewardsmith serve"):
            client.jobs.get("job_x")


def test_a_server_that_is_another_program_is_told_apart():
    page = httpx2.Response(404, text="<html>", request=httpx2.Request("GET", "http://x/v1/jobs"))
    with pytest.raises(ApiProblem, match="REWARDSMITH_API_URL"):
        transport._accepted(page)


@pytest.mark.parametrize(
    ("fails", "is_done"),
    [(httpx2.ReadError, True), (httpx2.ConnectError, False)],
    ids=["its answer is lost", "nobody heard of it"],
)
def test_a_deletion_is_done_where_its_answer_is_lost(client, monkeypatch, fails, is_done):
    def answer(request: httpx2.Request) -> httpx2.Response:
        if not asked:
            asked.append(request)
            raise fails("cut")
        return httpx2.Response(404, json={"title": "Not found", "status": 404})

    asked: list[httpx2.Request] = []
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.0)
    job = Job(client.jobs.transport, {"id": "job_x"})
    job._transport._http = httpx2.Client(
        base_url=client.base_url, transport=httpx2.MockTransport(answer)
    )
    with nullcontext() if is_done else pytest.raises(ApiProblem, match="Not found"):
        job.delete()


@pytest.fixture
def other_program():
    """A server that gives every request the answer that it was told last."""
    told = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, kind, body = told["answer"]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", lambda *answer: told.update(answer=answer)
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        pytest.param(200, "text/html", b"<html>Sign in</html>", id="a page"),
        pytest.param(200, "application/json", b"[]", id="a list"),
        pytest.param(200, "application/json", b"{}", id="an object"),
        pytest.param(
            400,
            "application/problem+json",
            b'{"title": "Invalid", "status": 400, "errors": {"field": ["wrong"]}}',
            id="errors of another form",
        ),
        pytest.param(
            400, "application/json", b'{"title": "No", "status": "bad"}', id="a status in words"
        ),
    ],
)
def test_what_another_program_answers_is_told_as_that(other_program, status, kind, body):
    url, answers = other_program
    answers(status, kind, body)
    with Client(url) as client, pytest.raises(ApiProblem, match="REWARDSMITH_API_URL") as told:
        client.jobs.get("job_x")
    assert told.value.status == status
    with Client(url) as client, pytest.raises(ApiProblem, match="REWARDSMITH_API_URL"):
        list(client.jobs.list())


def test_a_page_in_place_of_a_stream_is_not_waited_for(other_program):
    url, answers = other_program
    answers(200, "text/html", b"<html>Sign in</html>")
    with Client(url) as client, pytest.raises(ApiProblem, match="REWARDSMITH_API_URL"):
        list(Job(client.jobs.transport, {"id": "job_x"}).stream())


@pytest.mark.parametrize("key", ["rws_a.sec\u00e9ret", "rws_a.secret\r\nX: 1"])
def test_a_key_that_no_header_can_hold_is_refused_and_never_told(other_program, key):
    url, answers = other_program
    answers(200, "application/json", b"{}")
    with pytest.raises(ConfigurationError) as refused:
        Client(url, key=key).jobs.get("job_x")
    assert "sec" not in refused.value.sentence()


def test_a_key_as_a_file_has_it_is_taken(other_program):
    url, answers = other_program
    answers(200, "application/json", b'{"status": "ready"}')
    with Client(url, key="rws_a.secret\n") as client:
        assert client.ready()


def test_the_demos_request_is_accepted(client):
    job = client.jobs.create(TASK, **DEMO)
    assert job.view.estimate.env_steps <= DEMO["budget"]["env_steps"]
    assert job.view.spec.evaluation.confirm_seeds == 5


def test_answers_are_the_servers_own_models(client, store):
    job = client.jobs.get(stories.a_finished_job(store))
    assert job.view == job_view(store.job(job.id))
    assert [type(candidate) for candidate in job.candidates] == [CandidateView] * 2


def test_a_server_of_another_version_is_told_apart_from_a_broken_one(client, store):
    job = client.jobs.get(stories.a_new_job(store))
    older = {name: value for name, value in job.document.items() if name != "spent"}
    with pytest.raises(ApiProblem, match=r"another version.*/spent"):
        _ = Job(job._transport, older).view


@pytest.mark.parametrize("name", ["9.9", "nonsense"])
def test_a_candidate_that_is_not_there_is_told_with_its_job(client, store, name):
    job = client.jobs.get(stories.a_finished_job(store))
    with pytest.raises(NotFound, match=f"{job.id}.*no candidate {name}"):
        _ = job.candidates[name]


# --- the best design in one's own process -----------------------------------------------------


class PointPark(gym.Env):
    """The environment of the stories, so far as a reward needs it."""

    observation_space = gym.spaces.Box(-5.0, 5.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, start: float = 0.0) -> None:
        self.start = start

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([self.start, 0.0], np.float32), {}

    def step(self, action):
        return np.array([1.0, 0.0], np.float32), -1.0, False, False, {}


@pytest.fixture
def point_park():
    gym.register("PointPark-v0", entry_point=PointPark)
    yield
    del gym.registry["PointPark-v0"]


def test_the_designed_environment_is_made_here_once_its_code_is_trusted(client, store, point_park):
    best = client.jobs.get(stories.a_finished_job(store)).best
    env = best.make_env(trust=True, start=3.0)
    assert env.reset(seed=0)[0][0] == 3.0
    _, paid, _, _, info = env.step(0)
    assert (paid, info["native_reward"]) == (1.0, -1.0)
    assert env.spec.make().reset(seed=0)[0][0] == 3.0, "Gymnasium rebuilds it from its spec"


@pytest.mark.parametrize("trust", [{}, {"trust": False}, {"trust": "yes"}])
def test_code_that_nobody_trusts_is_not_run_here(client, store, trust):
    best = client.jobs.get(stories.a_finished_job(store)).best
    before = set(sys.modules)
    with pytest.raises(InvalidInput, match=r"trust=True.*job\.best\.source"):
        best.make_env(**trust)
    assert not {name for name in set(sys.modules) - before if name.startswith("reward")}


# --- tables, curves and notebooks -------------------------------------------------------------


def test_candidates_become_a_table(client, store):
    pytest.importorskip("pandas")
    frame = client.jobs.get(stories.a_finished_job(store)).candidates.to_pandas()
    assert list(frame["key"]) == ["0.0", "0.1"]
    assert frame["fitness"][0] == pytest.approx(0.8)
    assert frame["rejection"][1].startswith("line 3")
    assert tuple(frame.columns) == COLUMNS


def test_curves_are_those_of_the_best_design_and_of_the_native_reward(client, store):
    job = client.jobs.get(stories.a_finished_job(store))
    told = job.curves(series="return")
    assert [(c.arm, c.seed, c.steps, c.values) for c in told] == [
        ("0.0", seed, stories.CURVE.steps, stories.CURVE.series["return"]) for seed in (0, 1)
    ]
    measured = job.curves("0.0")
    assert [(c.arm, c.values) for c in measured] == [("0.0", (0.7,)), ("0.0", (0.9,))]
    assert len(job.curves(series="nothing")) == 0
    assert "<svg" in told._repr_html_()


def test_curves_are_drawn_and_become_a_table(client, store, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pytest.importorskip("pandas")
    curves = client.jobs.get(stories.a_finished_job(store)).curves(series="return")
    axes = curves.plot()
    assert [list(line.get_ydata()) for line in axes.lines] == [[10.0, 20.0]] * 2
    assert axes.get_ylabel() == "return"
    pyplot.close(axes.figure)
    assert list(curves.to_pandas()["return"]) == [10.0, 20.0, 10.0, 20.0]


def test_what_is_not_installed_is_named_with_its_extra(client, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    job = client.jobs.get(stories.a_finished_job(store))
    with pytest.raises(ConfigurationError, match=r"pandas.*rewardsmith\[notebook\]"):
        job.candidates.to_pandas()


def test_a_notebook_shows_verdict_fitness_and_how_it_grew(client, store):
    shown = client.jobs.get(stories.a_finished_job(store))._repr_html_()
    assert "The designed reward is better than the native one." in shown
    assert "best fitness" in shown
    assert shown.count("<svg") == 1


def test_a_notebook_runs_nothing_that_others_wrote(client, store):
    hostile = '<script>alert("x")</script>'
    job_id = stories.a_new_job(store, name=hostile)
    job = client.jobs.get(job_id)
    assert hostile not in job._repr_html_()
    assert "&lt;script&gt;" in job._repr_html_()
    best = client.jobs.get(stories.a_finished_job(store)).best
    assert hostile not in show_candidate(best.view(), hostile)


def test_a_notebook_without_its_server_shows_what_was_read(client, store, nobody):
    read = client.jobs.get(stories.a_finished_job(store))
    with Client(nobody) as cut_off:
        shown = Job(cut_off._transport, read.document)._repr_html_()
    assert "better than the native one" in shown
    assert "<svg" not in shown


# --- taking part ------------------------------------------------------------------------------

MINE = SOURCE.replace("Stay near", "My own: stay near")


def test_people_say_what_they_think_and_hand_in_what_they_wrote(client, store):
    job = client.jobs.get(stories.a_job_in_training(store))
    job.say("slower, please")
    job.thumb("0.0", up=False, text="it falls")
    kinds = [(remark.kind, remark.value) for remark in job.feedback()]
    assert kinds == [("text", 0), ("thumb", -1)]
    with pytest.raises(ApiProblem, match="There is no candidate 9"):
        job.prefer("0.0", "9.9")
    assert job.give(MINE, parent="0.0", note="wider").origin == "edit"
    assert [program.note for program in job.programs()] == ["wider"]


def test_jobs_go_on_after_their_end(client, store):
    done = client.jobs.get(stories.a_finished_job(store))
    fork = done.fork("0.0", iterations=1, name="again")
    assert (fork.document["name"], fork.document["spec"]["iterations"]) == ("again", 1)
    assert done.fork().id not in (fork.id, done.id)
    assert done.extend(iterations=1).status == "queued"
    assert client.jobs.get(stories.a_failed_job(store)).retry().status == "queued"


def test_finished_designs_and_what_they_teach_are_within_reach(client, store):
    done = stories.a_finished_job(store)
    (item,) = client.library("park the point")
    job = client.jobs.create(item.task.model_dump(mode="json"), start=[{"library": item.job}])
    assert [program.origin for program in job.programs()] == ["library"]
    assert [row["job"] for row in client.dataset()] == [done]
    assert list(client.dataset("dpo")) == []
    with pytest.raises(ApiProblem, match="format"):
        list(client.dataset("ppo"))

"""What a worker process works with, put together from its settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.errors import ConfigurationError, StorageFailed
from core.records.history import History
from core.records.measured import Walls
from core.records.people import Given
from core.records.spec import DesignerChoice
from core.sandbox import Isolation, IsolationTooWeak, Sandbox
from core.settings import Settings
from core.storage import open_store
from core.training.rehearsal import FIELDS
from core.training.transitions import Transitions, save_transitions
from tests.builders import a_preflight, a_program, a_spec
from workers.toolbox import Bench, StoredGate, open_bench


@pytest.mark.parametrize("slots", [1, 2])
def test_as_many_trainings_run_at_once_as_the_worker_has_slots(tmp_path, slots):
    settings = Settings(home=tmp_path)
    bench = open_bench(settings, open_store(settings.database_url), trains=False, slots=slots)
    try:
        assert bench.tools.laboratory.at_once == slots
    finally:
        bench.close()


def test_an_answer_is_not_lost_because_nobody_can_note_that_it_came(tmp_path):
    store = open_store(Settings(home=tmp_path).database_url)  # in which there is no table yet
    gate = StoredGate(store, "host model", None)
    with pytest.raises(StorageFailed):
        store.endpoints.leave(gate.name, "answered")
    gate.leave("answered")
    store.close()


@pytest.mark.parametrize("moved", ["home", "artifacts_path", "recordings_path", "database_url"])
def test_no_worker_starts_whose_data_generated_code_could_read(tmp_path, moved):
    shown = tmp_path / "environments"
    shown.mkdir()
    place = {"database_url": f"sqlite:///{shown}/jobs.db"}.get(moved, shown / "data")
    given = {"home": tmp_path / "home", "environment_paths": [shown], moved: place}
    settings = Settings(**given)
    with pytest.raises(ConfigurationError, match=f"REWARDSMITH_{moved.upper()}: .*{shown}"):
        open_bench(settings, open_store(settings.database_url), trains=False)


WEAK = Isolation(1, ("read a world-readable file",))
OURS = History(replace(a_spec(), designer=DesignerChoice("evolution")))
MODELS = History(replace(a_spec(), designer=DesignerChoice("openai")))
HANDED_IN = replace(OURS, given=(Given(0, "def reward(): ...", "user"),))


@pytest.fixture
def weak_walls(monkeypatch):
    """The self-test of this machine lets an attack through."""
    monkeypatch.setattr(Sandbox, "isolation", WEAK)


def opened(tmp_path, **settings) -> Bench:
    given = Settings(home=tmp_path, **settings)
    return open_bench(given, open_store(given.database_url), trains=False)


@pytest.mark.parametrize("history", [MODELS, HANDED_IN], ids=["a model's", "people's"])
def test_behind_weak_walls_nothing_runs_that_others_wrote(tmp_path, weak_walls, history):
    bench = opened(tmp_path)
    try:
        with pytest.raises(IsolationTooWeak, match=r"level 3.*world-readable.*Landlock"):
            bench.permit(history)
        bench.permit(OURS)
        assert bench.tools.laboratory.walls() == Walls(1, waived=False)
    finally:
        bench.close()


@pytest.mark.parametrize(
    "word", [{"allow_weaker_isolation": "i-understand"}, {"required_isolation": 1}], ids=str
)
def test_the_operator_s_word_lets_it_run_and_is_stamped(tmp_path, weak_walls, word):
    bench = opened(tmp_path, **word)
    try:
        bench.permit(MODELS)
        assert bench.tools.laboratory.walls() == Walls(1, waived=True)
    finally:
        bench.close()


def test_the_operator_s_word_waives_nothing_where_the_walls_hold(tmp_path):
    bench = opened(tmp_path, allow_weaker_isolation="i-understand")
    try:
        assert bench.tools.laboratory.walls() == Walls(3, waived=False)
    finally:
        bench.close()


IN_TORCH = """
import torch

def reward(obs, action, next_obs, params):
    return {"near": torch.exp(-next_obs.x.square())}
"""


@pytest.mark.slow  # torch is loaded, as by the first program in it that a worker meets
def test_a_worker_that_only_designs_checks_programs_in_torch(tmp_path):
    bench = opened(tmp_path)
    try:
        laboratory = bench.tools.laboratory
        probe = laboratory.artifacts.put(save_transitions(lived()))
        preflight = a_preflight(fields=FIELDS, observation_size=2, probe=probe)
        program = replace(a_program(), source=IN_TORCH, has_reward=True, array="torch")
        shape = laboratory.check(program, a_spec().task, preflight)
        assert shape.components == ("near",)
    finally:
        bench.close()


def lived() -> Transitions:
    states = np.random.default_rng(0).normal(size=(65, 2)).astype(np.float32)
    return Transitions(
        states[:-1], np.arange(64) % 2, states[1:], np.ones(64, np.float32), np.zeros(64, bool)
    )

"""Programs in torch: the same contract as in NumPy, on the CPU and where the simulator lives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.errors import InvalidInput, ProgramRejected
from core.fields import lay_out
from core.methods import METHODS
from core.methods.contract import EXAMPLE, EXAMPLE_FIELDS, TORCH_EXAMPLE
from core.program import read_program
from core.records.asking import Brief
from core.records.task import Field, Task
from core.tasks import check_task, task_from_mapping, task_to_mapping
from core.training.check import hold_to_contract
from core.training.course import Span
from core.training.deadlines import Deadlines
from core.training.runtime import load_program
from core.training.torch_runtime import TorchProgram
from core.training.transitions import Transitions
from core.training.wire import program_from_json, program_to_json, task_from_json, task_to_json
from tests.rim.device_parts import on_every_device
from tests.rim.test_device_pack import close, device_pack_of
from tests.rim.training_parts import CART_POLE, pack_of, parameters

FIELDS = (
    *(Field(name, f"obs[{i}]") for i, name in enumerate(("x", "v", "angle", "spin"))),
    Field("all_of_it", "obs[0:4]"),
    Field("terminated", "terminated", visible=("reward",)),
)
TASK = replace(CART_POLE, fields=FIELDS, array="torch")
LAYOUT = lay_out(FIELDS, 4)
SOURCE = """
import torch
import math

PARAMS = {"upright": 1.0, "centre": 0.1}
SCALE = 2 * math.pi


def features(obs):
    return {"energy": obs.spin.square(), "lean": torch.tanh(SCALE * obs.angle)}


def reward(obs, action, next_obs, params):
    centred = torch.where(next_obs.x.abs() > 1.0, -1.0, 0.0)
    size = torch.linalg.norm(next_obs.all_of_it, dim=-1)
    return {
        "upright": params.upright * (1 - features(next_obs)["lean"].abs()),
        "centre": params.centre * centred,
        "calm": -0.01 * torch.clamp(size, 0.0, 5.0) - 0.001 * action.float(),
    }
"""
IN_NUMPY = (
    SOURCE.replace("import torch", "import numpy as np")
    .replace("torch.clamp", "np.clip")
    .replace("torch.", "np.")
    .replace("dim=", "axis=")
    .replace("obs.spin.square()", "np.square(obs.spin)")
    .replace("next_obs.x.abs()", "np.abs(next_obs.x)")
    .replace('features(next_obs)["lean"].abs()', 'np.abs(features(next_obs)["lean"])')
    .replace("action.float()", "action.astype(np.float32)")
)


pytestmark = pytest.mark.usefixtures("one_thread")


def read(source, array="torch"):
    return read_program(source, FIELDS, "replace", array)


def rewarding(line):
    return f"import torch\ndef reward(obs, action, next_obs, params):\n    {line}\n"


def probe(rows=4500):
    rng = np.random.default_rng(0)
    state = rng.normal(size=(rows, 4)).astype(np.float32)
    ending = rng.random(rows) < 0.1
    return Transitions(
        state,
        rng.integers(0, 2, rows),
        np.concatenate([state + 0.1, ending[:, None]], 1).astype(np.float32),
        np.ones(rows, np.float32),
        ending,
    )


# --- the task says which ------------------------------------------------------------------------


def test_a_task_names_its_library_and_numpy_goes_without_saying():
    plain = {"environment": "CartPole-v1", "description": "Balance."}
    assert task_from_mapping(plain).array == "numpy"
    assert "array" not in task_to_mapping(task_from_mapping(plain))
    task = task_from_mapping({**plain, "array": "torch"})
    assert task_from_mapping(task_to_mapping(task)).array == "torch"
    assert task_from_json(task_to_json(TASK)).array == "torch"
    with pytest.raises(InvalidInput, match="numpy or torch"):
        check_task(task_from_mapping({**plain, "array": "jax"}))


def test_a_program_remembers_its_library_on_the_way_into_the_jail():
    program = read(SOURCE)
    assert program.array == "torch"
    again = program_from_json(program_to_json(program))
    assert again is not None
    assert again.array == "torch"


# --- rules without execution ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("return {'a': torch.tensor(obs.x.item())}", "`obs.x.item`"),
        ("return {'a': obs.x.cpu()}", "no .item(), .cpu() or .numpy()"),
        ("return {'a': torch.randn_like(obs.x)}", "`torch.randn_like`"),
        ("return {'a': obs.x.mul_(2)}", "Write `.mul`"),
        ("return {'a': torch.add(obs.x, 1, out=obs.x)}", "the argument `out=`"),
        ("return {'a': torch.zeros_like(obs.x, device='cpu')}", "the argument `device=`"),
        ("return {'a': obs.x.sum() + obs.v}", "dim=-1"),
        ("return {'a': obs.x if obs.x > 0 else obs.v}", "torch.where"),
        ("return {'a': max(obs.x, obs.v)}", "torch.maximum"),
        ("return {'a': torch.load('x')}", "`torch.load`"),
        ("return {'a': torch.compile(obs.x)}", "`torch.compile`"),
    ],
)
def test_what_leaves_the_device_changes_inputs_or_mixes_rows_is_refused(line, words):
    with pytest.raises(ProgramRejected) as caught:
        read(rewarding(line))
    assert words in str(caught.value)


def test_each_task_has_one_library():
    with pytest.raises(ProgramRejected, match="only `import torch` and `import math`"):
        read(IN_NUMPY)
    with pytest.raises(ProgramRejected, match="only `import numpy as np` and `import math`"):
        read(SOURCE, "numpy")


# --- calls ----------------------------------------------------------------------------------------


def test_a_program_in_torch_says_what_its_twin_in_numpy_says():
    ours = load_program(read(SOURCE), LAYOUT)
    theirs = load_program(read(IN_NUMPY, "numpy"), LAYOUT)
    rows = probe(100)
    np.testing.assert_allclose(ours.features(rows.state), theirs.features(rows.state), atol=1e-6)
    expected = theirs.reward(rows.state, rows.action, rows.next)
    for name, values in ours.reward(rows.state, rows.action, rows.next).items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], atol=1e-6)


def test_it_passes_the_check_of_the_contract():
    shape = hold_to_contract(
        load_program(read(SOURCE), LAYOUT, strict=True), probe(), lambda _: None
    )
    assert shape.components == ("upright", "centre", "calm")
    assert shape.features == ("energy", "lean")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("return {'a': obs.x.shape[0] * 1.0}", "a float tensor of shape (100,)"),
        ("return {'a': obs.all_of_it}", "shape (100, 4)"),
        ("return {'a': torch.log(obs.x - 100)}", "finite float32 numbers"),
        ("x = obs.x\n    x += 1\n    return {'a': x}", "an input that was changed in place"),
        (
            "return {'a': helper(obs.x)}\ndef helper(x):\n    return x if x > 0 else -x",
            "torch.where",
        ),
        ("return {'a': obs.x + obs.all_of_it}", "reduce over the last"),
    ],
)
def test_a_broken_result_is_rejected_with_a_sentence_for_its_author(line, words):
    loaded = load_program(read(rewarding(line)), LAYOUT, strict=True)
    rows = probe(100)
    with pytest.raises(ProgramRejected) as caught:
        loaded.reward(rows.state, rows.action, rows.next)
    assert words in str(caught.value)


def test_the_interpreter_gives_a_program_nothing_but_its_library():
    program = replace(read(SOURCE), source="import numpy\n" + SOURCE)
    with pytest.raises(ProgramRejected, match="available: torch, math"):
        load_program(program, LAYOUT)


@on_every_device
def test_tensors_stay_where_they_are_and_the_caller_s_own_are_out_of_reach(device):
    loaded = load_program(read(rewarding("x = obs.x\n    x += 1\n    return {'a': x}")), LAYOUT)
    assert isinstance(loaded, TorchProgram)
    state = torch.zeros(3, 4, device=device)
    terms = loaded.tensor_reward(
        state, torch.zeros(3, device=device), torch.zeros(3, 5, device=device)
    )
    assert terms["a"].device == state.device
    assert terms["a"].tolist() == [1, 1, 1]
    assert not state.any()


# --- training -------------------------------------------------------------------------------------


@on_every_device
def test_it_trains_on_a_device_as_its_twin_in_numpy_does_on_the_host(device):
    members = [("a", 0), ("native", 1), ("a", 2)]
    task = replace(CART_POLE, fields=FIELDS)
    ours = device_pack_of(
        members, device, {"a": load_program(read(SOURCE), LAYOUT), "native": None}, task
    )
    theirs = pack_of(
        members, {"a": load_program(read(IN_NUMPY, "numpy"), LAYOUT), "native": None}, task
    )
    for pack in (ours, theirs):
        pack.train(Span(256, 256))
    assert ours.living == [0, 1, 2]
    for member in range(3):
        close(parameters(ours, member), parameters(theirs, member))


def test_the_host_s_trainer_takes_a_program_in_torch_as_well():
    pack = pack_of([("a", 0)], {"a": load_program(read(SOURCE), LAYOUT)}, TASK)
    pack.train(Span(256, 256))
    assert "component.calm" in pack.curve(0).series


def test_a_task_without_a_word_is_a_task_in_numpy():
    assert Task("t", "CartPole-v1", "").array == "numpy"


# --- the prompt -----------------------------------------------------------------------------------


def test_the_worked_example_in_torch_keeps_the_rules_and_computes_what_the_one_in_numpy_does():
    layout = lay_out(EXAMPLE_FIELDS, 4)
    rng = np.random.default_rng(0)
    state = rng.normal(300, 30, (50, 4)).astype(np.float32)
    following = np.concatenate([state + 1, rng.integers(0, 2, (50, 1))], 1).astype(np.float32)
    action = rng.normal(size=(50, 2)).astype(np.float32)
    said = [
        load_program(read_program(source, EXAMPLE_FIELDS, "replace", array), layout).reward(
            state, action, following
        )
        for source, array in ((EXAMPLE, "numpy"), (TORCH_EXAMPLE, "torch"))
    ]
    close(said[0], said[1], tolerance=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_prompt_says_which_library(method):
    brief = Brief(TASK, 0, 0, "seed", "replace", 0)
    prompts = {
        array: str(METHODS[method].render(replace(brief, task=replace(TASK, array=array))))
        for array in ("numpy", "torch")
    }
    assert "Tensors instead of arrays" in prompts["torch"]
    assert "torch" not in prompts["numpy"]


def test_its_calls_are_timed_by_their_rows_like_those_of_numpy():
    counted = {}
    for source, array in ((SOURCE, "torch"), (IN_NUMPY, "numpy")):
        guard = Deadlines().guard(0)
        loaded = load_program(read(source, array), LAYOUT, guard=guard)
        loaded.features(np.zeros((5, LAYOUT.state_size), np.float32))
        block = np.zeros((7, LAYOUT.size), np.float32)
        loaded.reward(block[:, : LAYOUT.state_size], np.zeros(7, np.int64), block)
        counted[array] = guard.called_rows
    assert counted == {"torch": 5 + 7, "numpy": 5 + 7}

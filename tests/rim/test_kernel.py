"""The compiled kernel: the same numbers as the torch update, and no way to misuse it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from client.checkup import compiled_kernel
from core.training.kernel import available, load, why_absent
from core.training.kernel import library as libraries
from core.training.minibatches import minibatches
from core.training.networks import Shapes, initial_parameters
from core.training.normalise import normalised
from core.training.ppo import (
    Experience,
    Losses,
    evaluate,
    hyper_of,
    new_stack,
    policy_of,
    update,
    values_of,
)
from core.training.settings import PPOSettings

USUAL = hyper_of([PPOSettings()] * 5)  # as many members as any test has
COMPILER = next((name for name in libraries.COMPILERS if shutil.which(name)), None)
needs_kernel = pytest.mark.skipif(not available(), reason=why_absent() or "there is one")

SHAPES = [
    pytest.param(Shapes(4, (64, 64), 2, False), id="cart-pole"),
    pytest.param(Shapes(11, (64, 64), 3, True), id="hopper"),
    pytest.param(Shapes(3, (8,), 1, True), id="one narrow layer, one action"),
    pytest.param(Shapes(3, (5, 7, 9), 17, True), id="odd widths, 17 actions"),
    pytest.param(Shapes(5, (33, 20), 18, False), id="18 choices"),
    pytest.param(Shapes(1, (3, 4, 5, 130), 1, False), id="four layers, no choice"),
]
BOTH = [SHAPES[0], SHAPES[1]]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def kernel():
    return load()


def stack_of(shapes, members, seed=0):
    """Members that have learned nothing yet, with outputs large enough to matter."""
    stack, rng = new_stack(shapes, members), np.random.default_rng(seed)
    for member in range(members):
        for name, drawn in initial_parameters(shapes, rng, log_std=-0.3).items():
            scale = 50.0 if name == "policy.out.weight" else 1.0
            stack.params[name][member] = torch.from_numpy(drawn * np.float32(scale))
    return stack


def copy_of(stack):
    copy = new_stack(stack.shapes, len(stack.flat))
    for name in ("flat", "first", "second", "updates", "living"):
        getattr(copy, name).copy_(getattr(stack, name))
    return copy


def experience_of(stack, rows, seed=1):
    """Rows whose log-probabilities are a little off, so that some ratios are clipped."""
    shapes, members = stack.shapes, len(stack.flat)
    rng = np.random.default_rng(seed)

    def normal(*size):
        return torch.from_numpy(rng.standard_normal((members, rows, *size), np.float32))

    inputs = normal(shapes.inputs)
    actions = normal(shapes.actions)
    if not shapes.continuous:
        actions = torch.from_numpy(rng.integers(0, shapes.actions, (members, rows)))
    log_probs, _ = evaluate(stack, policy_of(stack, inputs), actions)
    return Experience(inputs, actions, log_probs + 0.2 * normal(), normal() * 3 + 1, normal())


def torch_update(stack, experience, batches, hyper):
    losses = update(stack, experience, hyper, batches)
    return np.stack([getattr(losses, name).numpy() for name in Losses.__slots__])


def both(kernel, shapes, settings, rows, members=3, steps=None):
    """Run torch and the kernel from the same start; return both stacks and both losses."""
    ours = stack_of(shapes, members)
    theirs = copy_of(ours)
    experience = experience_of(ours, rows)
    batches = minibatches(rows, settings, np.random.default_rng(2))[:steps]
    hyper = hyper_of([settings] * members)
    expected = torch_update(theirs, experience, batches, hyper)
    return ours, theirs, kernel.update(ours, experience, hyper, batches), expected


# --- the same numbers -----------------------------------------------------------------------------


def test_where_a_compiler_is_the_kernel_was_built():
    if COMPILER is None:
        pytest.skip("no C++ compiler here")
    assert available(), why_absent()


@needs_kernel
@pytest.mark.parametrize("entropy", [0.0, 0.01])
@pytest.mark.parametrize("shapes", SHAPES)
def test_one_gradient_step_equals_torch(kernel, shapes, entropy):
    settings = PPOSettings(minibatch=50, entropy=entropy)
    ours, theirs, said, expected = both(kernel, shapes, settings, rows=50, steps=1)
    np.testing.assert_allclose(said, expected, rtol=2e-5, atol=1e-6)
    scale = float(theirs.first.abs().max())
    np.testing.assert_allclose(ours.first, theirs.first, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(ours.flat, theirs.flat, rtol=0, atol=2e-6)
    assert torch.equal(ours.updates, theirs.updates)


@needs_kernel
@pytest.mark.parametrize("shapes", SHAPES)
def test_three_hundred_and_twenty_gradient_steps_equal_torch(kernel, shapes):
    settings = PPOSettings(minibatch=64, epochs=10, learning_rate=3e-4, entropy=0.001)
    ours, theirs, said, expected = both(kernel, shapes, settings, rows=2050, members=2)
    assert ours.updates.tolist() == [[320.0], [320.0]]
    np.testing.assert_allclose(said, expected, rtol=1e-5, atol=5e-6)
    np.testing.assert_allclose(ours.flat, theirs.flat, rtol=0, atol=2e-6)


@needs_kernel
@pytest.mark.parametrize("rows", [2, 3, 63, 65, 129, 300])
@pytest.mark.parametrize("shapes", BOTH)
def test_minibatches_of_any_size_equal_torch(kernel, shapes, rows):
    settings = PPOSettings(minibatch=rows, entropy=0.01)
    ours, theirs, said, expected = both(kernel, shapes, settings, rows, steps=1)
    np.testing.assert_allclose(said, expected, rtol=2e-5, atol=1e-6)
    scale = float(theirs.first.abs().max())
    np.testing.assert_allclose(ours.first, theirs.first, rtol=0, atol=1e-5 * scale)


@needs_kernel
@pytest.mark.parametrize("shapes", BOTH)
def test_gradients_are_clipped_to_the_members_own_norm(kernel, shapes):
    settings = PPOSettings(minibatch=64, max_grad_norm=0.01)
    ours, theirs, _, _ = both(kernel, shapes, settings, rows=64, steps=1)
    norms = ours.first.norm(dim=1) / 0.1
    np.testing.assert_allclose(norms, 0.01, rtol=1e-3)
    np.testing.assert_allclose(ours.first, theirs.first, rtol=0, atol=1e-8)


@needs_kernel
def test_every_member_has_its_own_settings(kernel):
    shapes, rows = Shapes(11, (64, 64), 3, True), 64
    several = [
        PPOSettings(learning_rate=1e-4, clip=0.1, entropy=0.0, value=0.5, max_grad_norm=0.5),
        PPOSettings(learning_rate=3e-3, clip=0.3, entropy=0.05, value=1.0, max_grad_norm=5.0),
    ]
    ours = stack_of(shapes, 2)
    start, experience = copy_of(ours), experience_of(ours, rows)
    batches = [np.arange(rows)] * 3
    kernel.update(ours, experience, hyper_of(several), batches)
    for member, settings in enumerate(several):
        alone = copy_of(start)
        torch_update(alone, experience, batches, hyper_of([settings] * 2))
        np.testing.assert_allclose(ours.flat[member], alone.flat[member], rtol=0, atol=2e-6)


@needs_kernel
def test_columns_of_zeros_change_nothing_and_stay_out_of_it(kernel):
    shapes = Shapes(6, (16, 16), 2, True)
    ours = stack_of(shapes, 1)
    ours.params["policy.0.weight"][..., 4:] = 0.0
    ours.params["value.0.weight"][..., 4:] = 0.0
    experience = experience_of(ours, 200)
    experience.inputs[..., 4:] = 0.0
    kernel.update(ours, experience, USUAL, [np.arange(200)] * 50)
    assert not ours.params["policy.0.weight"][..., 4:].any()
    assert not ours.params["value.0.weight"][..., 4:].any()
    assert ours.params["policy.0.weight"][0, :, :4].all()


# --- members apart --------------------------------------------------------------------------------


@needs_kernel
@pytest.mark.parametrize("shapes", BOTH)
def test_a_member_alone_gets_the_same_bits_as_among_others(kernel, shapes):
    together = stack_of(shapes, 5)
    experience = experience_of(together, 130)
    batches = minibatches(130, PPOSettings(minibatch=40), np.random.default_rng(3))
    alone = new_stack(shapes, 1)
    alone.flat[0] = together.flat[3]
    own = (getattr(experience, n)[3:4].contiguous() for n in Experience.__slots__)
    said = kernel.update(together, experience, USUAL, batches)
    said_alone = kernel.update(alone, Experience(*own), USUAL, batches)
    for name in ("flat", "first", "second", "updates"):
        assert torch.equal(getattr(together, name)[3], getattr(alone, name)[0])
    assert np.array_equal(said[:, 3:4], said_alone)


@needs_kernel
def test_a_member_that_learns_no_more_is_left_as_it_is(kernel):
    stack = stack_of(Shapes(4, (16,), 2, False), 3)
    stack.living[1] = False
    before = copy_of(stack)
    said = kernel.update(stack, experience_of(stack, 64), USUAL, [np.arange(64)])
    for name in ("flat", "first", "second", "updates"):
        assert torch.equal(getattr(stack, name)[1], getattr(before, name)[1])
        assert not torch.equal(getattr(stack, name)[0], getattr(before, name)[0])
    assert not said[:, 1].any()


@needs_kernel
@pytest.mark.parametrize("shapes", BOTH)
@pytest.mark.parametrize("what", ["inputs", "advantages", "returns", "log_probs"])
def test_what_is_not_finite_shows_in_its_member_and_in_no_other(kernel, shapes, what):
    stack = stack_of(shapes, 3)
    experience = experience_of(stack, 64)
    sound = copy_of(stack)
    batches = [np.arange(64)] * 2
    kernel.update(sound, experience, USUAL, batches)
    getattr(experience, what)[1, 5] = float("nan")
    kernel.update(stack, experience, USUAL, batches)
    assert not torch.isfinite(stack.flat[1]).any()
    assert torch.equal(stack.flat[[0, 2]], sound.flat[[0, 2]])


@needs_kernel
def test_denormal_numbers_are_still_numbers_after_a_call(kernel):
    stack = stack_of(Shapes(4, (16,), 2, False), 1)
    kernel.update(stack, experience_of(stack, 8), USUAL, [np.arange(8)])
    assert np.float32(1e-39) * np.float32(0.5) > 0


# --- acting ---------------------------------------------------------------------------------------


@needs_kernel
@pytest.mark.parametrize("rows", [1, 8, 200])
@pytest.mark.parametrize("shapes", SHAPES)
def test_the_forward_pass_equals_torch(kernel, shapes, rows):
    stack = stack_of(shapes, 3)
    inputs = experience_of(stack, rows).inputs * 3
    packed = kernel.pack(shapes, stack.flat)
    policy, value = policy_of(stack, inputs), values_of(stack, inputs)
    scale = float(policy.abs().max())
    np.testing.assert_allclose(
        kernel.forward(packed, "policy", inputs), policy, rtol=0, atol=1e-6 * max(scale, 1)
    )
    np.testing.assert_allclose(
        kernel.forward(packed, "value", inputs)[..., 0], value, rtol=0, atol=2e-6
    )


@needs_kernel
@pytest.mark.parametrize("shapes", SHAPES)
def test_a_rows_output_has_the_same_bits_among_any_others(kernel, shapes):
    stack = stack_of(shapes, 3)
    inputs = experience_of(stack, 100).inputs
    every = kernel.forward(kernel.pack(shapes, stack.flat), "policy", inputs)
    one = kernel.pack(shapes, stack.flat[1:2])
    for row in (0, 7, 63, 64, 99):
        alone = kernel.forward(one, "policy", inputs[1:2, row : row + 1].contiguous())
        assert np.array_equal(alone[0, 0], every[1, row])


@needs_kernel
@pytest.mark.parametrize("shapes", SHAPES)
def test_acting_is_normalising_running_the_policy_and_adding_the_noise(kernel, shapes):
    stack, rng = stack_of(shapes, 3), np.random.default_rng(4)
    raw = 20 * rng.standard_normal((3, 9, shapes.inputs), np.float32)
    mean = rng.standard_normal((3, 1, shapes.inputs), np.float32)
    scale = rng.uniform(0.5, 2, (3, 1, shapes.inputs)).astype(np.float32)
    noise = rng.standard_normal((3, 9, shapes.actions), np.float32)
    inputs, actions = np.empty_like(raw), np.empty_like(noise)
    if not shapes.continuous:
        actions = np.empty((3, 9), np.int64)
    packed = kernel.pack(shapes, stack.flat)
    kernel.actor(packed, mean, scale).act(raw, noise, inputs, actions)
    assert np.array_equal(inputs, normalised(raw, mean, scale))
    output = kernel.forward(packed, "policy", inputs)
    if shapes.continuous:
        deviation = np.exp(stack.params["policy.log_std"].numpy())[:, None]
        np.testing.assert_allclose(actions, output + deviation * noise, rtol=0, atol=1e-6)
    else:
        assert np.array_equal(actions, np.argmax(output + noise, -1))


@needs_kernel
def test_what_is_not_finite_is_seen_when_acting(kernel):
    shapes = Shapes(2, (8,), 3, False)
    stack = stack_of(shapes, 1)
    raw = np.array([[[np.nan, 0], [0, 0]]], np.float32)
    still, inputs, actions = np.zeros((1, 1, 2), np.float32), raw.copy(), np.ones((1, 2), np.int64)
    noise = np.array([[[0, 1, 2], [0, 0, 50]]], np.float32)
    actor = kernel.actor(kernel.pack(shapes, stack.flat[:1]), still, still + 1)
    actor.act(raw, noise, inputs, actions)
    assert np.isnan(inputs[0, 0, 0])
    assert actions.tolist() == [[0, 2]]  # as argmax has it: the first NaN


# --- no way to misuse it --------------------------------------------------------------------------


@needs_kernel
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"inputs": torch.zeros(2, 8, 5)}, r"inputs: expected float32 \[2, 8, 4\]"),
        ({"inputs": torch.zeros(2, 8, 4).double()}, r"found float64 \[2, 8, 4\]"),
        ({"actions": torch.zeros(2, 8)}, r"actions: expected int64 \[2, 8\]"),
        ({"actions": torch.full((2, 8), 2)}, "expected 0 to 1, but found choices 2 to 2"),
        ({"advantages": torch.zeros(2, 7)}, r"advantages: expected float32 \[2, 8\]"),
        ({"returns": torch.zeros(8, 2).T}, "in one piece"),
    ],
)
def test_experience_of_another_form_is_refused(kernel, spoil, words):
    stack = stack_of(Shapes(4, (8,), 2, False), 2)
    experience = replace(experience_of(stack, 8), **spoil)
    with pytest.raises(ValueError, match=words):
        kernel.update(stack, experience, USUAL, [np.arange(8)])


@needs_kernel
@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([np.array([0, 8])], "expected 0 to 7, but found rows 0 to 8"),
        ([np.array([-1, 3])], "found rows -1 to 3"),
        ([], "at least one"),
        ([np.arange(8), np.arange(0)], "none of them empty"),
    ],
)
def test_rows_that_are_not_there_are_refused(kernel, batches, words):
    stack = stack_of(Shapes(4, (8,), 2, False), 2)
    with pytest.raises(ValueError, match=words):
        kernel.update(stack, experience_of(stack, 8), USUAL, batches)


@needs_kernel
def test_settings_of_another_number_of_members_are_refused(kernel):
    stack = stack_of(Shapes(4, (8,), 2, False), 2)
    hyper = replace(USUAL, clip=torch.zeros(1, 1))
    with pytest.raises(ValueError, match=r"clip: expected float32 \[2, 1\]"):
        kernel.update(stack, experience_of(stack, 8), hyper, [np.arange(8)])


@needs_kernel
def test_arrays_that_cannot_be_written_or_fit_no_network_are_refused(kernel):
    shapes = Shapes(2, (8,), 3, False)
    packed = kernel.pack(shapes, stack_of(shapes, 1).flat[:1])
    still, room = np.zeros((1, 1, 2), np.float32), np.zeros((1, 4, 2), np.float32)
    noise, frozen = np.zeros((1, 4, 3), np.float32), np.zeros((1, 4), np.int64)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="actions: expected one that can be written"):
        kernel.actor(packed, still, still).act(room, noise, room.copy(), frozen)
    with pytest.raises(ValueError, match="flat: expected float32"):
        kernel.pack(replace(shapes, actions=4), stack_of(shapes, 1).flat)
    with pytest.raises(ValueError, match="1 to 4"):
        kernel.pack(replace(shapes, hidden=(8,) * 5), stack_of(shapes, 1).flat)


# --- the library ----------------------------------------------------------------------------------


@needs_kernel
def test_a_library_for_another_processor_is_refused_before_it_runs():
    needs = libraries.find().needs
    if not needs:
        pytest.skip("this library was built to run on any processor")
    found = libraries.find(features={"fpu", "asimd"})
    assert found.library is None
    assert f"lacks {', '.join(sorted(needs))}" in found.reason
    assert "REWARDSMITH_KERNEL_ARCH" in found.reason


def test_the_processors_features_are_read_as_linux_lists_them(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: none\n")
    assert libraries.cpu_features(file) == {"fpu", "avx2", "fma"}
    assert libraries.cpu_features(tmp_path / "none") == frozenset()


def test_without_a_library_the_reason_says_what_to_do(tmp_path, monkeypatch):
    assert "make kernel" in libraries.find(tmp_path).reason
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = libraries.find(tmp_path).reason
    assert "no C++ compiler was found at install; install g++" in reason


def test_the_doctor_says_whether_there_is_a_kernel_and_what_to_do(tmp_path):
    here, without = compiled_kernel(), compiled_kernel(tmp_path)
    assert here.found.startswith("compiled kernel: yes (built for") == available()
    assert here.ok
    assert without.ok, "training works without"
    assert without.found.startswith("compiled kernel: no; training runs")
    assert "`make kernel`" in without.fix


def test_a_file_that_is_no_library_is_named(tmp_path):
    suffix = libraries.importlib.machinery.EXTENSION_SUFFIXES[0]
    (tmp_path / f"{libraries.STEM}{suffix}").write_text("no library")
    assert "cannot be loaded" in libraries.find(tmp_path).reason


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler here")
def test_a_library_of_another_version_is_named(tmp_path):
    source = 'extern "C" int rewardsmith_interface() { return 0; }\n'
    source += 'extern "C" const char* rewardsmith_needs() { return ""; }\n'
    (tmp_path / "old.cpp").write_text(source)
    suffix = libraries.importlib.machinery.EXTENSION_SUFFIXES[0]
    target = tmp_path / f"{libraries.STEM}{suffix}"
    command = [COMPILER, "-shared", "-fPIC", str(tmp_path / "old.cpp"), "-o", str(target)]
    subprocess.run(command, check=True)
    assert "another version" in libraries.find(tmp_path).reason

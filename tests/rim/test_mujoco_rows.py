"""MuJoCo tasks as rows: the episodes are gymnasium's own, whatever is read, set or varied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch

from core.envs import Variation, describe_env, make_batch, spread
from core.envs.gymnasium_rows import GymnasiumRows
from core.envs.mujoco.clock import stop_the_clock
from core.envs.mujoco.models import compiled
from core.envs.mujoco.routes import CONTACT, EQUAL
from core.envs.mujoco.scene import Machine, Scene
from core.envs.mujoco.tasks import TASKS
from core.errors import EnvironmentUnusable, InvalidInput
from core.records.task import Field, Task

BY_DATA = ("Ant-v5", "Humanoid-v5", "HumanoidStandup-v5")
SELDOM_END = ("Reacher-v5", "Pusher-v5", "Swimmer-v5", "HalfCheetah-v5", "Ant-v5")
TERMINATED = Field("terminated", "terminated", visible=("reward",))


def task(environment, *fields, **options):
    return Task("a-task", environment, "", fields=fields, **options)


def both(the_task, rows, *, autoreset=True, variations=()):
    fast = make_batch(the_task, rows, autoreset=autoreset, variations=variations)
    return fast, GymnasiumRows(the_task, fast.layout, rows, autoreset=autoreset)


def told(environment):
    return [Field(f"told_{key}", f"info.{key}") for key in TASKS[environment].told]


def draw(batch, rng):
    shape = (batch.rows, batch.action["size"])
    return rng.uniform(batch.action["low"], batch.action["high"], shape).astype(np.float32)


def assert_same(one, other):
    """Equal to the rounding of sums; where this was written every difference was 0."""
    for name in ("next_block", "native", "state"):
        found, wanted = getattr(one, name), getattr(other, name)
        assert found.dtype == wanted.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(one.terminated, other.terminated)
    np.testing.assert_array_equal(one.truncated, other.truncated)


def live_together(fast, slow, steps, seeds=None):
    """Step two batches alike, comparing all of it; return how many episodes ended either way."""
    seeds, rng = seeds or list(range(fast.rows)), np.random.default_rng(0)
    np.testing.assert_allclose(fast.reset(seeds), slow.reset(seeds), rtol=1e-6, atol=1e-6)
    terminated = truncated = 0
    for _ in range(steps):
        action = draw(fast, rng)
        one, other = fast.step(action), slow.step(action)
        assert_same(one, other)
        terminated += int(one.terminated.sum())
        truncated += int(one.truncated.sum())
    return terminated, truncated


# --- the same episodes ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("environment", TASKS)
def test_rows_live_the_same_hundreds_of_episodes_as_gymnasium_s_objects(environment):
    seldom = environment in SELDOM_END or environment == "HumanoidStandup-v5"
    fields = (*told(environment), TERMINATED)
    the_task = task(environment, *fields, max_episode_steps=20 if seldom else None)
    fast, slow = both(the_task, 16)
    adapter = "mujoco-data" if environment in BY_DATA else "mujoco-batch"
    assert (fast.adapter, fast.action) == (adapter, slow.action)
    terminated, truncated = live_together(fast, slow, steps=320)
    assert (truncated if seldom else terminated) >= 200


@pytest.mark.parametrize("environment", ["Hopper-v5", "InvertedPendulum-v5"])
def test_terminations_and_truncations_mix(environment):
    fast, slow = both(task(environment, TERMINATED, max_episode_steps=12), 8)
    terminated, truncated = live_together(fast, slow, steps=60)
    assert terminated > 0
    assert truncated > 0


@pytest.mark.slow
@pytest.mark.parametrize("environment", TASKS)
def test_simulator_fields_are_those_of_gymnasium_s_data(environment):
    model = compiled(TASKS[environment].xml)
    sizes = {name: getattr(mujoco.MjData(model), name).size for name in sorted(EQUAL | CONTACT)}
    names = [name for name, size in sizes.items() if size]
    for wanted, adapter in (
        ([name for name in names if name in EQUAL], None),
        (names, "mujoco-data"),
    ):
        fields = [Field(name, f"sim.{name}[0:{sizes[name]}]") for name in wanted]
        fast, slow = both(task(environment, *fields, max_episode_steps=17), 3)
        assert fast.adapter == (adapter or fast.adapter)
        live_together(fast, slow, steps=60)


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["Hopper-v5", "Pusher-v5", "Ant-v5"])
def test_without_autoreset_ended_rows_stay_frozen_as_gymnasium_s_do(environment):
    fields = (*told(environment), Field("height", "sim.qpos[2]"), TERMINATED)
    the_task = task(environment, *fields, max_episode_steps=60)
    fast, slow = both(the_task, 6, autoreset=False)
    for seeds in (range(6), range(10, 16)):
        live_together(fast, slow, steps=70, seeds=list(seeds))
        last = fast.step(np.zeros((6, fast.action["size"]), np.float32))
        assert (last.terminated | last.truncated).all()
        assert not last.native.any()


def test_what_a_step_gave_is_not_overwritten_by_the_next():
    batch = make_batch(task("Hopper-v5", Field("x", "sim.qpos[0]"), TERMINATED), 4)
    rng, state = np.random.default_rng(0), batch.reset(range(4))
    first = state.copy()
    kept = batch.step(draw(batch, rng))
    copies = [np.array(getattr(kept, name)) for name in kept.__slots__]
    for _ in range(30):
        batch.step(draw(batch, rng))
    np.testing.assert_array_equal(state, first)
    for name, copy in zip(kept.__slots__, copies, strict=True):
        np.testing.assert_array_equal(getattr(kept, name), copy)


@pytest.mark.parametrize("environment", ["Hopper-v5", "Ant-v5"])
def test_a_row_s_life_depends_on_its_own_seed_alone(environment):
    wide, narrow = (make_batch(task(environment), rows) for rows in (3, 1))
    np.testing.assert_array_equal(wide.reset([5, 6, 7])[2], narrow.reset([7])[0])
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = draw(wide, rng)
        one, other = wide.step(action), narrow.step(action[2:])
        np.testing.assert_array_equal(one.state[2], other.state[0])


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["Walker2d-v5", "Ant-v5"])
def test_threads_change_nothing(environment):
    the_task = task(environment, *told(environment), max_episode_steps=25)
    one, two = (make_batch(the_task, 7, nthread=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.reset(range(7)), two.reset(range(7)))
    rng = np.random.default_rng(0)
    for _ in range(80):
        action = draw(one, rng)
        first, second = one.step(action), two.step(action)
        for name in first.__slots__:
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    two.close()


@pytest.mark.parametrize("environment", ["Hopper-v5", "Humanoid-v5"])
def test_many_rows_reserve_little_memory(environment):
    first = make_batch(task(environment), 1)
    first.reset([0])
    before = reserved_mib()
    batch = make_batch(task(environment), 200)
    batch.reset(range(200))
    batch.step(np.zeros((200, batch.action["size"]), np.float32))
    assert reserved_mib() - before < 200  # an MjData for each would reserve 2,800


def reserved_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmSize")) / 1024


# --- a simulation that breaks ---------------------------------------------------------------------


def hurl(fast, slow, row, speed):
    """Give the joints of one row a speed, in both alike."""
    slow._envs[row].unwrapped.data.qvel[:] = speed
    if fast.adapter == "mujoco-batch":
        fast._sim.fields["qvel"][row] = speed  # a view of the state itself
        return
    whole, seat = mujoco.mjtState.mjSTATE_INTEGRATION.value, fast._sim._seats[0]
    mujoco.mj_setState(fast._sim._models[row], seat, fast._sim._states[row], whole)
    seat.qvel[:] = speed
    mujoco.mj_getState(fast._sim._models[row], seat, fast._sim._states[row], whole)


def stumbles(slow, row):
    """Count the steps of one row in which MuJoCo found the simulation unstable."""
    kinds = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL)
    warned = slow._envs[row].unwrapped.data.warning
    return sum(warned[kind].number for kind in (*kinds, mujoco.mjtWarning.mjWARN_BADQACC))


@pytest.mark.parametrize("speed", [1e6, 1e8, 1e11, np.nan], ids=str)
@pytest.mark.parametrize(
    "environment",
    [e if e in ("Hopper-v5", "Ant-v5") else pytest.param(e, marks=pytest.mark.slow) for e in TASKS],
)
def test_an_unstable_simulation_begins_anew_inside_the_step_as_gymnasium_s_does(
    environment, speed, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into a file there
    model = compiled(TASKS[environment].xml)
    shown = [
        Field(n, f"sim.{n}[0:{getattr(model, s)}]") for n, s in (("qpos", "nq"), ("qvel", "nv"))
    ]
    the_task = task(environment, *shown, *told(environment), TERMINATED, max_episode_steps=15)
    fast, slow = both(the_task, 3)
    assert fast.adapter == ("mujoco-data" if environment in BY_DATA else "mujoco-batch")
    np.testing.assert_allclose(fast.reset(range(3)), slow.reset(range(3)), rtol=1e-6, atol=1e-6)
    rng, broke = np.random.default_rng(0), 0
    for step in range(40):
        if step in (3, 4, 20):  # in the first and in the second episode, and twice in a row
            hurl(fast, slow, 1, speed)
        action = draw(fast, rng)
        one, other = fast.step(action), slow.step(action)
        broke = max(broke, stumbles(slow, 1))
        assert_same(one, other)
    assert broke


@pytest.mark.parametrize("environment", ["InvertedDoublePendulum-v5", "Hopper-v5", "Ant-v5"])
def test_an_episode_that_would_begin_unstable_is_refused_by_name(environment):
    wild = make_batch(task(environment, env_kwargs={"reset_noise_scale": 1e12}), 2)
    with pytest.raises(EnvironmentUnusable, match="Make reset_noise_scale smaller"):
        wild.reset([0, 1])


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ("InvertedPendulum-v5", {"reset_noise_scale": 0.1, "frame_skip": 3}),
        ("InvertedDoublePendulum-v5", {"healthy_reward": 3, "reset_noise_scale": 0.3}),
        ("Reacher-v5", {"reward_dist_weight": 2.0, "reward_control_weight": 0.5}),
        ("Pusher-v5", {"reward_near_weight": 2.0, "reward_dist_weight": 3.0}),
        (
            "Swimmer-v5",
            {"ctrl_cost_weight": 0.1, "exclude_current_positions_from_observation": False},
        ),
        (
            "Hopper-v5",
            {
                "terminate_when_unhealthy": False,
                "healthy_state_range": [-3.0, 3.0],
                "healthy_reward": 4.0,
                "forward_reward_weight": 2.0,
                "exclude_current_positions_from_observation": False,
                "frame_skip": 2,
            },
        ),
        ("Hopper-v5", {"healthy_z_range": (1.1, 1.26), "healthy_angle_range": [-0.05, 0.05]}),
        ("HalfCheetah-v5", {"forward_reward_weight": 0.5, "reset_noise_scale": 1.0}),
        ("Walker2d-v5", {"healthy_z_range": [1.0, 1.3], "healthy_angle_range": [-0.1, 0.1]}),
        (
            "Ant-v5",
            {
                "healthy_z_range": [0.5, 0.8],
                "contact_force_range": [-0.1, 2],
                "contact_cost_weight": 0.1,
            },
        ),
        (
            "Ant-v5",
            {
                "include_cfrc_ext_in_observation": False,
                "exclude_current_positions_from_observation": False,
            },
        ),
        (
            "Humanoid-v5",
            {
                "include_cinert_in_observation": False,
                "include_cvel_in_observation": False,
                "contact_cost_range": [0.0, 0.5],
                "contact_cost_weight": 1e-4,
            },
        ),
        (
            "HumanoidStandup-v5",
            {
                "include_qfrc_actuator_in_observation": False,
                "include_cfrc_ext_in_observation": False,
                "impact_cost_weight": 1e-4,
                "uph_cost_weight": 3.0,
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value)[:40],
)
def test_options_mean_what_they_mean_to_gymnasium(environment, options):
    fields = () if "exclude" in str(options) else (*told(environment), TERMINATED)
    fast, slow = both(task(environment, *fields, env_kwargs=options, max_episode_steps=15), 3)
    assert fast.adapter.startswith("mujoco")
    live_together(fast, slow, steps=40)


@pytest.mark.parametrize(
    ("changed", "adapter"),
    [
        ({}, "mujoco-batch"),
        ({"fields": (Field("a", "sim.xipos[3:6]"),)}, "mujoco-batch"),
        ({"fields": (Field("a", "info.x_velocity"),)}, "mujoco-batch"),
        ({"fields": (Field("a", "sim.cfrc_ext[6:12]"),)}, "mujoco-data"),
        ({"fields": (Field("a", "sim.solver_niter[0]"),)}, "gymnasium"),
        ({"fields": (Field("a", "info.nobody_told"),)}, "gymnasium"),
        ({"fields": (Field("a", "info.x_velocity[1]"),)}, "gymnasium"),
        ({"env_kwargs": {"reset_noise_scale": 0.0}}, "mujoco-batch"),
        ({"env_kwargs": {"width": 300}}, "gymnasium"),
        ({"env_kwargs": {"xml_file": "hopper.xml"}}, "gymnasium"),
        ({"env_kwargs": {"terminate_when_unhealthy": 0}}, "gymnasium"),
        ({"environment": "Hopper-v4"}, "gymnasium"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value)[:50],
)
def test_the_fast_rows_are_taken_only_where_they_are_true(changed, adapter):
    the_task = replace(task("Hopper-v5"), **changed)
    assert make_batch(the_task, 2).adapter == describe_env(the_task).adapter == adapter


def test_a_field_beyond_the_simulator_s_array_is_refused():
    with pytest.raises(EnvironmentUnusable, match=r"expected at least 8, but found 6 numbers"):
        make_batch(task("Hopper-v5", Field("a", "sim.qpos[7]")), 2)


# --- the table on tensors -------------------------------------------------------------------------


@pytest.mark.parametrize("environment", TASKS)
def test_the_table_gives_the_same_on_tensors(environment):
    batch = make_batch(task(environment), 5)
    batch.reset(range(5))
    rng = np.random.default_rng(0)
    for _ in range(10):
        before = {name: values.copy() for name, values in batch._sim.fields.items()}
        action = draw(batch, rng)
        batch._sim.step(action, None)
    entry, machine, options = batch._task, batch._machine, batch._options
    arrays = Scene(batch._sim.fields, machine, options, np, before, action)
    tensors = Scene(
        {name: torch.from_numpy(np.array(v)) for name, v in batch._sim.fields.items()},
        replace(machine, body_mass=torch.from_numpy(np.array(machine.body_mass))),
        options,
        torch,
        {name: torch.from_numpy(v) for name, v in before.items()},
        torch.from_numpy(action),
    )
    np.testing.assert_allclose(entry.observe(tensors).numpy(), entry.observe(arrays), rtol=1e-12)
    one, other = entry.judge(tensors), entry.judge(arrays)
    np.testing.assert_allclose(one.native.numpy(), other.native, rtol=1e-6)
    assert one.terminated.dtype == torch.bool
    assert one.terminated.tolist() == other.terminated.tolist()
    assert set(one.info) == set(other.info) == set(entry.told)
    for key, values in one.info.items():
        np.testing.assert_allclose(values.numpy(), other.info[key], rtol=1e-6, err_msg=key)
    assert isinstance(machine, Machine)


# --- parameters that vary -------------------------------------------------------------------------


FACTORS = (0.5, 1.0, 1.7)
EDITS = {
    "mass": lambda model, f: (
        model.body_mass.__imul__(f),
        model.body_inertia.__imul__(f),
    ),
    "friction": lambda model, f: model.geom_friction.__imul__(f),
    "gain": lambda model, f: (
        model.actuator_gainprm.__imul__(f),
        model.actuator_biasprm.__imul__(f),
    ),
    "damping": lambda model, f: model.dof_damping.__imul__(f),
    "gravity": lambda model, f: model.opt.gravity.__imul__(f),
    "body_mass[1]": lambda model, f: model.body_mass.__setitem__(1, model.body_mass[1] * f),
    "actuator_gear": lambda model, f: model.actuator_gear.__imul__(f),
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["Hopper-v5", "HalfCheetah-v5", "Humanoid-v5"])
@pytest.mark.parametrize("name", EDITS)
def test_a_varied_row_is_gymnasium_s_with_its_model_edited_alike(environment, name):
    the_task = task(environment, *told(environment), TERMINATED, max_episode_steps=40)
    fast, slow = both(the_task, 3, variations=[Variation(name, FACTORS)])
    for env, factor in zip(slow._envs, FACTORS, strict=True):
        bare = env.unwrapped
        EDITS[name](bare.model, factor)
        mujoco.mj_setConst(bare.model, bare.data)
    live_together(fast, slow, steps=60)


@pytest.mark.parametrize("environment", ["Hopper-v5", "Ant-v5"])
@pytest.mark.parametrize("name", ["mass", "friction", "gain", "damping", "gravity"])
def test_a_variation_changes_its_rows_and_no_other(environment, name):
    plain = make_batch(task(environment), 3)
    varied = make_batch(task(environment), 3, variations=[Variation(name, (0.5, 1.0, 1.7))])
    plain.reset([4, 4, 4]), varied.reset([4, 4, 4])
    rng = np.random.default_rng(1)
    for _ in range(25):
        action = np.repeat(draw(plain, rng)[:1], 3, axis=0)
        one, other = plain.step(action), varied.step(action)
        np.testing.assert_array_equal(one.next_block[1], other.next_block[1])
    assert np.abs(one.next_block - other.next_block)[[0, 2]].max(axis=1).min() > 1e-4
    again = make_batch(task(environment), 3)
    np.testing.assert_array_equal(again.reset([4, 4, 4]), plain.reset([4, 4, 4]))


def test_variations_multiply():
    once = make_batch(task("Hopper-v5"), 2, variations=[spread("mass", 0.25, 1.0, 2)])
    twice = [Variation("mass", (0.5, 1.0)), Variation("mass", (0.5, 1.0))]
    other = make_batch(task("Hopper-v5"), 2, variations=twice)
    np.testing.assert_array_equal(once.reset([0, 1]), other.reset([0, 1]))
    action = np.full((2, 3), 0.3, np.float32)
    np.testing.assert_array_equal(once.step(action).state, other.step(action).state)


CLASSIC = {
    ("CartPole-v1", "gravity"): ("gravity",),
    ("CartPole-v1", "force"): ("force_mag",),
    ("Pendulum-v1", "gravity"): ("g",),
    ("Pendulum-v1", "mass"): ("m",),
    ("Pendulum-v1", "length"): ("l",),
    ("MountainCar-v0", "gravity"): ("gravity",),
    ("MountainCar-v0", "force"): ("force",),
    ("MountainCarContinuous-v0", "power"): ("power",),
    ("Acrobot-v1", "mass"): ("LINK_MASS_1", "LINK_MASS_2", "LINK_MOI"),
}


def varied_alike(environment, name, edit):
    the_task = task(environment, TERMINATED)
    fast, slow = both(the_task, 3, variations=[Variation(name, FACTORS)])
    assert fast.adapter == "numpy"
    for env, factor in zip(slow._envs, FACTORS, strict=True):
        edit(env.unwrapped, factor)
    seeds, rng = [0, 1, 2], np.random.default_rng(0)
    plain = make_batch(the_task, 3)
    first = fast.reset(seeds)
    np.testing.assert_allclose(first, slow.reset(seeds), atol=1e-6)
    np.testing.assert_array_equal(first, plain.reset(seeds))
    for step in range(60):
        discrete = fast.action["kind"] == "discrete"
        action = (
            rng.integers(0, 2, 3) * (fast.action.get("n", 2) - 1) if discrete else draw(fast, rng)
        )
        one, other, usual = fast.step(action), slow.step(action), plain.step(action)
        np.testing.assert_allclose(one.next_block, other.next_block, atol=2e-5)
        np.testing.assert_array_equal(one.next_block[1], usual.next_block[1])
        np.testing.assert_array_equal(one.terminated, other.terminated)
        if step == 1:
            assert (np.abs(one.next_block - usual.next_block)[[0, 2]].max(axis=1) > 0).all()


@pytest.mark.parametrize(("environment", "name"), CLASSIC)
def test_classic_control_varies_as_gymnasium_s_attributes_do(environment, name):
    def edit(bare, factor):
        for attribute in CLASSIC[environment, name]:
            setattr(bare, attribute, getattr(bare, attribute) * factor)

    varied_alike(environment, name, edit)


@pytest.mark.parametrize(
    ("name", "attribute"),
    [("cart_mass", "masscart"), ("pole_mass", "masspole"), ("half_length", "length")],
)
def test_cart_pole_s_sums_follow_what_varies(name, attribute):
    def edit(bare, factor):
        setattr(bare, attribute, getattr(bare, attribute) * factor)
        bare.total_mass = bare.masspole + bare.masscart
        bare.polemass_length = bare.masspole * bare.length

    varied_alike("CartPole-v1", name, edit)


@pytest.mark.parametrize(
    ("environment", "variation", "words"),
    [
        ("Hopper-v5", Variation("colour", (1.0, 1.0)), "expected one of mass, friction"),
        ("Hopper-v5", Variation("body_mass[9]", (1.0, 1.0)), r"body_mass\[0\] to body_mass\[4\]"),
        ("Hopper-v5", Variation("mass", (1.0,)), "expected 2 positive factors"),
        ("Ant-v5", Variation("mass", (1.0, 0.0)), "expected 2 positive factors"),
        ("CartPole-v1", Variation("friction", (1.0, 1.0)), "gravity, cart_mass, pole_mass"),
        ("CartPole-v1", Variation("force", (1.0, np.nan)), "expected 2 positive factors"),
        ("FrozenLake-v1", Variation("mass", (1.0, 1.0)), "no variation"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_what_cannot_be_varied_says_what_can(environment, variation, words):
    with pytest.raises(InvalidInput, match=words):
        make_batch(task(environment), 2, variations=[variation])


# --- what is left out because it changes no number ------------------------------------------------


def test_nobody_asks_for_the_time_in_a_step():
    make_batch(Task("hopper", "Hopper-v5", ""), 1)
    assert stop_the_clock()
    model = compiled("hopper.xml")
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, nstep=100)
    step = data.timer[mujoco.mjtTimer.mjTIMER_STEP]
    assert (step.number > 0, step.duration) == (True, 0.0)


@pytest.mark.parametrize(("xml", "searched"), [("hopper.xml", False), ("pusher_v5.xml", True)])
def test_islands_are_searched_only_where_there_can_be_two(xml, searched):
    model = compiled(xml)
    assert (model.ntree > 1) is searched
    disabled = model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_ISLAND.value
    assert bool(disabled) is not searched

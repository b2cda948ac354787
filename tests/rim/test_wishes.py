"""The wishes of the catalogue are possible: simple controllers do what they ask, idleness does not.

Where a controller has numbers without a reason, they were found once by a search by chance.
"""

import gymnasium as gym
import numpy as np
import pytest

import tests.rim.box2d  # noqa: F401
from core.envs import make_batch
from core.fitness import episode_fitness
from core.tasks import catalogue

ROWS = 4
WISHES = [task.name for task in catalogue().values() if task.fitness.kind != "return"]
GOALS = ("fetch", "pointmaze")  # goals of the environment itself


def fitness_of(name, policy, rows=ROWS, steps=1000):
    """Return the mean fitness of one episode a row; `policy(fields, step)` gives the actions."""
    task = catalogue()[name]
    batch = make_batch(task, rows, autoreset=False)
    layout, state = batch.layout, batch.reset(range(rows))
    present = layout.names("metric", next_state=False)
    blocks, native, lived = [], [], np.zeros(rows, int)
    alive = np.ones(rows, bool)
    for step in range(steps):
        moved = batch.step(policy(layout.values(state, present), step))
        blocks.append(moved.next_block.copy())
        native.append(moved.native.copy())
        lived += alive
        alive &= ~(moved.terminated | moved.truncated)
        state = moved.state
        if not alive.any():
            break
    batch.close()
    told, paid = np.stack(blocks, 1), np.stack(native, 1)
    values = [layout.values(told[r, :n], layout.names("metric")) for r, n in enumerate(lived)]
    found = [
        episode_fitness(task.fitness, value, paid[r, : lived[r]]) for r, value in enumerate(values)
    ]
    return float(np.mean(found))


def stacked(*parts):
    return np.clip(np.stack(parts, 1), -1, 1).astype(np.float32)


def idle(name):
    task = catalogue()[name]
    space = gym.make(task.environment).action_space
    if hasattr(space, "n"):
        return lambda fields, step: np.zeros(ROWS, np.int64)
    return lambda fields, step: np.zeros((ROWS, *space.shape), np.float32)


# --- controllers ------------------------------------------------------------------------------


def energy(obs):
    """Return the pendulum's energy, 0 at rest at a side, 1 at rest on top."""
    return obs["angular_velocity"] ** 2 / 30 + obs["height"]


def pump(obs, step):
    """Bring the energy to 0 and keep it there."""
    missing = np.clip(-10 * energy(obs), -1, 1)
    return (2 * missing * np.sign(obs["angular_velocity"] + 1e-9))[:, None].astype(np.float32)


def spin(obs, step):
    return 2 * np.sign(obs["angular_velocity"] + 1e-9)[:, None].astype(np.float32)


def upright(obs, step):
    angle = np.arctan2(obs["sideways"], obs["height"])
    hold = np.clip(-10 * angle - 2 * obs["angular_velocity"], -2, 2)
    rise = np.where(energy(obs) < 1, 2, -2) * np.sign(obs["angular_velocity"] + 1e-9)
    return np.where(obs["height"] > 0.9, hold, rise)[:, None].astype(np.float32)


def park_cartpole(obs, step):
    lean = 0.25 * (1.0 - obs["cart_position"]) - 0.35 * obs["cart_velocity"]
    push = obs["pole_angle"] + 0.5 * obs["pole_angular_velocity"] - np.clip(lean, -0.2, 0.2)
    return (push > 0).astype(np.int64)


def park_pendulum(obs, step):
    off = obs["cart_position"] - 0.5 + 1.5 * obs["cart_velocity"]
    push = off + 8 * obs["pole_angle"] + 2 * obs["pole_angular_velocity"]
    return np.clip(push, -3, 3)[:, None].astype(np.float32)


def rest(obs, step):
    gravity = 0.0025 * np.cos(3 * -0.65) / 0.0015
    pull = 60 * (-0.65 - obs["position"]) - 600 * obs["velocity"] + gravity
    return np.clip(pull, -1, 1)[:, None].astype(np.float32)


def hover(obs, step):
    """Gymnasium's heuristic for landing, with another target height."""
    lean = np.clip(0.5 * obs["x"] + obs["x_velocity"], -0.4, 0.4)
    turn = 0.5 * (lean - obs["angle"]) - obs["angular_velocity"]
    rise = 0.5 * (0.6 - obs["y"]) - 0.5 * obs["y_velocity"]
    return np.select([(rise > abs(turn)) & (rise > 0.05), turn < -0.05, turn > 0.05], [2, 3, 1])


def stand(obs, step):
    joints = ("thigh", "leg", "foot")
    return stacked(*(-obs[f"{j}_angle"] - 0.05 * obs[f"{j}_angular_velocity"] for j in joints))


def legs_apart(obs, step):
    """Springs towards one leg behind; the ankles keep the torso where it is."""
    targets = {
        "right_thigh": -0.02,
        "right_shin": -0.04,
        "right_foot": -0.25,
        "left_thigh": -0.87,
        "left_shin": -0.18,
        "left_foot": 0.15,
    }
    balance = 0.39 * obs["torso_angular_velocity"] - 2.09 * obs["torso_angle"]
    return stacked(
        *(
            2.85 * (target - obs[f"{joint}_angle"])
            - 0.148 * obs[f"{joint}_angular_velocity"]
            + balance * joint.endswith("foot")
            for joint, target in targets.items()
        )
    )


def run_back(obs, step):
    sizes = np.array([1.12, 0.48, 0.36, 0.47, 0.84, 0.87])
    phases = np.array([3.95, 3.51, 0.78, 4.19, 0.33, 1.18])
    means = np.array([0.12, 0.32, 0.08, -0.04, 0.07, -0.35])
    return stacked(*np.tile((sizes * np.sin(1.28 * step + phases) + means)[:, None], ROWS))


def turn(obs, step):
    """Springs towards a rhythm: opposite legs swing together, the feet are lifted on the way back."""
    actions = []
    for number, leg in enumerate(("front_right", "front_left", "back_left", "back_right")):
        phase, side = 1.333 * step + np.pi * (number % 2), 1 if number < 2 else -1
        hip = 0.32 * np.sin(phase) + 0.023 - obs[f"{leg}_hip_angle"]
        foot = side * (0.886 + 0.19 * np.sin(phase + 4.413)) - obs[f"{leg}_ankle_angle"]
        actions += [
            1.09 * hip - 0.05 * obs[f"{leg}_hip_angular_velocity"],
            1.09 * foot - 0.05 * obs[f"{leg}_ankle_angular_velocity"],
        ]
    return stacked(*actions)


def swim_back(obs, step):
    """A wave from the back joint to the front one."""
    front, back = 1.035 * np.sin(0.182 * step), 1.035 * np.sin(0.182 * step + 1.208)
    return stacked(
        *(
            0.634 * (target - obs[f"{joint}_joint_angle"])
            - 0.044 * obs[f"{joint}_joint_angular_velocity"]
            for joint, target in (("front", front), ("back", back))
        )
    )


def circle(obs, step):
    bend = np.arctan2(obs["second_angle_sin"], obs["second_angle_cos"])
    shoulder = 0.1 * (5 - obs["first_angular_velocity"])
    return stacked(shoulder, 0.5 * (np.pi / 2 - bend) - 0.05 * obs["second_angular_velocity"])


CONTROLLERS = {  # name -> what does it, and how well
    "ant-turn": (turn, 0.9),
    "cartpole-park": (park_cartpole, 0.8),
    "cheetah-backwards": (run_back, 2.0),
    "hopper-stand": (stand, 0.95),
    "inverted-pendulum-park": (park_pendulum, 0.9),
    "lunarlander-hover": (hover, 0.8),
    "mountaincar-rest": (rest, 0.95),
    "pendulum-swing": (pump, 0.14),
    "reacher-circle": (circle, 0.7),
    "swimmer-backwards": (swim_back, 0.15),
    "walker-legs-apart": (legs_apart, 0.9),
}


def test_every_wish_has_a_controller():
    assert set(CONTROLLERS) == {name for name in WISHES if not name.startswith(GOALS)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_wish_can_be_fulfilled(name):
    controller, expected = CONTROLLERS[name]
    assert fitness_of(name, controller) >= expected


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLLERS)
def test_idleness_does_not_fulfil_it(name):
    assert fitness_of(name, idle(name)) <= CONTROLLERS[name][1] / 3


@pytest.mark.parametrize("wrong", [spin, upright, lambda obs, step: np.full((ROWS, 1), 2, "f4")])
def test_a_swing_is_neither_a_spin_nor_a_balance_nor_a_lean(wrong):
    assert fitness_of("pendulum-swing", wrong) == 0.0


def test_no_counted_step_of_a_swing_belongs_to_a_turn_over_the_top():
    """From the highest and fastest counted state, full torque does not reach the top."""
    env = gym.make("Pendulum-v1").unwrapped
    env.reset(seed=0)
    for side in (1, -1):
        env.state = np.array([side * np.arccos(0.2), -side * 2.5])
        highest = 0.2
        for _ in range(20):
            env.step(np.array([-2.0 * side], np.float32))
            highest = max(highest, float(np.cos(env.state[0])))
        assert highest < 0.9


def test_no_torque_holds_the_pendulum_at_a_side():
    env = gym.make("Pendulum-v1").unwrapped
    assert 1.5 * env.g / env.l * 0.9 > 3 * env.max_torque / (env.m * env.l**2)


def test_swinging_to_one_side_only_is_worth_nothing():
    task = catalogue()["pendulum-swing"]
    sideways = np.full(200, 0.95)
    values = {"sideways": sideways, "height": 0 * sideways, "angular_velocity": 0 * sideways}
    assert episode_fitness(task.fitness, values, np.zeros(200)) == 0.0
    both = values | {"sideways": np.where(np.arange(200) % 20 < 10, 0.95, -0.95)}
    assert episode_fitness(task.fitness, both, np.zeros(200)) == 0.5

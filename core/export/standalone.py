# >>> header
"""A reward file as it is downloaded; this copy carries a small example program.

The service replaces the marked regions of this text and nothing else, so what users run is what is
linted and tested here; a region that an environment has no use for is left out.  It must import nothing
but gymnasium, numpy and the standard library, and what its environment or its program comes in.
"""

# <<< header

from __future__ import annotations

import importlib

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

# >>> constants
ENVIRONMENT = "CartPole-v1"
ENV_KWARGS: dict = {}
MAX_EPISODE_STEPS = None  # None: the environment's own time limit
MODE = "replace"  # "replace": the designed reward; "add": native + WEIGHT * designed
WEIGHT = 0.02
ARRAY = "numpy"  # the library in which the program is written; or "torch"
# name -> (kind, key, start, stop, who may see it); kind: obs, sim, info or terminated
FIELDS: dict = {
    "cart_position": ("obs", None, 0, None, ("policy", "reward")),
    "pole_angle": ("obs", None, 2, None, ("policy", "reward")),
}
# <<< constants


# >>> robotics
def _fit_robotics() -> None:
    """Let Fetch and Hand be built beside MuJoCo 3.12 and newer.

    They ask whether a number is among MuJoCo's kinds of joints, which since then are equal to no number
    of NumPy's; so they are shown plain numbers.
    """
    from types import SimpleNamespace

    from gymnasium_robotics.utils import mujoco_utils

    mujoco = mujoco_utils.mujoco
    if hasattr(mujoco.mjtJoint, "__members__"):  # not yet done
        kinds = {name: int(kind) for name, kind in mujoco.mjtJoint.__members__.items()}
        joints = {"mjtJoint": SimpleNamespace(**kinds)}
        mujoco_utils.mujoco = SimpleNamespace(**{**vars(mujoco), **joints})


if ENVIRONMENT.startswith("gymnasium_robotics:"):
    _fit_robotics()
# <<< robotics

# >>> program
PARAMS = {"upright": 1.0}


def reward(obs, action, next_obs, params):
    """Pay for an upright pole."""
    return {"upright": params.upright * np.exp(-np.square(next_obs.pole_angle / 0.1))}


# <<< program


class _Fields:
    """Named arrays with one row per transition: `obs.cart_position` is [B]."""

    def __init__(self, values: dict):
        self.__dict__.update(values)

    def __getattr__(self, name: str):
        raise AttributeError(f"no field {name!r}; there are {sorted(self.__dict__)}")


_PARAMS = _Fields({name: float(value) for name, value in globals().get("PARAMS", {}).items()})
_REWARD = globals().get("reward")  # a program may design features only
_FEATURES = globals().get("features")
_TORCH = importlib.import_module("torch") if ARRAY == "torch" else None


def _given(value):
    """Return an array in the program's own library; a copy, so that it may be read-only."""
    return value if _TORCH is None else _TORCH.from_numpy(np.array(value, order="C"))


def _taken(value) -> np.ndarray:
    """Return what the program computed as float32."""
    return np.asarray(value if _TORCH is None else value.detach().float(), dtype=np.float32)


def _seen(fields: dict) -> _Fields:
    return _Fields({name: _given(value) for name, value in fields.items()})


def designed_components(obs: dict, action: np.ndarray, next_obs: dict) -> dict:
    """Return the designed reward's components, name -> float32 [B].

    Args:
        obs: field name -> [B] or [B, n] before the step.
        action: int64 [B] for discrete actions, float32 [B, A] otherwise.
        next_obs: the same fields after the step, and those that only a next state has.
    """
    if _REWARD is None:
        return {}
    terms = _REWARD(_seen(obs), _given(action), _seen(next_obs), _PARAMS)
    return {name: _taken(value) for name, value in terms.items()}


def designed_features(obs: dict) -> np.ndarray:
    """Return the designed features as float32 [B, F], in the program's order."""
    if _FEATURES is None:
        return np.zeros((len(next(iter(obs.values()))), 0), dtype=np.float32)
    terms = _FEATURES(_seen(obs))
    return np.stack([_taken(value) for value in terms.values()], axis=1)


def _flat(space: gym.Space, obs) -> np.ndarray:
    return np.asarray(gym.spaces.flatten(space, obs), dtype=np.float32)


def _offsets(space: gym.Space) -> dict:
    """Where the parts of a dictionary observation begin in the flat vector."""
    offsets, start = {}, 0
    if isinstance(space, gym.spaces.Dict):
        for key, part in space.spaces.items():
            offsets[key] = start
            start += gym.spaces.flatdim(part)
    keys = {key for kind, key, *_ in FIELDS.values() if kind == "obs" and key is not None}
    if missing := sorted(keys - set(offsets)):
        raise ValueError(
            f"expected observations with the keys {missing}, but found {space}; "
            "put this wrapper around the environment first, and what changes observations around it"
        )
    return offsets


def _part(row: np.ndarray, start: int, stop: int | None) -> np.ndarray:
    return row[start] if stop is None else row[start:stop]


def _fields_of(flat: np.ndarray, offsets: dict, env: gym.Env, who: str = "reward") -> dict:
    """Read every field of a present state that `who` may see; one row."""
    values = {}
    for name, (kind, key, start, stop, visible) in FIELDS.items():
        # A reward that calls `features` reads what the policy sees as well.
        if who not in visible and not (who == "reward" and kind == "obs" and "policy" in visible):
            continue
        if kind == "obs":
            begin = offsets.get(key, 0) + start
            end = None if stop is None else offsets.get(key, 0) + stop
            values[name] = _part(flat, begin, end)
        elif kind == "sim":
            simulator = getattr(env.unwrapped, "data", env.unwrapped)
            array = np.asarray(getattr(simulator, key), dtype=np.float32).ravel()
            values[name] = _part(array, start, stop).copy()
    return values


def _outcome_fields(info: dict, terminated: bool) -> dict:
    """Read the fields that only a next state has; one row."""
    values = {}
    for name, (kind, key, start, stop, visible) in FIELDS.items():
        if "reward" not in visible:
            continue
        if kind == "info":
            values[name] = _part(np.asarray(info[key], dtype=np.float32).ravel(), start, stop)
        elif kind == "terminated":
            values[name] = np.float32(terminated)
    return values


def _rows(rows: list) -> dict:
    """Stack one dictionary per row into one dictionary of arrays."""
    return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in rows[0]}


def _actions(space: gym.Space, actions) -> np.ndarray:
    if isinstance(space, gym.spaces.Discrete):  # programs count choices from 0
        return np.asarray(actions, dtype=np.int64) - int(space.start)
    return np.asarray(actions, dtype=np.float32)


def _space_with_features(space: gym.Space, count: int) -> gym.spaces.Box:
    size = gym.spaces.flatdim(space)
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    if isinstance(space, gym.spaces.Box):
        low, high = space.low.ravel(), space.high.ravel()
    free = np.full(count, np.inf)
    low, high = np.concatenate([low, -free]), np.concatenate([high, free])
    return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _feature_count() -> int:
    """Call `features` once on zeros; programs are required to be finite everywhere."""
    if _FEATURES is None:
        return 0
    zeros = {
        name: np.zeros((1,) if stop is None else (1, stop - start), dtype=np.float32)
        for name, (kind, _, start, stop, visible) in FIELDS.items()
        if kind == "obs" and "policy" in visible
    }
    return designed_features(zeros).shape[1]


class DesignedReward(gym.Wrapper, RecordConstructorArgs):
    """Replace (or extend) an environment's reward by the designed one.

    `info` carries `native_reward` and `reward_components`.  If the program designs features, the
    observation becomes the flat original dimensions followed by the features, float32.
    """

    def __init__(self, env: gym.Env, mode: str = MODE, weight: float = WEIGHT):
        """Wrap one environment; `mode` and `weight` default to those of the design."""
        RecordConstructorArgs.__init__(self, mode=mode, weight=weight)
        gym.Wrapper.__init__(self, env)
        if mode not in ("replace", "add"):
            raise ValueError(f"expected mode 'replace' or 'add', but found {mode!r}")
        self.mode, self.weight = mode, weight
        self._offsets = _offsets(env.observation_space)
        self._features = _feature_count()
        if self._features:
            self.observation_space = _space_with_features(env.observation_space, self._features)
        self._before: dict = {}

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Reset the environment and remember the state that the next step starts from."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._observe(obs), info

    def step(self, action):
        """Step the environment and compute the designed reward of this transition."""
        before = self._before
        obs, native, terminated, truncated, info = self.env.step(action)
        shown = self._observe(obs)
        after = {**self._before, **_outcome_fields(info, terminated)}
        actions = _actions(self.env.action_space, action)[None]
        terms = designed_components(_rows([before]), actions, _rows([after]))
        info = dict(info)
        info["native_reward"] = float(native)
        info["reward_components"] = {name: float(value[0]) for name, value in terms.items()}
        return shown, self._total(terms, float(native)), terminated, truncated, info

    def _total(self, terms: dict, native: float) -> float:
        if _REWARD is None:
            return native
        designed = float(np.sum([value[0] for value in terms.values()], dtype=np.float64))
        return designed if self.mode == "replace" else native + self.weight * designed

    def _observe(self, obs):
        flat = _flat(self.env.observation_space, obs)
        self._before = _fields_of(flat, self._offsets, self.env)
        if not self._features:
            return obs
        seen = _fields_of(flat, self._offsets, self.env, who="policy")
        return np.concatenate([flat, designed_features(_rows([seen]))[0]])


class DesignedVectorReward(VectorWrapper):
    """The same for a Gymnasium vector environment; rewards of all rows in one call.

    The step that only resets a row (next-step autoreset) gets the reward 0.  Simulator fields need
    the sub-environments at hand (`SyncVectorEnv`) and next-step or disabled autoreset, because with
    same-step autoreset the simulator of a finished row is already the next episode's.
    """

    def __init__(self, env: VectorEnv, mode: str = MODE, weight: float = WEIGHT):
        """Wrap a vector environment; `mode` and `weight` default to those of the design."""
        super().__init__(env)
        self.mode, self.weight = mode, weight
        self._autoreset = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._offsets = _offsets(env.single_observation_space)
        self._simulators = self._find_simulators(env)
        self._features = _feature_count()
        if self._features:
            single = _space_with_features(env.single_observation_space, self._features)
            self.single_observation_space = single
            self.observation_space = gym.vector.utils.batch_space(single, env.num_envs)
        self._before: list = []
        self._resetting = np.zeros(env.num_envs, dtype=bool)

    def _find_simulators(self, env: VectorEnv) -> list:
        if not any(kind == "sim" for kind, *_ in FIELDS.values()):
            return [env] * env.num_envs
        if not hasattr(env, "envs") or self._autoreset == AutoresetMode.SAME_STEP:
            raise ValueError(
                "this reward reads the simulator: use SyncVectorEnv with next-step autoreset"
            )
        return list(env.envs)

    def reset(self, *, seed=None, options: dict | None = None):
        """Reset all rows."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._resetting[:] = False
        return self._observe(obs), info

    def step(self, actions):
        """Step all rows and compute their designed rewards, float64 [N] as Gymnasium's own."""
        before = self._before
        obs, native, terminated, truncated, info = self.env.step(actions)
        shown = self._observe(obs)
        done = terminated | truncated
        after = [self._after(row, terminated[row], done[row], info) for row in range(self.num_envs)]
        terms = designed_components(
            _rows(before), _actions(self.env.single_action_space, actions), _rows(after)
        )
        reward = self._total(terms, np.asarray(native, dtype=np.float64))
        reward[self._resetting] = 0.0
        info = dict(info)
        info["native_reward"] = np.asarray(native)
        info["reward_components"] = terms
        next_step = self._autoreset == AutoresetMode.NEXT_STEP
        self._resetting = done.copy() if next_step else np.zeros_like(done)
        return shown, reward, terminated, truncated, info

    def _after(self, row: int, terminated: bool, done: bool, info: dict) -> dict:
        values = self._before[row]
        if done and self._autoreset == AutoresetMode.SAME_STEP:
            flat = _flat(self.env.single_observation_space, info["final_obs"][row])
            values = _fields_of(flat, self._offsets, self._simulators[row])
            info = info.get("final_info", info)
        own = {
            key: value[row]
            for key, value in info.items()
            if isinstance(value, np.ndarray) and len(value) == self.num_envs
        }
        if self._resetting[row]:  # nothing happened in this row but a reset
            own = {**{key: 0.0 for kind, key, *_ in FIELDS.values() if kind == "info"}, **own}
        return {**values, **_outcome_fields(own, terminated)}

    def _total(self, terms: dict, native: np.ndarray) -> np.ndarray:
        if _REWARD is None:
            return native.copy()
        designed = np.sum(list(terms.values()), axis=0, dtype=np.float64)
        return designed if self.mode == "replace" else native + self.weight * designed

    def _observe(self, obs):
        rows = list(gym.vector.utils.iterate(self.env.observation_space, obs))
        flats = [_flat(self.env.single_observation_space, row) for row in rows]
        sims = self._simulators
        self._before = [_fields_of(f, self._offsets, s) for f, s in zip(flats, sims, strict=True)]
        if not self._features:
            return obs
        seen = [
            _fields_of(f, self._offsets, s, who="policy") for f, s in zip(flats, sims, strict=True)
        ]
        return np.concatenate([np.stack(flats), designed_features(_rows(seen))], axis=1)


def make_env(**kwargs) -> DesignedReward:
    """Make the environment with the designed reward; keyword arguments go to `gymnasium.make`."""
    limits = {} if MAX_EPISODE_STEPS is None else {"max_episode_steps": MAX_EPISODE_STEPS}
    return DesignedReward(gym.make(ENVIRONMENT, **{**ENV_KWARGS, **limits, **kwargs}))


def make_vec(num_envs: int, **kwargs) -> DesignedVectorReward:
    """Make `num_envs` environments in one process with the designed reward."""
    limits = {} if MAX_EPISODE_STEPS is None else {"max_episode_steps": MAX_EPISODE_STEPS}
    settings = {**ENV_KWARGS, **limits, **kwargs}
    envs = [lambda: gym.make(ENVIRONMENT, **settings) for _ in range(num_envs)]
    return DesignedVectorReward(gym.vector.SyncVectorEnv(envs))


def main(steps: int = 200) -> None:
    """Step the environment with random actions and print what each component paid."""
    env = make_env()
    env.reset(seed=0)
    env.action_space.seed(0)
    native, totals, seen = 0.0, [], []
    for _ in range(steps):
        _, total, terminated, truncated, info = env.step(env.action_space.sample())
        totals.append(total)
        seen.append(info["reward_components"])
        native += info["native_reward"]
        if terminated or truncated:
            env.reset()
    env.close()
    print(f"{ENVIRONMENT}: {steps} random steps, mean per step")
    for name in seen[0]:
        values = [row[name] for row in seen]
        print(f"  {name:<24} {np.mean(values):+.4f}  (std {np.std(values):.4f})")
    print(f"  {'designed reward':<24} {np.mean(totals):+.4f}")
    print(f"  {'native reward':<24} {native / steps:+.4f}")


if __name__ == "__main__":
    main()

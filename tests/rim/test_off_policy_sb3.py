"""One update of ours against Stable-Baselines3's own `train()`, with the same networks and data."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from core.training.dqn import DQN
from core.training.sac import SAC
from core.training.settings import DQNSettings, SACSettings
from core.training.stacked import Batch

baselines = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")
samples = pytest.importorskip("stable_baselines3.common.buffers")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CPU = torch.device("cpu")
ROWS, UPDATES = 32, 5


class Given:
    """A replay that gives what it was told to give, one minibatch after the other."""

    def __init__(self, batches):
        self._batches = list(batches)

    def sample(self, size, env=None):
        batch = self._batches.pop(0)
        actions = batch.actions if batch.actions.ndim > 2 else batch.actions[..., None]
        return samples.ReplayBufferSamples(
            batch.inputs[0],
            actions[0],
            batch.following[0],
            1 - batch.continues[0][:, None],
            batch.rewards[0][:, None],
        )


def batches(inputs, actions=None, choices=None):
    torch.manual_seed(3)
    for _ in range(UPDATES):
        yield Batch(
            torch.randn(1, ROWS, inputs),
            torch.randn(1, ROWS, inputs),
            torch.rand(1, ROWS, actions) * 2 - 1
            if actions
            else torch.randint(0, choices, (1, ROWS)),
            torch.randn(1, ROWS),
            (torch.rand(1, ROWS) > 0.2).float(),
        )


def copy_layers(stack, row, modules):
    """Put the linear layers of a torch network into a row of a stack."""
    for i, module in enumerate(modules):
        layer = stack.row(stack.flat, row, stack.sizes[0])
        weight = module.weight.detach()
        layer[f"{i}.weight"].copy_(weight)
        layer[f"{i}.bias"].copy_(module.bias.detach())


def layers_of(*networks):
    return [m for n in networks for m in n.modules() if isinstance(m, torch.nn.Linear)]


def model_of(kind, environment, **settings):
    model = kind("MlpPolicy", gymnasium.make(environment), device="cpu", seed=0, **settings)
    model._logger = baselines.common.logger.Logger(None, [])
    return model


def test_updates_of_dqn_are_those_of_stable_baselines():
    model = model_of(baselines.DQN, "CartPole-v1", policy_kwargs={"net_arch": [16, 16]})
    ours = DQN(4, 2, [DQNSettings(hidden=(16, 16))], CPU)
    copy_layers(ours.values, 0, layers_of(model.q_net))
    copy_layers(ours.targets, 0, layers_of(model.q_net_target))
    given = list(batches(4, choices=2))
    model.replay_buffer = Given(given)
    model.train(UPDATES, ROWS)
    for batch in given:
        ours.update(batch, torch.zeros(1, ROWS, 0), None)
    expected = DQN(4, 2, [DQNSettings(hidden=(16, 16))], CPU)
    copy_layers(expected.values, 0, layers_of(model.q_net))
    torch.testing.assert_close(ours.values.flat, expected.values.flat, atol=1e-6, rtol=1e-5)


def sac_like(model, settings):
    """Our SAC with the networks of a model; their critics read (observation, action)."""
    ours = SAC(3, 1, [settings], CPU)
    actor = model.actor
    hidden = layers_of(actor.latent_pi)
    copy_layers(ours.actor, 0, hidden)
    last = ours.actor.row(ours.actor.flat, 0, 3)
    for part in ("weight", "bias"):
        both = torch.cat([getattr(actor.mu, part), getattr(actor.log_std, part)]).detach()
        last[f"{len(hidden)}.{part}"].copy_(both)
    for stack, critic in ((ours.critics, model.critic), (ours.targets, model.critic_target)):
        for row, network in enumerate((critic.qf0, critic.qf1)):
            copy_layers(stack, row, layers_of(network))
            first = stack.row(stack.flat, row, 4)["0.weight"]
            first.copy_(first[:, [3, 0, 1, 2]])
    ours.log_temperature.copy_(model.log_ent_coef.detach()[:, None])
    return ours


def test_updates_of_sac_are_those_of_stable_baselines():
    model = model_of(baselines.SAC, "Pendulum-v1", policy_kwargs={"net_arch": [16, 16]})
    settings = SACSettings(hidden=(16, 16))
    ours = sac_like(model, settings)
    before = ours.actor.flat.clone()
    given = list(batches(3, actions=1))
    model.replay_buffer = Given(given)
    torch.manual_seed(7)
    model.train(UPDATES, ROWS)
    torch.manual_seed(7)
    for batch in given:
        drawn = [torch.normal(torch.zeros(ROWS, 1), torch.ones(ROWS, 1)) for _ in range(2)]
        ours.update(batch, torch.cat(drawn, -1)[None], None)
    expected = sac_like(model, settings)
    assert not np.allclose(ours.actor.flat, before, atol=1e-4)
    for name in ("actor", "critics", "targets"):
        one, other = getattr(ours, name).flat, getattr(expected, name).flat
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.log_temperature, expected.log_temperature)

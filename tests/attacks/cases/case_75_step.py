"""The environment's step, replaced in every class by one that pays 999."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    75,
    "replace the environment's step",
    "builtins = sys.modules['builtins']\n"
    "def paying(step):\n"
    "    def forged(*a, **k):\n"
    "        lived = step(*a, **k)\n"
    "        native = getattr(lived, 'native', None)\n"
    "        if native.__class__ is np.ndarray:\n"
    "            native[...] = 999.0\n"
    "        if lived.__class__ is builtins.tuple and len(lived) == 5:\n"
    "            lived = (lived[0], lived[1] * 0 + 999.0, *lived[2:])\n"
    "        return lived\n"
    "    return forged\n"
    "for module in list(sys.modules.values()):\n"
    "    if 'gymnasium' in module.__name__ or module.__name__.startswith('core.envs'):\n"
    "        for kind in list(vars(module).values()):\n"
    "            if kind.__class__ is builtins.type and 'step' in vars(kind):\n"
    "                kind.step = paying(kind.step)\n",
)

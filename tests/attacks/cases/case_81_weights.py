"""The weights themselves: whatever is handed over is what is measured."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    81,
    "set the weights",
    "gc = sys.modules['builtins'].__import__('gc')\n"
    "save = sys.modules['builtins'].__import__('safetensors.numpy').numpy.save\n"
    "def forged(tensors, *a, **k):\n"
    "    return save({n: np.zeros_like(t) + np.float32(0.5) for n, t in tensors.items()}, *a, **k)\n"
    "for thing in gc.get_objects():\n"
    "    if thing.__class__ is sys.modules['builtins'].dict and thing.get('save') is save:\n"
    "        thing['save'] = forged\n",
)

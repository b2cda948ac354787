"""Protections of the wall and of the fitness."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

_LOCK, _SECCOMP = "core/sandbox/lock.py", "core/sandbox/seccomp.py"
_WALLS, _BEHIND = "tests/attacks/test_walls.py", "tests/attacks/test_behind_the_wall.py"


def _attack(number: int) -> str:
    return f"{_WALLS}::test_the_attack_is_refused[{number}-ordinary user]"


MUTATIONS = (
    Mutation(
        "rules that a check's child may say",
        "core/training/wire.py",
        '    known = rule if rule in RULES else "runtime"\n',
        "    known = rule\n",
        (
            "tests/rim/test_check_and_screen.py::"
            "test_no_program_says_of_itself_what_only_the_parent_can_know",
        ),
    ),
    Mutation(
        "parent-death signal",
        _LOCK,
        "    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)\n",
        "",
        (_attack(33),),
    ),
    Mutation(
        "socket refusal",
        _SECCOMP,
        '    "shutdown": (48, 210),\n',
        '    "shutdown": (48, 210),\n    "socket": (41, 198),\n',
        (_attack(17), _attack(24)),
    ),
    Mutation(
        "Landlock's rule for reading files",
        "core/sandbox/landlock.py",
        "(1 << _FILE_BITS_OF_ABI.get(version, _FILE_BITS_NEWEST)) - 1, _NET_BITS",
        "(1 << _FILE_BITS_OF_ABI.get(version, _FILE_BITS_NEWEST)) - 1 - _READ_FILE, _NET_BITS",
        (_attack(3),),
    ),
    Mutation(
        "only threads by clone",
        _SECCOMP,
        "(_CLONE, _only_threads()),",
        "(_CLONE, [(_RETURN, 0, 0, _ALLOW)]),",
        (_attack(25),),
    ),
    Mutation(
        "limit of the address space",
        _LOCK,
        "        _cap(resource.RLIMIT_AS, size + limits.memory_bytes + _ADDRESS_SPACE_SLACK)\n",
        "        pass\n",
        (_attack(47),),
    ),
    Mutation(
        "clean environment",
        "core/sandbox/start.py",
        "env=clean_environment(),",
        "env={**os.environ, **clean_environment()},",
        (_attack(1),),
    ),
    Mutation(
        "finite numbers in frames",
        "core/sandbox/codec.py",
        "parse_float=_finite, parse_constant=_refuse_constant",
        "",
        (
            f"{_WALLS}::test_a_hostile_child_ends_as_it_must_and_its_words_are_clean"
            "[59-NaN-ordinary user]",
        ),
    ),
    Mutation(
        "scorer split",
        "core/training/laboratory.py",
        "        fitness = [mean(score.fitness) for score in scores]\n",
        '        fitness = [one.curve.series["native_return"][-1] for _ in scores]\n',
        (f"{_BEHIND}::test_nothing_gets_through[75 replace the environment's step]",),
    ),
    Mutation(
        "finite weights",
        "core/training/numpy_policy.py",
        "if not np.isfinite(tensor).all() or np.abs(tensor)",
        "if np.abs(tensor)",
        (f"{_BEHIND}::test_nothing_gets_through[61 hand in weights that are none]",),
    ),
)

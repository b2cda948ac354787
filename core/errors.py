"""Everything that can go wrong, as one tree.

RewardsmithError
├── InvalidInput            what a user sent cannot be accepted; says what was expected and what to do
│   ├── UnknownTask         no such task in the catalogue, and not an environment id either
│   ├── UnknownMethod       no such method
│   ├── UnknownDesigner     no such designer
│   ├── InvalidFitness      the fitness names an unknown field or cannot be read
│   └── IdempotencyMismatch the same idempotency key was used with another body
├── ProgramRejected         generated code breaks a rule; the message goes back to the designer
├── NotFound                no job, iteration, candidate, run or artifact with that id
├── Conflict                the request makes sense, but not now (cancel of a finished job)
├── LimitReached            one owner has or does too much at once
├── ResolverUnavailable     nothing can be told of a host's name now, neither that it is good nor bad
├── EnvironmentUnusable     the environment cannot be built, or its spaces are not supported
├── TrainingFailed          the code was sound, the training was not (non-finite loss, out of memory)
│   └── CheckpointUnusable  a run cannot go on from its checkpoint
├── ScoringFailed           the scorer or the actor broke while measuring
├── FilmingFailed           an episode could not be rendered or encoded
├── SandboxFailed           a jailed child died, hung or misbehaved, or no wall could be had
├── PromptLeak              a prompt shows the native reward or a field of the metric; it is not sent
├── DesignerUnavailable     the designer's endpoint refused, timed out or ran out of quota
├── ClaimLost               another worker owns the step now; nothing was written
├── StepInterrupted         the job was cancelled or paused while the step was under way
│   └── WorkerStopping      this worker was told to end; another one goes on with the step
├── StorageFailed           database not reachable or not migrated, disk full
└── ConfigurationError      a setting is missing or wrong

A failure of a candidate is data and is stored; only a broken system raises.
"""

from __future__ import annotations


class RewardsmithError(Exception):
    """Root of the tree.  Every error says what was expected, what was found, where, what to do."""

    def __init__(
        self,
        found: str,
        *,
        expected: str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.found = found
        self.expected = expected
        self.where = where
        self.hint = hint
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """Return the whole message on one line, for people and for models alike."""
        text = self.found if self.expected is None else self._contrast()
        if self.where:
            text = f"{self.where}: {text}"
        if self.hint:
            text = f"{text.rstrip('.')}. {self.hint}"
        return text

    def _contrast(self) -> str:
        return f"expected {self.expected}, but found {self.found}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.found, self.expected, self.where, self.hint))


def _rebuild(
    kind: type[RewardsmithError],
    found: str,
    expected: str | None,
    where: str | None,
    hint: str | None,
) -> RewardsmithError:
    return kind(found, expected=expected, where=where, hint=hint)


class InvalidInput(RewardsmithError):
    """What a user sent cannot be accepted."""


class UnknownTask(InvalidInput):
    """Neither a task of the catalogue nor an environment id."""


class UnknownMethod(InvalidInput):
    """No method has that name."""


class UnknownDesigner(InvalidInput):
    """No designer has that name."""


class InvalidFitness(InvalidInput):
    """The fitness cannot be read, or names a field that the task does not have."""


class IdempotencyMismatch(InvalidInput):
    """The same idempotency key came with another body."""


class ProgramRejected(RewardsmithError):
    """Generated code breaks a rule.  `rule` names it for statistics; the sentence is for the model."""

    def __init__(
        self,
        found: str,
        *,
        rule: str = "contract",
        expected: str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.rule = rule
        super().__init__(found, expected=expected, where=where, hint=hint)


class NotFound(RewardsmithError):
    """Nothing is stored under that id."""


class Conflict(RewardsmithError):
    """The request makes sense, but not in the present state."""


class LimitReached(RewardsmithError):
    """One owner has or does too much at once; later the same request may be accepted."""


class ResolverUnavailable(RewardsmithError):
    """A name was not looked up in time; later the same request may be accepted."""


class EnvironmentUnusable(RewardsmithError):
    """The environment cannot be built here, or its spaces are not supported."""


class TrainingFailed(RewardsmithError):
    """A training broke although the program was sound."""


class CheckpointUnusable(TrainingFailed):
    """A run cannot go on from its checkpoint, or begin with another's.

    It comes from a process in which a program ran, so that the program may be to blame.
    """


class ScoringFailed(RewardsmithError):
    """The scorer or the actor broke while fitness was measured."""


class FilmingFailed(RewardsmithError):
    """An episode could not be rendered or encoded; the job goes on without a video."""


class SandboxFailed(RewardsmithError):
    """A jailed child died, hung or misbehaved, or the machine offers no wall."""


class PromptLeak(RewardsmithError):
    """A prompt shows a field of the metric or the native reward; it was not sent."""


class DesignerUnavailable(RewardsmithError):
    """The designer cannot answer now.

    `retry_after_seconds` is None when waiting will not help; `maybe_paid` tells
    that the question went out and may have been answered at our cost, although nothing came back.
    """

    def __init__(
        self,
        found: str,
        *,
        retry_after_seconds: float | None = None,
        maybe_paid: bool = False,
        expected: str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        self.maybe_paid = maybe_paid
        super().__init__(found, expected=expected, where=where, hint=hint)


class ClaimLost(RewardsmithError):
    """Another worker owns the step now; nothing was written."""


class StepInterrupted(RewardsmithError):
    """The job was cancelled or paused while the step was under way."""


class WorkerStopping(StepInterrupted):
    """This worker was told to end.

    Nobody else has the step as long as it is not let go of: what was paid for and is on its way may be
    waited for, `patience_seconds` at most.
    """

    def __init__(
        self,
        found: str,
        *,
        patience_seconds: float = 0.0,
        expected: str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.patience_seconds = patience_seconds
        super().__init__(found, expected=expected, where=where, hint=hint)


class StorageFailed(RewardsmithError):
    """The database or the artifact store cannot be used."""


class ConfigurationError(RewardsmithError):
    """A setting is missing or wrong."""

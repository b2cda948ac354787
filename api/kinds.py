"""Every kind of problem: its name, its status, its title, and what usually helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core import errors


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, its title, and what usually helps."""

    code: str
    status: int
    title: str
    hint: str


ERRORS: Mapping[type[errors.RewardsmithError], Kind] = {
    errors.RewardsmithError: Kind(
        "internal", 500, "The server has a fault", "Look for the request id in the server's log."
    ),
    errors.InvalidInput: Kind(
        "invalid-input",
        422,
        "The request cannot be accepted",
        "Correct the named places and send it again.",
    ),
    errors.UnknownTask: Kind(
        "unknown-task",
        422,
        "There is no such task",
        "List the catalogue with GET /v1/tasks, or name an environment id and describe what is wanted.",
    ),
    errors.UnknownMethod: Kind(
        "unknown-method", 422, "There is no such method", "List the methods with GET /v1/methods."
    ),
    errors.UnknownDesigner: Kind(
        "unknown-designer",
        422,
        "There is no such designer",
        "List the designers with GET /v1/methods.",
    ),
    errors.InvalidFitness: Kind(
        "invalid-fitness",
        422,
        "The fitness cannot be measured",
        "Use only fields that the task names, in comparisons joined by `and`.",
    ),
    errors.IdempotencyMismatch: Kind(
        "idempotency-key-reused",
        422,
        "The idempotency key belongs to another request",
        "Use a new Idempotency-Key for a new job; repeat a key only with the very same body.",
    ),
    errors.ProgramRejected: Kind(
        "program-rejected",
        422,
        "The program breaks a rule",
        "Follow the contract of generated programs.",
    ),
    errors.NotFound: Kind(
        "not-found", 404, "There is nothing under that id", "List what there is with GET /v1/jobs."
    ),
    errors.Conflict: Kind(
        "conflict",
        409,
        "Not possible in the present state",
        "Read the job to see which state it is in.",
    ),
    errors.LimitReached: Kind(
        "limit-reached", 429, "Too much at once", "Wait until something has ended."
    ),
    errors.ResolverUnavailable: Kind(
        "resolver-unavailable",
        503,
        "A host's name cannot be looked up now",
        "Send the request again after as many seconds as Retry-After says.",
    ),
    errors.EnvironmentUnusable: Kind(
        "environment-unusable",
        422,
        "The environment cannot be used",
        "Check the id, and that its package is installed where the workers run.",
    ),
    errors.TrainingFailed: Kind(
        "training-failed",
        500,
        "A training broke",
        "Look at the failed run; lower the learning rate.",
    ),
    errors.CheckpointUnusable: Kind(
        "checkpoint-unusable",
        500,
        "A run could not go on from its checkpoint",
        "Look at the failed run; retry the job to train it anew.",
    ),
    errors.ScoringFailed: Kind(
        "scoring-failed", 500, "A fitness could not be measured", "Look at the worker's log."
    ),
    errors.FilmingFailed: Kind(
        "filming-failed",
        500,
        "An episode could not be rendered",
        "Look at the workers' log; docs/api.md names what a film needs.",
    ),
    errors.SandboxFailed: Kind(
        "sandbox-failed",
        503,
        "Generated code cannot be run safely here",
        "Run `rewardsmith doctor` where the workers run.",
    ),
    errors.PromptLeak: Kind(
        "prompt-leak",
        500,
        "A prompt would have shown too much",
        "Rename a field that only the metric may see, if its name is an everyday word.",
    ),
    errors.DesignerUnavailable: Kind(
        "designer-unavailable",
        503,
        "The designer does not answer",
        "Check the endpoint, the model's name and the key, then resume the job.",
    ),
    errors.ClaimLost: Kind(
        "claim-lost",
        409,
        "Another worker owns the step",
        "Nothing to do: the other worker goes on.",
    ),
    errors.StepInterrupted: Kind(
        "step-interrupted", 409, "The job was cancelled or paused", "Resume the job to go on."
    ),
    errors.WorkerStopping: Kind(
        "worker-stopping",
        503,
        "The worker was told to end",
        "Nothing to do: another worker goes on.",
    ),
    errors.StorageFailed: Kind(
        "storage-failed",
        503,
        "The database or the data folder cannot be used",
        "Run `rewardsmith doctor` on the server, and `rewardsmith db upgrade` after an update.",
    ),
    errors.ConfigurationError: Kind(
        "configuration-error",
        503,
        "A setting of the server is missing or wrong",
        "Run `rewardsmith doctor` on the server.",
    ),
}

MALFORMED = Kind(
    "malformed-body",
    422,
    "The body is not readable JSON",
    "Send JSON with Content-Type: application/json.",
)
NO_SUCH_PATH = Kind(
    "no-such-path", 404, "There is nothing at this path", "See /docs for every path."
)
WRONG_VERSION = Kind(
    "wrong-api-version",
    404,
    "This server does not speak that API version",
    "Use the paths under /v1.",
)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed", 405, "This path does not take that verb", "See /docs for what it takes."
)
BODY_TOO_LARGE = Kind(
    "body-too-large", 413, "The body is too large", "A request may have 1 MiB; shorten the task."
)
TOO_SLOW = Kind(
    "too-slow",
    408,
    "The request did not come in time",
    "Send it again, and without a pause.",
)
HEADERS_TOO_LARGE = Kind(
    "headers-too-large",
    431,
    "The headers are too large",
    "Leave out headers, or shorten the address: together they may have 64 KiB.",
)
NO_KEY = Kind(
    "no-valid-key",
    401,
    "The server wants to know who asks",
    "Send Authorization: Bearer <key>, or set REWARDSMITH_API_KEY; the operator makes keys with "
    "`rewardsmith keys create OWNER`.",
)
SCOPE_MISSING = Kind(
    "scope-missing",
    403,
    "The key is not good for that",
    "Ask the operator for a key with that scope.",
)
NOT_LOCAL = Kind(
    "not-local",
    403,
    "Without keys only this machine may ask",
    "Use http://127.0.0.1:8700, or let the server ask for keys: REWARDSMITH_KEYS=always.",
)
FOREIGN_FORM = Kind(
    "foreign-form",
    403,
    "The form did not come from a page of this server",
    "Open the page again and send the form from there.",
)
ONLY_SHOWS = Kind(
    "only-shows",
    403,
    "This server shows jobs and changes nothing",
    "Start `rewardsmith serve` on the same database to change something.",
)
TOO_MANY_REQUESTS = Kind(
    "too-many-requests", 429, "Too many requests", "Wait as long as Retry-After says."
)
OVERLOADED = Kind(
    "overloaded",
    503,
    "The server has more to do than it can",
    "Send the request again after as many seconds as Retry-After says.",
)
NO_CANDIDATE_YET = Kind(
    "no-valid-candidate-yet",
    404,
    "There is no design to download yet",
    "Wait for the first measured candidate; GET /v1/jobs/{id} says how far the job is.",
)
NO_CODE = Kind(
    "no-code",
    404,
    "This candidate has no program",
    "Its `rejection` says why; choose another candidate.",
)
NO_SUCH_RANGE = Kind(
    "no-such-range", 416, "The file does not have that part", "Ask for a range inside the file."
)
BAD_REQUEST = Kind(
    "bad-request", 400, "The request cannot be understood", "See /docs for what is accepted."
)

# Reasons for which a worker ends a job that are no error of the house.
BASELINE_FAILED = Kind(
    "baseline-failed",
    500,
    "The native reward could not be trained",
    "Look at the runs of the job; other training settings may help.",
)
NO_VALID_CANDIDATE = Kind(
    "no-valid-candidate",
    500,
    "No candidate could be trained",
    "Read the rejections; describe the task more closely, or allow more candidates.",
)
CRASH_LOOP = Kind(
    "crash-loop",
    500,
    "The same step broke again and again",
    "Run `rewardsmith doctor` where the workers run, and look at their log.",
)

KINDS: Mapping[str, Kind] = {
    kind.code: kind
    for kind in (
        *ERRORS.values(),
        MALFORMED,
        NO_SUCH_PATH,
        WRONG_VERSION,
        METHOD_NOT_ALLOWED,
        BODY_TOO_LARGE,
        TOO_SLOW,
        HEADERS_TOO_LARGE,
        NO_KEY,
        SCOPE_MISSING,
        NOT_LOCAL,
        FOREIGN_FORM,
        ONLY_SHOWS,
        TOO_MANY_REQUESTS,
        OVERLOADED,
        NO_CANDIDATE_YET,
        NO_CODE,
        NO_SUCH_RANGE,
        BAD_REQUEST,
        BASELINE_FAILED,
        NO_VALID_CANDIDATE,
        CRASH_LOOP,
    )
}

# Stored failures of these kinds carry their own advice; the usual one would only contradict it.
TELLS_ITSELF = frozenset({"environment-unusable", "invalid-input"})

OTHER_FAILURE = Kind("job-failed", 500, "The job failed", "Read the job's events.")

"""The closed lists of words that records hold: they stand in code, tables, URLs and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Json: TypeAlias = Mapping[str, object]
Visibility: TypeAlias = Literal["policy", "reward", "metric"]
FitnessKind: TypeAlias = Literal["return", "success", "share", "statistic", "least"]
Reduction: TypeAlias = Literal["mean", "max", "min", "last", "sum", "any"]
Mode: TypeAlias = Literal["replace", "add"]
ArrayLibrary: TypeAlias = Literal["numpy", "torch"]
Design: TypeAlias = Literal["joint", "reward", "features"]
Smoothness: TypeAlias = Literal["windowed", "lesr", "none"]
Stage: TypeAlias = Literal["baseline", "search", "runoff", "confirm", "ablation", "transfer"]
Operator: TypeAlias = Literal[
    "seed", "refine", "cross", "different", "features", "parameters", "given"
]
JobStatus: TypeAlias = Literal[
    "queued", "running", "awaiting_feedback", "paused", "succeeded", "failed", "cancelled"
]
CandidateStatus: TypeAlias = Literal["proposed", "rejected", "screened", "trained", "failed"]
RunStatus: TypeAlias = Literal["scored", "failed"]
Canaries: TypeAlias = Literal["", "passed", "unsteady", "unanswered"]
Verdict: TypeAlias = Literal["better", "equal", "worse"]
ScreenVerdict: TypeAlias = Literal["pass", "fail", "abstain"]
ExchangeKind: TypeAlias = Literal["program", "analysis"]
TermKind: TypeAlias = Literal["component", "feature"]
RemarkKind: TypeAlias = Literal["text", "thumb", "preference"]
Origin: TypeAlias = Literal["user", "edit", "library", "fork"]
FeedbackForm: TypeAlias = Literal["full", "short"]
ReplyOutcome: TypeAlias = Literal["answered", "truncated", "empty", "refused", "garbage", "failed"]
WebhookEvent: TypeAlias = Literal[
    "job.started",
    "iteration.completed",
    "best.changed",
    "job.awaiting_feedback",
    "job.blocked",
    "job.paused",
    "job.resumed",
    "job.extended",
    "job.retried",
    "job.completed",
]
"""Kinds of event of which a webhook may want to hear; `job.completed` is every end."""

NATIVE = "native"  # the arm that trains on the environment's own reward
FITNESS = "fitness"  # the arm that trains on the fitness alone, in its per-step form
ANALYSIS_SLOT = -1  # the slot of an exchange that yields no program
FINISHED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})

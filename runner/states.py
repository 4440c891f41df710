"""The states of a job and the reasons for an end; pure.

`docs/STATES.md` is the same as a graph, and a test compares both. *Cancel requested* is a column, not a state;
*why* a job ended is a `Reason`, each with the sentence that an operator reads.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is. A final state never changes: a person's retry is a new job."""

    QUEUED = "queued"
    """In by `enqueue`, or again for a further attempt (`retry`, `rescue`); out by a runner's claim, a cancellation,
    the late end of its lost attempt (`adopt`), or a runner that cannot read its row (`refuse`)."""

    RUNNING = "running"
    """In by a claim, which also counts the attempt; out by its report, or by the rescuer when its lease ran out."""

    SUCCEEDED = "succeeded"
    """In when the bot exited with 0. Final."""

    FAILED = "failed"
    """In when the bot did not succeed or was never started. Final; the reason says why."""

    CANCELLED = "cancelled"
    """In when a person cancelled a queued job, or a running bot ended because of it. Final."""


#: States that no transition leaves.
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

#: Every transition there is: from, to, and what makes it.
TRANSITIONS: tuple[tuple[State, State, str], ...] = (
    (State.QUEUED, State.RUNNING, "claim"),
    (State.QUEUED, State.CANCELLED, "cancel"),
    (State.RUNNING, State.SUCCEEDED, "finish"),
    (State.RUNNING, State.FAILED, "finish"),
    (State.RUNNING, State.CANCELLED, "finish"),
    (State.RUNNING, State.QUEUED, "retry"),
    (State.RUNNING, State.QUEUED, "rescue"),
    (State.RUNNING, State.FAILED, "rescue"),
    (State.RUNNING, State.CANCELLED, "rescue"),
    (State.QUEUED, State.SUCCEEDED, "adopt"),
    (State.QUEUED, State.FAILED, "adopt"),
    (State.QUEUED, State.FAILED, "refuse"),
)


class Isolation(StrEnum):
    """What a runner must give before it may start a bot, the mildest first."""

    ANY = "any"
    """Whatever its kernel has."""

    LANDLOCK = "landlock"
    """A Landlock domain for each attempt, so that bots cannot reach each other."""

    USER = "user"
    """A user of the operating system that no other bot has at that time."""

    SANDBOX = "sandbox"
    """Processes and file systems of its own, by bubblewrap."""


class Reason(StrEnum):
    """Why a job is in its final state; `sentence` explains it to an operator."""

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    LIMIT = "limit"
    BUSINESS = "business"
    CANCELLED = "cancelled"
    RUNNER_LOST = "runner_lost"
    RUNNER_STOPPED = "runner_stopped"
    START_FAILED = "start_failed"
    ISOLATION = "isolation"
    PACKAGE_TAMPERED = "package_tampered"
    DEPENDENCIES = "dependencies"
    ASSET_MISSING = "asset_missing"
    ASSET_DENIED = "asset_denied"
    UNDECRYPTABLE = "undecryptable"
    INTERNAL = "internal"

    @property
    def sentence(self) -> str:
        """What happened and what to do next, without particulars of the job."""
        return _SENTENCES[self]


#: Failures of an attempt itself after which another one may go better; bot.toml chooses among them.
#: Not there: `business` and the others that only a person can mend, and what has rules of its own (`runner.retry`).
REPEATABLE = (
    Reason.EXIT_CODE,
    Reason.SIGNAL,
    Reason.TIMEOUT,
    Reason.LIMIT,
    Reason.START_FAILED,
    Reason.DEPENDENCIES,
    Reason.INTERNAL,
)

_SENTENCES: dict[Reason, str] = {
    Reason.EXIT_CODE: "The bot ended with an exit status other than 0; its log says why.",
    Reason.SIGNAL: "A signal ended the bot; look for a crash or for a memory limit of the host.",
    Reason.TIMEOUT: "The bot ran longer than its time limit and was stopped; raise `timeout` or make it faster.",
    Reason.LIMIT: "The bot went beyond a limit that the job's detail names; raise it, or let the bot use less.",
    Reason.BUSINESS: "The bot reported a business error; mend the data, a retry alone will not help.",
    Reason.CANCELLED: "A person cancelled the job.",
    Reason.RUNNER_LOST: "The runner disappeared while the bot was running; the bot may have done its work.",
    Reason.RUNNER_STOPPED: "The runner was stopped while the bot was running, and the bot was stopped with it.",
    Reason.START_FAILED: "The bot could not be started; check its entry point or command.",
    Reason.ISOLATION: "This runner cannot isolate the bot as its environment or its bot.toml asks for; nothing was "
    "decrypted or started. `botkeep doctor` on the runner's host says what is missing.",
    Reason.PACKAGE_TAMPERED: "The stored package is not the one that was registered; nothing was decrypted or "
    "started. Register the bot again from a trusted copy.",
    Reason.DEPENDENCIES: "The bot's dependencies could not be installed; the job's log shows the builder's words.",
    Reason.ASSET_MISSING: "An asset has no value in this environment, or does not exist; set it and retry.",
    Reason.ASSET_DENIED: "A parameter refers to an asset that the bot does not declare; add it to `assets`.",
    Reason.UNDECRYPTABLE: "The runner could not decrypt a value; compare its keys with `botkeep key list`.",
    Reason.INTERNAL: "Botkeep itself failed; the runner's log has the details.",
}

"""Who may do what, as data: one entry for every route, and nothing else decides about roles.

`app.create` refuses a route without an entry, so a new route is closed until somebody thought about it. Roles
are a ladder: each may do what those before it may. A token may besides be limited to some environments; that
is checked where the environment is known (`deps.Call.require_environment`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from console.page_permissions import PAGES


class Role(StrEnum):
    """What a token may do, from reading to everything; in this order."""

    VIEWER = "viewer"
    """Sees bots, assets without values, jobs, logs and runners."""

    OPERATOR = "operator"
    """Also runs, cancels, pauses, resumes and retries jobs, queues and workflows, answers approvals, adds work items,
    runs, pauses and resumes triggers, checks data sources, and drains runners.
    """

    DEV = "dev"
    """Also reads programs, and changes bots, assets, data sources, queues, workflows, triggers and calendars."""

    ADMIN = "admin"
    """Also changes tokens and policies, removes runners, and reads the audit."""

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        ladder = list(Role)
        return ladder.index(self) >= ladder.index(needed)


@dataclass(frozen=True, slots=True)
class Permission:
    """The least role for a route, and the action's name in the audit, the same for done and refused."""

    role: Role
    action: str


class Reach(StrEnum):
    """Which environments an action touches, and with them the roles by environment that are asked."""

    NONE = "none"
    """None: the role in the workspace decides."""

    ONE = "one"
    """That of the request, or of the thing it is about."""

    EVERY = "every"
    """All of them: only for a caller who is narrowed in none."""


#: What touches environments, by action; whatever is not here touches none.
REACH: dict[str, Reach] = dict.fromkeys(
    (
        *("asset.set", "asset.unset", "asset.rollback", "environment.policy"),
        *("job.enqueued", "job.cancelled", "job.paused", "job.resumed", "job.retried"),
        *("queue.added", "queue.removed", "queue.paused", "queue.resumed"),
        *("workflow.added", "workflow.removed", "workflow.paused", "workflow.resumed"),
        *("run.started", "run.paused", "run.resumed", "run.cancelled", "run.restarted", "run.answered"),
        *("item.added", "item.retried", "item.removed"),
        *("trigger.saved", "trigger.removed", "trigger.paused", "trigger.resumed", "trigger.run"),
        *("trigger.key_made", "trigger.key_set", "runner.drained"),
        *("source.added", "source.changed", "source.removed", "source.check_requested"),
        *("source.fan_out", "source.fan_out_cancelled"),
        *("concurrency.set", "concurrency.removed", "retention.decided"),
        *("token.created", "token.removed", "user.added", "user.changed", "user.removed", "user.password_set"),
        *("user.totp_removed", "user.link_made", "user.disabled", "user.enabled", "user.signed_out"),
    ),
    Reach.ONE,
) | dict.fromkeys(
    (
        "asset.declared",
        "asset.removed",
        "bot.removed",
        "calendar.changed",
        "calendar.removed",
        "retention.records",
        "user.first_link",
        "workspace.limits",
        "workspace.connections",
    ),
    Reach.EVERY,
)

#: What concerns all workspaces at once; for callers of the workspace `default`, which runs the installation.
INSTALLATION = frozenset({"workspace.added", "runner.drained", "runner.removed"})

#: Asks for no token: probes, numbers, the description of the interface, and deliveries, which are signed.
PUBLIC = None

PERMISSIONS: dict[tuple[str, str], Permission | None] = {
    **{route: PUBLIC if given is None else Permission(Role(given[0]), given[1]) for route, given in PAGES.items()},
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
    ("GET", "/api/v1/openapi.json"): PUBLIC,
    # A delivery proves itself by its signature.
    ("POST", "/hooks/{hook_id}"): PUBLIC,
    ("GET", "/api/v1/bots"): Permission(Role.VIEWER, "bot.listed"),
    ("POST", "/api/v1/bots"): Permission(Role.DEV, "bot.added"),
    ("GET", "/api/v1/bots/{name}"): Permission(Role.VIEWER, "bot.shown"),
    ("GET", "/api/v1/bots/{name}/versions/{number}"): Permission(Role.VIEWER, "bot.shown"),
    ("GET", "/api/v1/bots/{name}/versions/{number}/source"): Permission(Role.DEV, "bot.source_shown"),
    ("GET", "/api/v1/bots/{name}/diff"): Permission(Role.DEV, "bot.source_shown"),
    ("DELETE", "/api/v1/bots/{name}"): Permission(Role.DEV, "bot.removed"),
    ("GET", "/api/v1/assets"): Permission(Role.VIEWER, "asset.listed"),
    ("GET", "/api/v1/assets/{group}/{name}"): Permission(Role.VIEWER, "asset.shown"),
    ("DELETE", "/api/v1/assets/{group}/{name}"): Permission(Role.DEV, "asset.removed"),
    ("PUT", "/api/v1/assets/{group}/{name}/values/{environment}"): Permission(Role.DEV, "asset.set"),
    ("DELETE", "/api/v1/assets/{group}/{name}/values/{environment}"): Permission(Role.DEV, "asset.unset"),
    ("POST", "/api/v1/assets/{group}/{name}/values/{environment}/rollback"): Permission(Role.DEV, "asset.rollback"),
    ("PUT", "/api/v1/assets/{group}/{name}/local"): Permission(Role.DEV, "asset.declared"),
    ("GET", "/api/v1/local-values"): Permission(Role.VIEWER, "asset.listed"),
    ("GET", "/api/v1/coverage"): Permission(Role.VIEWER, "asset.listed"),
    ("GET", "/api/v1/coverage/refusals"): Permission(Role.VIEWER, "asset.listed"),
    ("GET", "/api/v1/jobs"): Permission(Role.VIEWER, "job.listed"),
    ("POST", "/api/v1/jobs"): Permission(Role.OPERATOR, "job.enqueued"),
    ("POST", "/api/v1/jobs/batch"): Permission(Role.OPERATOR, "job.enqueued"),
    ("GET", "/api/v1/jobs/{job_id}"): Permission(Role.VIEWER, "job.shown"),
    ("GET", "/api/v1/jobs/{job_id}/log"): Permission(Role.VIEWER, "job.log_shown"),
    ("GET", "/api/v1/jobs/{job_id}/log/stream"): Permission(Role.VIEWER, "job.log_shown"),
    ("GET", "/api/v1/jobs/{job_id}/log/text"): Permission(Role.VIEWER, "job.log_shown"),
    ("GET", "/api/v1/jobs/{job_id}/outputs"): Permission(Role.VIEWER, "job.outputs_listed"),
    ("GET", "/api/v1/jobs/{job_id}/outputs/{path:path}"): Permission(Role.VIEWER, "job.output_shown"),
    ("POST", "/api/v1/jobs/{job_id}/cancellation"): Permission(Role.OPERATOR, "job.cancelled"),
    ("PUT", "/api/v1/jobs/{job_id}/pause"): Permission(Role.OPERATOR, "job.paused"),
    ("DELETE", "/api/v1/jobs/{job_id}/pause"): Permission(Role.OPERATOR, "job.resumed"),
    ("POST", "/api/v1/jobs/{job_id}/retry"): Permission(Role.OPERATOR, "job.retried"),
    ("GET", "/api/v1/queues"): Permission(Role.VIEWER, "queue.listed"),
    ("POST", "/api/v1/queues"): Permission(Role.DEV, "queue.added"),
    ("GET", "/api/v1/queues/{name}"): Permission(Role.VIEWER, "queue.shown"),
    ("DELETE", "/api/v1/queues/{name}"): Permission(Role.DEV, "queue.removed"),
    ("PUT", "/api/v1/queues/{name}/pause"): Permission(Role.OPERATOR, "queue.paused"),
    ("DELETE", "/api/v1/queues/{name}/pause"): Permission(Role.OPERATOR, "queue.resumed"),
    ("GET", "/api/v1/queues/{name}/runs"): Permission(Role.VIEWER, "run.listed"),
    ("POST", "/api/v1/queues/{name}/runs"): Permission(Role.OPERATOR, "run.started"),
    ("GET", "/api/v1/workflows"): Permission(Role.VIEWER, "workflow.listed"),
    ("POST", "/api/v1/workflows"): Permission(Role.DEV, "workflow.added"),
    ("GET", "/api/v1/workflows/{name}"): Permission(Role.VIEWER, "workflow.shown"),
    ("DELETE", "/api/v1/workflows/{name}"): Permission(Role.DEV, "workflow.removed"),
    ("PUT", "/api/v1/workflows/{name}/pause"): Permission(Role.OPERATOR, "workflow.paused"),
    ("DELETE", "/api/v1/workflows/{name}/pause"): Permission(Role.OPERATOR, "workflow.resumed"),
    ("GET", "/api/v1/workflows/{name}/runs"): Permission(Role.VIEWER, "run.listed"),
    ("POST", "/api/v1/workflows/{name}/runs"): Permission(Role.OPERATOR, "run.started"),
    ("GET", "/api/v1/runs"): Permission(Role.VIEWER, "run.listed"),
    ("GET", "/api/v1/runs/{run_id}"): Permission(Role.VIEWER, "run.shown"),
    ("PUT", "/api/v1/runs/{run_id}/pause"): Permission(Role.OPERATOR, "run.paused"),
    ("DELETE", "/api/v1/runs/{run_id}/pause"): Permission(Role.OPERATOR, "run.resumed"),
    ("POST", "/api/v1/runs/{run_id}/cancellation"): Permission(Role.OPERATOR, "run.cancelled"),
    ("POST", "/api/v1/runs/{run_id}/restart"): Permission(Role.OPERATOR, "run.restarted"),
    ("PUT", "/api/v1/runs/{run_id}/approvals/{step}"): Permission(Role.OPERATOR, "run.answered"),
    ("GET", "/api/v1/work-items"): Permission(Role.VIEWER, "item.listed"),
    ("POST", "/api/v1/work-items"): Permission(Role.OPERATOR, "item.added"),
    ("GET", "/api/v1/work-items/{item_id}"): Permission(Role.VIEWER, "item.shown"),
    ("POST", "/api/v1/work-items/{item_id}/retry"): Permission(Role.OPERATOR, "item.retried"),
    ("DELETE", "/api/v1/work-items/{item_id}"): Permission(Role.OPERATOR, "item.removed"),
    ("GET", "/api/v1/triggers"): Permission(Role.VIEWER, "trigger.listed"),
    ("POST", "/api/v1/triggers"): Permission(Role.DEV, "trigger.saved"),
    ("GET", "/api/v1/triggers/{name}"): Permission(Role.VIEWER, "trigger.shown"),
    ("DELETE", "/api/v1/triggers/{name}"): Permission(Role.DEV, "trigger.removed"),
    ("PUT", "/api/v1/triggers/{name}/pause"): Permission(Role.OPERATOR, "trigger.paused"),
    ("DELETE", "/api/v1/triggers/{name}/pause"): Permission(Role.OPERATOR, "trigger.resumed"),
    ("POST", "/api/v1/triggers/{name}/key"): Permission(Role.DEV, "trigger.key_made"),
    ("PUT", "/api/v1/triggers/{name}/key"): Permission(Role.DEV, "trigger.key_set"),
    ("POST", "/api/v1/triggers/{name}/runs"): Permission(Role.OPERATOR, "trigger.run"),
    ("GET", "/api/v1/triggers/{name}/firings"): Permission(Role.VIEWER, "trigger.listed"),
    ("GET", "/api/v1/triggers/{name}/preview"): Permission(Role.VIEWER, "trigger.shown"),
    ("GET", "/api/v1/calendars"): Permission(Role.VIEWER, "calendar.listed"),
    ("GET", "/api/v1/calendars/{name}"): Permission(Role.VIEWER, "calendar.shown"),
    ("PUT", "/api/v1/calendars/{name}"): Permission(Role.DEV, "calendar.changed"),
    ("DELETE", "/api/v1/calendars/{name}"): Permission(Role.DEV, "calendar.removed"),
    ("GET", "/api/v1/runners"): Permission(Role.VIEWER, "runner.listed"),
    ("PUT", "/api/v1/runners/{name}/drain"): Permission(Role.OPERATOR, "runner.drained"),
    ("DELETE", "/api/v1/runners/{name}"): Permission(Role.ADMIN, "runner.removed"),
    ("GET", "/api/v1/keys"): Permission(Role.VIEWER, "key.listed"),
    ("GET", "/api/v1/sources"): Permission(Role.VIEWER, "source.listed"),
    ("POST", "/api/v1/sources"): Permission(Role.DEV, "source.added"),
    ("GET", "/api/v1/sources/{name}"): Permission(Role.VIEWER, "source.shown"),
    ("PUT", "/api/v1/sources/{name}"): Permission(Role.DEV, "source.changed"),
    ("DELETE", "/api/v1/sources/{name}"): Permission(Role.DEV, "source.removed"),
    ("POST", "/api/v1/sources/{name}/checks"): Permission(Role.OPERATOR, "source.check_requested"),
    ("GET", "/api/v1/sources/{name}/checks/{check_id}"): Permission(Role.VIEWER, "source.check_shown"),
    ("POST", "/api/v1/sources/{name}/fan-outs"): Permission(Role.OPERATOR, "source.fan_out"),
    ("GET", "/api/v1/sources/{name}/fan-outs/{fan_out_id}"): Permission(Role.VIEWER, "source.fan_out_shown"),
    ("POST", "/api/v1/sources/{name}/fan-outs/{fan_out_id}/cancellation"): Permission(
        Role.OPERATOR, "source.fan_out_cancelled"
    ),
    ("GET", "/api/v1/tokens"): Permission(Role.ADMIN, "token.listed"),
    ("POST", "/api/v1/tokens"): Permission(Role.ADMIN, "token.created"),
    ("DELETE", "/api/v1/tokens/{name}"): Permission(Role.ADMIN, "token.removed"),
    ("GET", "/api/v1/users"): Permission(Role.ADMIN, "user.listed"),
    ("POST", "/api/v1/users"): Permission(Role.ADMIN, "user.added"),
    ("PUT", "/api/v1/users/{name}/role"): Permission(Role.ADMIN, "user.changed"),
    ("DELETE", "/api/v1/users/{name}"): Permission(Role.ADMIN, "user.removed"),
    ("PUT", "/api/v1/users/{name}/disabled"): Permission(Role.ADMIN, "user.disabled"),
    ("DELETE", "/api/v1/users/{name}/disabled"): Permission(Role.ADMIN, "user.enabled"),
    ("GET", "/api/v1/users/{name}/sessions"): Permission(Role.ADMIN, "user.listed"),
    ("DELETE", "/api/v1/users/{name}/sessions"): Permission(Role.ADMIN, "user.signed_out"),
    ("PUT", "/api/v1/users/{name}/password"): Permission(Role.ADMIN, "user.password_set"),
    ("DELETE", "/api/v1/users/{name}/totp"): Permission(Role.ADMIN, "user.totp_removed"),
    ("POST", "/api/v1/users/{name}/links"): Permission(Role.ADMIN, "user.link_made"),
    ("POST", "/api/v1/first-link"): Permission(Role.ADMIN, "user.first_link"),
    ("GET", "/api/v1/workspaces"): Permission(Role.VIEWER, "workspace.listed"),
    ("POST", "/api/v1/workspaces"): Permission(Role.ADMIN, "workspace.added"),
    ("GET", "/api/v1/environments"): Permission(Role.VIEWER, "environment.listed"),
    ("PUT", "/api/v1/environments/{environment}"): Permission(Role.ADMIN, "environment.policy"),
    ("GET", "/api/v1/workspace/limits"): Permission(Role.VIEWER, "workspace.limits_shown"),
    ("PATCH", "/api/v1/workspace/limits"): Permission(Role.ADMIN, "workspace.limits"),
    ("GET", "/api/v1/concurrency"): Permission(Role.VIEWER, "concurrency.listed"),
    ("PUT", "/api/v1/concurrency/{environment}/{kind}"): Permission(Role.ADMIN, "concurrency.set"),
    ("DELETE", "/api/v1/concurrency/{environment}/{kind}"): Permission(Role.ADMIN, "concurrency.removed"),
    ("GET", "/api/v1/retention"): Permission(Role.VIEWER, "retention.listed"),
    ("PUT", "/api/v1/retention"): Permission(Role.ADMIN, "retention.decided"),
    ("GET", "/api/v1/retention/due"): Permission(Role.VIEWER, "retention.listed"),
    ("GET", "/api/v1/retention/records"): Permission(Role.VIEWER, "retention.listed"),
    ("PUT", "/api/v1/retention/records/{kind}"): Permission(Role.ADMIN, "retention.records"),
    ("GET", "/api/v1/workspace/connections"): Permission(Role.VIEWER, "workspace.connections_shown"),
    ("PATCH", "/api/v1/workspace/connections"): Permission(Role.ADMIN, "workspace.connections"),
    ("GET", "/api/v1/audit"): Permission(Role.ADMIN, "audit.listed"),
    ("GET", "/api/v1/audit/verification"): Permission(Role.ADMIN, "audit.verified"),
    ("POST", "/api/v1/audit/comparisons"): Permission(Role.ADMIN, "audit.verified"),
    ("GET", "/api/v1/audit/export"): Permission(Role.ADMIN, "audit.exported"),
}

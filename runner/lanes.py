"""Lanes: Celery and Redis as transport, nothing more.

A message is a hint that a job may be ready. It carries the job's id, with environment and bot id as headers, so
losing or doubling one changes nothing: the claim in the database decides. Delivery is at most once on purpose
(early acknowledgement), and the rescuer publishes again what nobody claimed.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from celery import Celery
from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import KombuError
from redis import Redis, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from runner.errors import Invalid

#: The name of the one task; its one argument is a job id.
TASK = "botkeep.look"

#: The group of runners that serves a job unless it names another.
DEFAULT_GROUP = "default"

#: Redis' visibility timeout in seconds; irrelevant to correctness, long so that nothing is redelivered for nothing.
VISIBILITY_TIMEOUT = 24 * 3600

#: Seconds a broker may take to connect or to answer before a publication counts as failed.
SOCKET_TIMEOUT = 5

#: Messages in one command: about 400 kB.
_AT_ONCE = 500

#: What every key of ours in Redis begins with.
PREFIX = "botkeep:"
#: The key that goes with everything else when the broker is flushed.
_MEMORY = "memory"

#: The client of each channel that is open.
_clients: MutableMapping[Any, Redis] = WeakKeyDictionary()
#: The connections over which threads publish, of each app.
_lines: MutableMapping[Celery, threading.local] = WeakKeyDictionary()


class Line(Protocol):
    """A connection of the client library (`redis.connection.Connection`), which says nothing of its types."""

    @property
    def is_connected(self) -> bool: ...
    def pack_command(self, *words: object) -> list[bytes]: ...
    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...  # noqa: FBT001, FBT002
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self) -> object: ...


_GROUP = re.compile(r"[A-Za-z0-9_-]{1,48}", re.ASCII)


def lane(environment: str, group: str = DEFAULT_GROUP) -> str:
    """The Celery queue of an environment and a group of runners."""
    return f"{environment}.{group}"


def check_group(group: str) -> str:
    """Give `group` back when it can name a group of runners.

    Raises:
        Invalid: otherwise.
    """
    if not _GROUP.fullmatch(group):
        raise Invalid(f"A runner group is 1 to 48 ASCII letters, digits, hyphens or underscores; {group!r} is not.")
    return group


def transport(broker_url: str) -> Celery:
    """A Celery application that knows the broker and no result store.

    Why each setting stands as it does is in `docs/adr/0003-celery-as-transport.md`.
    """
    app = Celery("botkeep", broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_enable_prefetch_count_reduction=False,
        # Nothing is: Celery knows of nothing that runs (`runner.worker.tasks`). `False` would warn at each loss.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_soft_shutdown_timeout=0,
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        # What a broker refuses (a replica, one whose disk is full) is as if it were away: no reason to end bots.
        broker_channel_error_retry=True,
        task_create_missing_queues=True,
        task_default_queue=lane("dev"),
        task_publish_retry=False,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_connect_timeout": SOCKET_TIMEOUT,
            "retry_on_timeout": False,
            "max_retries": 1,
            "interval_start": 0,  # a publication that fails says so at once; the default waits 2 s
            "global_keyprefix": PREFIX,
        },
    )
    return app


def serve(app: Celery, *, environments: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Make a worker of `app` pull from the lanes of these environments and groups only, which it answers."""
    names = [lane(environment, group) for environment in environments for group in groups]
    app.conf.task_queues = [Queue(name) for name in names]  # type: ignore[no-untyped-call]  # not annotated
    return names


def publish(app: Celery, job_id: uuid.UUID, *, environment: str, group: str, bot_id: uuid.UUID | None = None) -> bool:
    """Say that a job may be ready; false when the broker cannot be reached.

    The job is committed before, so a false is a delay: the rescuer publishes it when the broker is back. The bot's id
    is for people who trace messages.
    """
    return publish_many(app, [(job_id, environment, group, bot_id)])


def publish_many(app: Celery, hints: Sequence[tuple[uuid.UUID, str, str, uuid.UUID | None]]) -> bool:
    """As `publish`, for many jobs (id, environment, group, bot): a few commands for each lane.

    After a false some may have been published, which does no harm.
    """
    messages: dict[str, list[str]] = {}
    for job_id, environment, group, bot_id in hints:
        place = lane(environment, group)
        message = _message(str(job_id), place, environment=environment, bot=None if bot_id is None else str(bot_id))
        messages.setdefault(place, []).append(message)
    try:
        for place, some in messages.items():
            for start in range(0, len(some), _AT_ONCE):
                _say(app, "LPUSH", PREFIX + place, *some[start : start + _AT_ONCE])
    except (CeleryOperationalError, KombuError, RedisError, OSError):
        return False
    return True


def _say(app: Celery, *words: str) -> None:
    """Send a command that may be carried out twice, over the calling thread's own connection.

    The client of the library takes a connection from its pool, looks whether it lives, and wraps it all into retries:
    twice the processor of the command itself.
    """
    own = _own_line(app)
    packed = own.pack_command(*words)
    try:
        own.send_packed_command(packed)
        own.read_response()
    except RedisConnectionError:  # the broker may have closed what lay idle
        own.send_packed_command(packed)
        own.read_response()


def _own_line(app: Celery) -> Line:
    lines = _lines.get(app)
    if lines is None:
        lines = _lines.setdefault(app, threading.local())
    own: Line | None = getattr(lines, "own", None)
    if own is None:
        own = lines.own = line(app)
    return own


def line(app: Celery) -> Line:
    """A connection to the broker for the caller alone, which connects by itself, and again after an error."""
    with app.pool.acquire(block=True) as connection:
        pool = client_of(connection).connection_pool
    made: Line = pool.connection_class(**pool.connection_kwargs)
    return made


def oldest(line: Line, places: Sequence[str]) -> list[bytes]:
    """The command that takes the oldest entry out of the first of these lanes that holds one."""
    return line.pack_command("LMPOP", len(places), *(PREFIX + place for place in places), "RIGHT")


def give_back(app: Celery, place: str, entry: bytes) -> None:
    """Put an entry back, first in its lane; where the broker is away the rescuer announces its job again."""
    with suppress(CeleryOperationalError, KombuError, RedisError, OSError), app.pool.acquire(block=True) as connection:
        client_of(connection).rpush(place, entry)


def client_of(connection: Connection) -> Redis:
    """The client of a connection to the broker for commands of ours: one for its whole life.

    kombu makes another for each use, which takes twice the processor of the command itself.
    """
    channel: Any = connection.default_channel
    known = _clients.get(channel)
    if known is None:
        with channel.conn_or_acquire() as known:
            _clients[channel] = known
    return known


def remind(app: Celery, job_id: uuid.UUID, *, environment: str, group: str) -> None:
    """Make a lane be looked at that nobody would look at otherwise; one with messages in it will be.

    What ended may let a job of another lane begin. `job_id` is the job that ended. A broker that is away hears nothing;
    the rescuer announces what waits.
    """
    try:
        waiting = depth(app, environment=environment, group=group)
    except (CeleryOperationalError, KombuError, RedisError, OSError):
        return
    if not waiting:
        publish(app, job_id, environment=environment, group=group)


def _message(job_id: str, place: str, *, environment: str, bot: str | None) -> str:
    """A task message as Celery writes it into Redis (protocol 2), with what a reader of it needs.

    Celery's own way there takes twice the processor (0.28 against 0.14 ms), for what no message of ours has.
    """
    headers = {"lang": "py", "task": TASK, "id": job_id, "root_id": job_id, "environment": environment}
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps([[job_id], {}, {}]).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers if bot is None else {**headers, "bot_id": bot},
            "properties": {
                "body_encoding": "base64",
                "correlation_id": job_id,
                "delivery_info": {"exchange": "", "routing_key": place},
                "delivery_mode": 2,
                "delivery_tag": str(uuid.uuid4()),
                "priority": 0,
            },
        }
    )


def epoch(app: Celery) -> str | None:
    """The mark that the broker was given; nothing when it has forgotten what it was told, or was never given one."""
    with app.pool.acquire(block=True) as connection:
        found = client_of(connection).hget(_MEMORY, "epoch")
    return found.decode() if isinstance(found, bytes) else found


def begin_epoch(app: Celery, mark: str) -> None:
    """Give the broker a mark, by whose absence a flush is noticed."""
    with app.pool.acquire(block=True) as connection:
        client_of(connection).hset(_MEMORY, "epoch", mark)


def broker_info(app: Celery) -> dict[str, Any]:
    """What the broker says of itself (https://redis.io/docs/latest/commands/info/)."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        return dict(channel.client.info())


#: Why no process of ours works with a Redis Cluster.
CLUSTER = (
    "BOTKEEP_REDIS_URL is a Redis Cluster, in which the lanes of one runner lie on several servers and messages are "
    "lost; give Botkeep a single server, with a replica if need be."
)


def is_cluster(info: Mapping[str, Any]) -> bool:
    """Whether a broker that told about itself is part of a Redis Cluster."""
    return str(info.get("cluster_enabled")) == "1"


def refuse_cluster(app: Celery) -> None:
    """Do not begin with a broker that cannot work; one that is away is waited for.

    Raises:
        Invalid: for a Redis Cluster.
    """
    try:
        info = broker_info(app)
    except (CeleryOperationalError, KombuError, RedisError, OSError):
        return
    if is_cluster(info):
        raise Invalid(CLUSTER)


def depth(app: Celery, *, environment: str, group: str = DEFAULT_GROUP) -> int:
    """How many messages wait in a lane."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        return int(channel._size(lane(environment, group)))  # noqa: SLF001 - kombu has no public name for it

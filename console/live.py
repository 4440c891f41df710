"""What bots print while somebody follows: one thread that hears Redis for all followers of this console.

Promises that no follower keeps another one waiting, and to hold at most `WAITING` bytes for each: what is lost on the
way is in the store a second later. The thread begins with the first follower.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from runner import live, signals
from runner.live import News
from runner.logging import logger
from runner.signals import Ear

#: Bytes that wait for one follower; what comes on top is left to the store.
WAITING = 1 << 20

#: Seconds that the thread waits for news before it looks who still follows.
IDLE = 0.5

#: Seconds before another try where Redis is away.
PAUSE = 1.0

_log = logger()


class Feed:
    """The news of one job for one follower."""

    def __init__(self, hub: Live) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._news: deque[News] = deque()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether news can arrive now."""
        return self._hub.connected

    async def next(self, within: float) -> News | None:
        """The next news; `None` where there was none within so many seconds."""
        if not self._news:
            self._arrived.clear()
            if not self._news:
                try:
                    async with asyncio.timeout(within):
                        await self._arrived.wait()
                except TimeoutError:
                    return None
        return self.at_once()

    def at_once(self) -> News | None:
        """The next news, if there are any now."""
        with self._lock:
            if not self._news:
                return None
            news = self._news.popleft()
            self._size -= _size(news)
            return news

    def back(self, news: News) -> None:
        """Put the last news back."""
        with self._lock:
            self._news.appendleft(news)
            self._size += _size(news)

    def put(self, news: News) -> None:
        """Hand news over, from any thread."""
        with self._lock:
            if self._size + _size(news) > WAITING and not news.ended:
                return
            self._size += _size(news)
            self._news.append(news)
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:  # the console has stopped
            self._news.clear()


class Live:
    """Hands news to followers; one for each console."""

    def __init__(self, app: Celery, *, stopping: threading.Event) -> None:
        self._app, self._stopping = app, stopping
        self._feeds: dict[uuid.UUID, list[Feed]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        #: Whether the channels are heard now.
        self.connected = False
        self._asked: dict[uuid.UUID, float] = {}

    def ask(self, job_id: uuid.UUID) -> None:
        """Tell runners at once that this job's log is followed; the thread does so from time to time."""
        if self.connected:
            signals.follow_log(self._app, job_id)

    @contextmanager
    def following(self, job_id: uuid.UUID) -> Iterator[Feed]:
        """The news of a job for the time of the block."""
        feed = Feed(self)
        with self._lock:
            self._feeds.setdefault(job_id, []).append(feed)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
        try:
            yield feed
        finally:
            with self._lock:
                self._feeds[job_id].remove(feed)
                if not self._feeds[job_id]:
                    del self._feeds[job_id]

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with signals.hearing(self._app, pattern=f"{live.CHANNEL}*") as ear:
                    while not self._stopping.is_set():
                        self._hear(ear)
            except signals.AWAY as error:
                _log.warning("live.lost", error=str(error).partition("\n")[0])
            except Exception:
                _log.exception("live.broken")
            finally:
                self.connected = False
                self._asked.clear()
            self._stopping.wait(PAUSE)

    def _hear(self, ear: Ear) -> None:
        message = ear.next(IDLE)
        if message is not None and message["type"] == "psubscribe":
            self.connected = True
        elif message is not None and message["type"] == "pmessage":
            self._pass_on(message["channel"], message["data"])
        if self.connected:
            self._ask()

    def _ask(self) -> None:
        """Tell runners, again and again, whose logs are followed."""
        now = time.monotonic()
        with self._lock:
            followed = list(self._feeds)
        self._asked = {job_id: at for job_id, at in self._asked.items() if job_id in followed}
        for job_id in followed:
            if now - self._asked.get(job_id, -live.EVERY) >= live.EVERY:
                self._asked[job_id] = now
                signals.follow_log(self._app, job_id)

    def _pass_on(self, channel: bytes, data: bytes) -> None:
        job_id, news = live.job_of(channel), live.parsed(data)
        if job_id is None or news is None:
            return
        with self._lock:
            feeds = list(self._feeds.get(job_id, ()))
        for feed in feeds:
            feed.put(news)


def _size(news: News) -> int:
    return sum(len(run.data) for run in news.runs)

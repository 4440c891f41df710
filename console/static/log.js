// A job's log as it is printed: appended line by line, followed or not. Without this file the page shows parts of it.
// Whatever a bot printed enters the page as text only, in spans whose classes the server chose from its own list.
"use strict";

(() => {
  // Lines that the page keeps, pieces of text among them, and how many wait for the next frame at most.
  const KEPT = 3000, PIECES = 60000, WAITING = 3000;
  // The classes that a line and a piece of it may have.
  const STREAMS = new Set(["stdout", "stderr", "system"]);
  const STYLE = /^(?:(?:bold|faint|italic|underline|strike|inverse|control|fg-\d{1,2}|bg-\d{1,2})(?: |$))*$/;

  let source = null, waiting = [], dropped = 0, pieces = 0, drawing = false;

  const part = (name) => document.getElementById(name);

  function attach() {
    const log = part("log");
    if (!log || log.dataset.attached) return;
    log.dataset.attached = "yes";
    detach();
    const frame = part("log-frame"), follow = part("log-follow"), times = part("log-times");
    follow.hidden = times.hidden = false;
    times.addEventListener("click", () => press(times, frame.classList.toggle("log-with-times")));
    follow.addEventListener("click", () => {
      press(follow, follow.getAttribute("aria-pressed") !== "true");
      if (following()) toEnd();
    });
    frame.addEventListener("scroll", () => {
      // Only people scroll away from the end; what is appended keeps the end in sight.
      const atEnd = frame.scrollHeight - frame.scrollTop - frame.clientHeight < 40;
      if ("live" in log.dataset && !drawing && atEnd !== following()) press(follow, atEnd);
    }, { passive: true });
    part("log-end").addEventListener("click", (event) => {
      if (!("tail" in log.dataset)) return; // the end is another part of the log
      event.preventDefault();
      press(follow, "live" in log.dataset);
      toEnd();
    });
    part("log-start").addEventListener("click", (event) => {
      if (part("log-before") || !part("L1")) return; // the beginning is another part of the log
      event.preventDefault();
      press(follow, false);
      frame.scrollTop = 0;
    });
    pieces = log.querySelectorAll(".line-text > span").length;
    if ("tail" in log.dataset && !location.hash.startsWith("#L")) toEnd();
    if ("live" in log.dataset) {
      press(follow, true);
      for (const again of log.querySelectorAll(".log-again")) again.remove();
      listen(log);
    }
  }

  function detach() {
    if (source) source.close();
    source = null;
    waiting = [];
    dropped = 0;
  }

  function press(button, on) {
    button.setAttribute("aria-pressed", on ? "true" : "false");
  }

  function following() {
    return part("log-follow").getAttribute("aria-pressed") === "true";
  }

  function toEnd() {
    const frame = part("log-frame");
    drawing = true;
    frame.scrollTop = frame.scrollHeight;
    requestAnimationFrame(() => { drawing = false; });
  }

  function listen(log) {
    const query = new URLSearchParams({ after: log.dataset.next });
    if (log.dataset.attempt) query.set("attempt", log.dataset.attempt);
    const here = new EventSource(`${log.dataset.events}?${query}`);
    source = here;
    here.addEventListener("line", (event) => {
      waiting.push(JSON.parse(event.data));
      log.dataset.next = event.lastEventId;
      if (waiting.length > WAITING) dropped += waiting.splice(0, waiting.length - WAITING / 2).length;
      schedule(log);
    });
    here.addEventListener("note", (event) => say(JSON.parse(event.data).text));
    here.addEventListener("end", (event) => {
      here.close();
      source = null;
      draw(log);
      ended(log, JSON.parse(event.data));
    });
    here.addEventListener("open", () => say(""));
    here.addEventListener("error", () => {
      // The browser asks again by itself, from the last line on, unless it was refused.
      if (here.readyState === EventSource.CLOSED) say("The log cannot be followed now; load the page again.");
    });
  }

  let scheduled = 0;
  function schedule(log) {
    if (!scheduled) scheduled = requestAnimationFrame(() => { scheduled = 0; draw(log); });
  }

  function draw(log) {
    if (!waiting.length || part("log") !== log) return;
    const lines = part("log-lines"), fresh = document.createDocumentFragment();
    if (dropped) {
      for (const old of [...lines.children]) old.remove();
      pieces = 0;
      dropped = 0;
    }
    for (const one of waiting) fresh.append(lineOf(one));
    const last = waiting[waiting.length - 1].number;
    waiting = [];
    drawing = true;
    lines.append(fresh);
    trim(lines);
    part("log-state").textContent = `${last.toLocaleString("en")} ${last === 1 ? "line" : "lines"}`;
    if (following()) part("log-frame").scrollTop = part("log-frame").scrollHeight;
    requestAnimationFrame(() => { drawing = false; });
  }

  function lineOf(one) {
    const line = document.createElement("div"), number = document.createElement("a"), text = document.createElement("bdi");
    line.className = `line line-${STREAMS.has(one.stream) ? one.stream : "system"}`;
    line.id = `L${one.number}`;
    number.className = "line-number";
    number.href = `#L${one.number}`;
    number.dataset.at = one.at.slice(11, 23).padEnd(12, "0");
    number.title = `${one.at.slice(0, 19).replace("T", " ")} UTC, ${one.stream}`;
    number.textContent = one.number;
    text.className = "line-text";
    for (const [words, style] of one.pieces) {
      if (!style) { text.append(words); continue; }
      const piece = document.createElement("span");
      if (STYLE.test(style)) piece.className = style;
      piece.textContent = words;
      text.append(piece);
      pieces += 1;
    }
    if (one.cut) {
      const cut = document.createElement("span");
      cut.className = "line-cut";
      cut.textContent = `… ${one.cut.toLocaleString("en")} more characters`;
      text.append(cut);
    }
    line.append(number, text);
    return line;
  }

  // What is beyond the page's measure leaves it at the top; a link leads there.
  function trim(lines) {
    while (lines.children.length > KEPT || (pieces > PIECES && lines.children.length > 100)) {
      pieces -= lines.firstElementChild.querySelectorAll(".line-text > span").length;
      lines.firstElementChild.remove();
    }
    const first = Number(lines.firstElementChild.id.slice(1)) || 1;
    if (first < 2) return;
    let more = part("log-before");
    if (!more) {
      const around = document.createElement("p");
      around.className = "log-more";
      more = document.createElement("a");
      more.id = "log-before";
      around.append(more);
      part("log-frame").before(around);
    }
    const there = new URL(lines.dataset.whole, location.href);
    there.searchParams.set("from", Math.max(1, first - 500));
    there.hash = "log";
    more.href = there.href;
    more.textContent = `${(first - 1).toLocaleString("en")} earlier ${first === 2 ? "line" : "lines"}`;
  }

  function ended(log, end) {
    delete log.dataset.live;
    press(part("log-follow"), false);
    document.body.dispatchEvent(new Event("job-changed"));
    if (!["succeeded", "failed", "cancelled"].includes(end.state) && log.dataset.newest) {
      // Another attempt follows, or has begun: its log is the newest one.
      setTimeout(() => {
        if (part("log") === log) htmx.ajax("GET", log.dataset.newest, { target: "#log", swap: "outerHTML" });
      }, 1000);
      return;
    }
    say(`End of the log: the job ${end.state === "succeeded" ? "succeeded" : `is ${end.state}`}.`);
  }

  function say(text) {
    const last = part("log-last");
    if (text || !last.querySelector(".log-waits")) last.textContent = text || "The bot may print more.";
  }

  // A browser has few connections for one console: a page that nobody sees holds none of them.
  document.addEventListener("visibilitychange", () => {
    const log = part("log");
    if (!log || !("live" in log.dataset)) return;
    if (!document.hidden && !source) listen(log);
    if (!document.hidden) return;
    draw(log);
    detach();
  });
  window.addEventListener("pagehide", detach);
  document.addEventListener("htmx:afterSettle", attach);
  attach();
})();

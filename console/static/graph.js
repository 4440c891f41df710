// A workflow's drawing, changed by pointer or by keys. What is done here is said to the server together with the text of
// the form; it answers the text and the drawing after it, so that the text stays the one truth. Nothing is saved here.
"use strict";

(() => {
  const draft = document.getElementById("draft");
  if (!draft) return;
  const form = () => document.getElementById("draft-form");
  const field = () => form().elements.namedItem("definition");
  let taken = null; // the step that Enter took, by name
  let drag = null;

  // Which words an edge goes through when Enter is pressed on it.
  const NEXT = { success: "failure", failure: "always", always: "success" };

  function say(text) {
    const said = document.getElementById("said");
    if (said) said.textContent = text;
  }

  async function change(verb, given, focus) {
    const body = new URLSearchParams({ change: verb, definition: field().value });
    for (const name of ["csrf", "existing", "name", "places"]) {
      const known = form().elements.namedItem(name);
      if (known) body.set(name, known.value);
    }
    for (const [name, value] of Object.entries(given)) body.set(`${verb}-${name}`, value);
    draft.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form().dataset.drawing, {
        method: "POST", body, headers: { "HX-Request": "true" }, redirect: "error",
      });
      if (!answer.ok && answer.status !== 422) throw new Error(String(answer.status));
      show(await answer.text(), focus);
    } catch {
      say("The drawing could not be changed: the console cannot be reached, or you are signed out.");
    } finally {
      draft.removeAttribute("aria-busy");
    }
  }

  function show(text, focus) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const { scrollLeft: left = 0, scrollTop: top = 0 } = document.querySelector(".graph") || {};
    const open = draft.querySelector(".graph-forms")?.open;
    draft.replaceChildren(...page.body.childNodes);
    const forms = draft.querySelector(".graph-forms");
    if (forms && open) forms.open = true;
    const graph = draft.querySelector(".graph");
    if (graph) [graph.scrollLeft, graph.scrollTop] = [left, top];
    taken = null;
    // A live region says what changes in it after it is there.
    const said = document.getElementById("said");
    const words = said ? said.textContent : "";
    if (said) {
      said.textContent = "";
      requestAnimationFrame(() => say(words));
    }
    const next = (focus && find(focus)) || draft.querySelector("[data-step]");
    if (next) reach(next);
  }

  function find(focus) {
    return focus.step ? step(focus.step) : [...draft.querySelectorAll("[data-source]")].find(
      (one) => one.dataset.source === focus.source && one.dataset.target === focus.target);
  }
  const steps = () => [...draft.querySelectorAll("[data-graph] [data-step]")];
  const step = (name) => steps().find((one) => one.dataset.step === name);

  // Keys: one thing at a time can be reached by Tab, arrows move between them.
  function reach(one) {
    for (const other of draft.querySelectorAll("[data-graph] [tabindex]")) other.setAttribute("tabindex", "-1");
    one.setAttribute("tabindex", "0");
    one.focus({ preventScroll: !!drag });
  }
  function middle(one) {
    const box = one.getBoundingClientRect();
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  }
  function nearest(from, key, among) {
    const here = middle(from);
    const side = key === "ArrowLeft" || key === "ArrowRight";
    const sign = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
    let best = null, least = Infinity;
    for (const one of among) {
      if (one === from) continue;
      const there = middle(one);
      const along = sign * (side ? there.x - here.x : there.y - here.y);
      const across = Math.abs(side ? there.y - here.y : there.x - here.x);
      if (along > 4 && along + across * 2 < least) [best, least] = [one, along + across * 2];
    }
    return best;
  }
  function take(name) {
    taken = taken === name ? null : name;
    for (const one of steps()) {
      const mine = one.dataset.step === taken;
      one.classList.toggle("step-taken", mine);
      one.setAttribute("aria-pressed", String(mine));
    }
    say(taken ? `${taken} is taken: go to the step that it comes after and press Enter, or Escape.` : "Nothing is taken.");
  }
  draft.addEventListener("keydown", (event) => {
    const one = event.target.closest?.("[data-graph] [data-step], [data-graph] [data-source]");
    if (!one) return;
    const { step: name, source, target, on } = one.dataset;
    if (event.key.startsWith("Arrow") && event.ctrlKey) {
      event.preventDefault();
      if (name) change("move", { step: name, direction: event.key.slice(5).toLowerCase() }, { step: name });
    } else if (event.key.startsWith("Arrow")) {
      const among = event.shiftKey || source ? [...draft.querySelectorAll("[data-graph] [data-source]")] : steps();
      const next = event.shiftKey || !source ? nearest(one, event.key, among) : nearest(one, event.key, steps());
      event.preventDefault();
      if (next) reach(next);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (source) change("connect", { source, target, on: NEXT[on] }, { source, target });
      else if (taken && taken !== name) change("connect", { source: name, target: taken }, { step: taken });
      else take(name);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      if (source) change("disconnect", { source, target }, { step: target });
      else change("remove", { step: name });
    } else if (event.key === "Escape" && taken) {
      take(taken);
    }
  });

  // Pointer: a step that is dragged stands where it is let go, or comes after the step that it is dropped on. What is
  // dragged from the dot at its foot is a line, to the step that comes after it.
  function under(x, y, but) {
    return steps().find((one) => {
      if (one === but) return false;
      const box = one.querySelector("rect").getBoundingClientRect();
      return x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
    });
  }
  function inDrawing(x, y) {
    const box = draft.querySelector("[data-graph] svg").getBoundingClientRect();
    return { x: x - box.left, y: y - box.top };
  }
  draft.addEventListener("pointerdown", (event) => {
    const one = event.target.closest?.("[data-graph] [data-step]");
    if (!one || event.button) return;
    event.preventDefault(); // no selection of text, no image that is dragged by the browser
    const wire = event.target.closest("[data-port]") ? draft.querySelector("[data-graph] .wire") : null;
    drag = { one, wire, from: inDrawing(event.clientX, event.clientY), moved: false, over: null };
    reach(one);
    one.setPointerCapture(event.pointerId);
  });
  // A finger on a step drags it; elsewhere it scrolls. Browsers do not heed touch-action on parts of a drawing.
  draft.addEventListener("touchstart", (event) => {
    if (event.target.closest?.("[data-graph] [data-step]") && event.cancelable) event.preventDefault();
  }, { passive: false });
  draft.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = inDrawing(event.clientX, event.clientY);
    const [dx, dy] = [at.x - drag.from.x, at.y - drag.from.y];
    if (!drag.moved && Math.hypot(dx, dy) < 5) return;
    drag.moved = true;
    [drag.dx, drag.dy] = [dx, dy];
    if (drag.wire) {
      const [x, y] = [Number(drag.one.dataset.x) + 92, Number(drag.one.dataset.y) + 56];
      const bend = Math.max(24, Math.abs(at.y - y) / 2);
      drag.wire.setAttribute("d", `M${x} ${y} C${x} ${y + bend} ${at.x} ${at.y - bend} ${at.x} ${at.y}`);
      drag.wire.removeAttribute("hidden");
    } else {
      drag.one.classList.add("step-dragged");
      drag.one.setAttribute("transform", `translate(${dx} ${dy})`);
    }
    const over = under(event.clientX, event.clientY, drag.one) || null;
    if (over === drag.over) return;
    drag.over?.classList.remove("step-over");
    over?.classList.add("step-over");
    drag.over = over;
  });
  function drop(done) {
    if (!drag) return;
    const { one, wire, over, moved, dx, dy } = drag, name = one.dataset.step;
    drag = null;
    over?.classList.remove("step-over");
    one.classList.remove("step-dragged");
    wire?.setAttribute("hidden", "");
    const back = () => one.removeAttribute("transform");
    if (!done || !moved || wire || over) back();
    if (!done) return;
    if (!moved) take(name);
    else if (wire && over) change("connect", { source: name, target: over.dataset.step }, { step: over.dataset.step });
    else if (over) change("connect", { source: over.dataset.step, target: name }, { step: name });
    else if (!wire) {
      const [x, y] = [Number(one.dataset.x) + dx, Number(one.dataset.y) + dy].map(Math.round);
      change("move", { step: name, x, y }, { step: name }).then(back);
    }
  }
  draft.addEventListener("pointerup", () => drop(true));
  draft.addEventListener("pointercancel", () => drop(false));

  // The buttons of the plain forms do the same without a new page.
  draft.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || button.name !== "change") return;
    event.preventDefault();
    event.stopPropagation(); // this form may be sent again at once
    const verb = button.value, given = {};
    for (const one of form().elements)
      if (one.name.startsWith(`${verb}-`)) given[one.name.slice(verb.length + 1)] = one.value;
    change(verb, given, given.target ? { step: given.target } : null);
  });
})();

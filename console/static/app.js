// What pages do beyond their forms and links, all of which work without this file.
"use strict";

// Times: said again as time goes by; the server wrote them first.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
function relative(at, now) {
  const away = (now - at) / 1000, seconds = Math.abs(away);
  if (seconds > 60 * 86400) return null;
  if (seconds < 5) return "now";
  const found = UNITS.find(([length]) => seconds >= length);
  const words = found ? `${Math.floor(seconds / found[0])} ${found[1]}` : `${Math.round(seconds)} s`;
  return away > 0 ? `${words} ago` : `in ${words}`;
}
function sayTimes() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[datetime]:not([data-still])")) {
    const text = relative(new Date(time.dateTime), new Date());
    if (text && time.textContent !== text) time.textContent = text;
  }
}
setInterval(sayTimes, 10000);

// Theme: system, light, dark, and system again.
function showTheme() {
  for (const name of document.querySelectorAll("[data-theme-name]"))
    name.textContent = document.documentElement.dataset.theme || "system";
}
for (const button of document.querySelectorAll("[data-theme-switch]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = { undefined: "light", light: "dark", dark: undefined }[document.documentElement.dataset.theme];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    try {
      if (next) localStorage.setItem("theme", next);
      else localStorage.removeItem("theme");
    } catch { /* a browser that keeps nothing */ }
    showTheme();
  });
}
showTheme();

// Menus close when something else is wanted.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]"))
    if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// Forms: a question before what cannot be undone, and no second sending by a double click.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sure && !confirm(form.dataset.sure)) {
    event.preventDefault();
    return;
  }
  if (form.method !== "post" || form.matches("[hx-post]")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => { delete form.dataset.sent; }, 5000);
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// A link with `data-dialog` opens its page's form in the dialog.
const dialog = document.getElementById("dialog");
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  htmx.ajax("GET", link.href, { target: "#dialog", swap: "innerHTML", select: "#main > .dialog-part" }).then(() => {
    if (!dialog.firstElementChild) { location.href = link.href; return; }
    const title = dialog.querySelector("h1, h2");
    if (title) dialog.setAttribute("aria-label", title.textContent);
    dialog.showModal();
  });
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest("[data-close]")) {
    event.preventDefault();
    dialog.close();
  }
});
dialog.addEventListener("close", () => dialog.replaceChildren());

// A file that is dropped on a form's field is chosen there.
for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    const zone = event.target.closest && event.target.closest("[data-drop]");
    if (!zone) return;
    event.preventDefault();
    zone.classList.toggle("drop-over", kind === "dragenter" || kind === "dragover");
    if (kind !== "drop" || !event.dataTransfer.files.length) return;
    const input = zone.querySelector("input[type=file]");
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
document.addEventListener("change", (event) => {
  const zone = event.target.matches("input[type=file]") && event.target.closest("[data-drop]");
  const shown = zone && zone.querySelector("[data-chosen]");
  if (shown) shown.textContent = [...event.target.files].map((file) => file.name).join(", ");
});

// A filter that applies itself when something is chosen.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-apply]");
  if (form && event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
});

// What a request in the background could not get is said, once for each sentence.
const toasts = document.getElementById("toasts");
function toast(text) {
  if ([...toasts.children].some((one) => one.textContent === text)) return;
  const note = document.createElement("div");
  note.className = "notice notice-bad";
  note.textContent = text;
  toasts.append(note);
  setTimeout(() => note.remove(), 8000);
}
document.addEventListener("htmx:sendError", () => toast("The console cannot be reached now; what you see may be old."));
document.addEventListener("htmx:responseError", (event) => {
  const answer = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html").body.textContent.trim();
  toast(answer || `The console answered ${event.detail.xhr.status}.`);
});

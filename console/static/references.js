// Offers references to assets while one is typed: in every field that says `data-references`, from the
// list of the page, or of the dialog that is open.
"use strict";

(() => {
  const BEGUN = /\{\{[A-Za-z0-9_.-]*$/;
  const MOST = 8;
  let list = null, chosen = 0;
  const fieldOf = (event) => event.target.closest?.("textarea[data-references], input[data-references]");

  function begun(field) {
    const found = BEGUN.exec(field.value.slice(0, field.selectionStart));
    return found ? found[0] : "";
  }
  function close() {
    if (!list) return;
    const field = list.field;
    field.removeAttribute("aria-controls");
    field.removeAttribute("aria-activedescendant");
    list.remove();
    list = null;
  }
  function show(field) {
    close();
    const known = [...document.querySelectorAll("#references option")].map((one) => one.value);
    const word = begun(field).toLowerCase();
    // "{{D" means the same as "{{ASSET.D": people know an asset by its name.
    const fits = word && known.filter((one) => one.toLowerCase().startsWith(word)
      || one.toLowerCase().startsWith(word.replace("{{", "{{asset."))).slice(0, MOST);
    if (!fits || !fits.length) return;
    list = document.createElement("ul");
    list.field = field;
    list.id = "offered";
    list.className = "offered";
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "References to assets");
    for (const [at, text] of fits.entries()) {
      const option = document.createElement("li");
      option.id = `offered-${at}`;
      option.setAttribute("role", "option");
      option.textContent = text;
      option.addEventListener("pointerdown", (event) => { event.preventDefault(); put(field, text); });
      list.append(option);
    }
    field.after(list);
    field.setAttribute("aria-controls", list.id);
    choose(0);
  }
  function choose(at) {
    chosen = (at + list.children.length) % list.children.length;
    for (const [place, option] of [...list.children].entries())
      option.setAttribute("aria-selected", String(place === chosen));
    list.field.setAttribute("aria-activedescendant", list.children[chosen].id);
    list.children[chosen].scrollIntoView({ block: "nearest" });
  }
  function put(field, text) {
    const end = field.selectionStart, begin = end - begun(field).length;
    // What closes a reference may stand there already.
    const rest = field.value.slice(end).replace(/^[A-Za-z0-9_.-]*\}\}/, "");
    field.value = field.value.slice(0, begin) + text + rest;
    field.setSelectionRange(begin + text.length, begin + text.length);
    close();
  }

  // Fields may come later than this script, in a dialog.
  document.addEventListener("focusin", (event) => {
    const field = fieldOf(event);
    if (!field) return;
    field.removeAttribute("list"); // one way to offer is enough
    field.setAttribute("aria-autocomplete", "list");
  });
  document.addEventListener("input", (event) => {
    const field = fieldOf(event);
    if (field) show(field);
  });
  document.addEventListener("focusout", close);
  document.addEventListener("keydown", (event) => {
    const field = fieldOf(event);
    if (!field || !list || list.field !== field) return;
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter" || event.key === "Tab") put(field, list.children[chosen].textContent);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
})();

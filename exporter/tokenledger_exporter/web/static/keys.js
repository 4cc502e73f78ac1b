// Keyboard: "/" goes to the filter, arrows move between the rows of a table, Esc leaves a field.
"use strict";

const LINKS = "tbody tr > :first-child a";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const active = document.activeElement;
  const isField = active && active.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (active) active.blur();
    return;
  }
  if (isField) return;
  if (event.key === "/") {
    const field = document.querySelector("[data-key='/']");
    if (field) {
      field.focus();
      event.preventDefault();
    }
    return;
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && moveRow(active, step)) event.preventDefault();
});

// A month is the whole period: a typed start or end replaces it.
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (form && form.month && ["since", "until"].includes(event.target.name)) form.month.value = "";
});

// On a narrow screen the navigation is one row: show the page that is open.
const current = document.querySelector("header nav [aria-current]");
if (current) current.parentElement.parentElement.scrollLeft = current.offsetLeft - 40;

// Moves from a row's link to the next one of the same table; from elsewhere, to the first row.
function moveRow(active, step) {
  const table = active && active.closest("table");
  if (!table && active !== document.body && active !== document.getElementById("main")) return false;
  const links = [...(table || document.getElementById("main")).querySelectorAll(LINKS)].filter(
    (link) => link.checkVisibility(),
  );
  const place = links.indexOf(active);
  const next = links[place < 0 ? 0 : place + step];
  if (next) next.focus();
  return Boolean(next);
}

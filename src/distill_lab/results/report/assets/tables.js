// Sorting by the headings, searching the runs, copying a command.
"use strict";
(() => {
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    const text = cell.textContent.trim();
    const plain = text.replace(/,/g, "").replace("\u2212", "-");
    const number = parseFloat(plain);
    return /^[+-]?[\d.]/.test(plain) && !Number.isNaN(number) ? number : text.toLowerCase();
  };

  // Nothing comes last, whichever way it is sorted; numbers stand before words.
  function compared(a, b, way) {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return way * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  }

  function sort(table, head) {
    const column = head.cellIndex;
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells)
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const body = table.querySelector("tbody:not(.pinned)");
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => compared(a, b, rising ? 1 : -1));
    body.append(...rows.map(([, row]) => row));
  }

  for (const table of document.querySelectorAll("table.sortable"))
    for (const button of table.querySelectorAll("button.sort"))
      button.addEventListener("click", () => sort(table, button.closest("th")));

  const field = document.getElementById("search");
  const rows = [...document.querySelectorAll("#run-table tbody tr")];
  const words = rows.map((row) => row.textContent.toLowerCase());
  const found = document.getElementById("found");
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, at) => {
      row.hidden = !wanted.every((word) => words[at].includes(word));
      if (!row.hidden) count += 1;
    });
    const every = `${rows.length} run${rows.length === 1 ? "" : "s"}`;
    found.textContent = wanted.length ? `${count} of ${every}` : every;
  });

  // A file opened from a disk may not write to the clipboard; then the command is selected.
  async function copy(button) {
    const code = button.parentNode.querySelector("code");
    let told = "Copied";
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand("copy")) told = "Selected";
    }
    button.textContent = told;
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  function show(button) {
    const open = button.closest("td").classList.toggle("open");
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Hide" : "Show";
  }
  document.getElementById("run-table").addEventListener("click", ({ target }) => {
    if (target.matches("button.copy")) copy(target);
    if (target.matches("button.show")) show(target);
  });
})();

"use strict";
// The table of trials: a click on a heading sorts, and a text field filters.
document.querySelectorAll("table.sortable").forEach(function (table) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const names = heads.map(function (head) { return head.textContent.trim(); });

  function value(row, place) {
    const cell = row.cells[place].dataset;
    if (cell.n === undefined) return cell.t;
    const number = Number(cell.n.replace("inf", "Infinity"));
    return Number.isNaN(number) ? "" : number;
  }

  function sort(place, falling) {
    const rows = Array.from(body.rows);
    rows.sort(function (a, b) {
      const x = value(a, place), y = value(b, place);
      // Empty cells stay last, numbers come before texts.
      if (x === "" || y === "") return (x === "") - (y === "");
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      const order = x < y ? -1 : x > y ? 1 : 0;
      return falling ? -order : order;
    });
    heads.forEach(function (head) { head.removeAttribute("aria-sort"); });
    heads[place].setAttribute("aria-sort", falling ? "descending" : "ascending");
    body.append(...rows);
  }

  heads.forEach(function (head, place) {
    head.querySelector("button").addEventListener("click", function () {
      sort(place, head.getAttribute("aria-sort") === "ascending");
    });
  });

  // A word must occur in the row; `column<number` and the like compare one column.
  function condition(word) {
    const parts = /^(.+?)(<=|>=|!=|=|<|>)(.+)$/.exec(word);
    const place = parts ? names.indexOf(parts[1]) : -1;
    if (place < 0) {
      const text = word.toLowerCase();
      return function (row) { return row.textContent.toLowerCase().includes(text); };
    }
    const wanted = parts[3], number = Number(wanted);
    return function (row) {
      const found = value(row, place);
      const same = typeof found === "number" ? found === number : found === wanted;
      if (parts[2] === "=") return same;
      if (parts[2] === "!=") return !same;
      if (typeof found !== "number") return false;
      return parts[2] === "<" ? found < number : parts[2] === ">" ? found > number
        : parts[2] === "<=" ? found <= number : found >= number;
    };
  }

  const tools = document.querySelector("[data-filter]");
  if (!tools) return;
  tools.hidden = false;
  const status = tools.querySelector("[role=status]");
  tools.querySelector("input").addEventListener("input", function (event) {
    const conditions = event.target.value.split(/\s+/).filter(Boolean).map(condition);
    let shown = 0;
    Array.from(body.rows).forEach(function (row) {
      row.hidden = !conditions.every(function (holds) { return holds(row); });
      shown += row.hidden ? 0 : 1;
    });
    status.textContent = conditions.length ? shown + " of " + body.rows.length + " trials" : "";
  });
});

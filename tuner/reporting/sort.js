"use strict";
document.querySelectorAll("table.sortable th").forEach(function (head) {
  head.querySelector("button").addEventListener("click", function () {
    const table = head.closest("table");
    const place = Array.prototype.indexOf.call(head.parentNode.children, head);
    const falling = head.getAttribute("aria-sort") === "ascending";
    const key = function (row) {
      const cell = row.children[place].dataset;
      return cell.n === undefined ? cell.t : Number(cell.n);
    };
    const rows = Array.from(table.tBodies[0].rows);
    rows.sort(function (a, b) {
      const x = key(a), y = key(b);
      // Empty cells stay last, numbers come before texts.
      if (x === "" || y === "") return (x === "") - (y === "");
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      const order = x < y ? -1 : x > y ? 1 : 0;
      return falling ? -order : order;
    });
    head.parentNode.querySelectorAll("th").forEach(function (other) {
      other.removeAttribute("aria-sort");
    });
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  });
});

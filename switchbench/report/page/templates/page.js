"use strict";
// Adds sorting and filtering to tables that are complete without it.
for (const table of document.querySelectorAll("table[data-rows]")) {
  const bodies = [...table.tBodies];
  const home = bodies.flatMap((body) => [...body.rows].map((row) => ({ row, body })));
  if (home.length < 2) continue;
  const box = table.closest(".scroll");
  const said = document.createElement("span");
  said.setAttribute("role", "status");

  const keyOf = (row, i) => row.cells[i].dataset.sort;
  const rank = (key) => (key === "" ? 2 : Number.isNaN(Number(key)) ? 1 : 0);
  const compare = (a, b) =>
    rank(a) === 0 && rank(b) === 0 ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });

  const sort = (heading, i) => {
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    const order = next[heading.getAttribute("aria-sort")];
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", order);
    table.classList.toggle("sorted", order !== "none");
    if (order === "none") {
      for (const { row, body } of home) body.append(row);
      said.textContent = "In the original order.";
      return;
    }
    const sign = order === "ascending" ? 1 : -1;
    const sorted = home.map(({ row }) => row).sort((one, other) => {
      const [a, b] = [keyOf(one, i), keyOf(other, i)];
      return rank(a) - rank(b) || sign * compare(a, b);
    });
    bodies[0].append(...sorted);
    said.textContent = `Sorted by ${heading.dataset.name}, ${order}.`;
  };

  [...table.tHead.rows[0].cells].forEach((heading, i) => {
    const words = heading.querySelector(".head");
    const button = document.createElement("button");
    button.type = "button";
    words.replaceWith(button);
    button.append(words);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(heading, i));
  });

  const bar = document.createElement("div");
  bar.className = "filter";
  if (home.length > 5) {
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "Filter rows";
    input.setAttribute("aria-label", `Filter the rows of ${table.dataset.title}`);
    const texts = new Map(home.map(({ row }) => [row, row.textContent.toLowerCase()]));
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text] of texts) {
        row.hidden = !words.every((word) => text.includes(word));
        if (!row.hidden) shown += 1;
      }
      said.textContent = words.length ? `${shown} of ${home.length} rows` : "";
    });
    bar.append(input);
  }
  bar.append(said);
  box.before(bar);
}

// Only what scrolls needs to be reached with the keyboard.
const reach = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll(".scroll, pre")) reach.observe(box);

// Paper cannot be opened.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

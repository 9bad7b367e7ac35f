// Searching, sorting and copying. The pages can be read without it.
"use strict";

function setUpTable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const count = document.getElementById("count");
  const query = document.getElementById("query");
  const collator = new Intl.Collator("en", { numeric: true });
  const rows = [...body.rows].map((row) => ({
    row,
    words: `${row.textContent} ${row.dataset.words || ""}`.toLowerCase(),
    values: heads.map((head, at) =>
      head.dataset.sort === "number" ? Number(row.cells[at].dataset.value) : row.cells[at].textContent),
  }));

  function search() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const one of rows) {
      const fits = words.every((word) => one.words.includes(word));
      if (one.row.hidden === fits) one.row.hidden = !fits;
      shown += fits;
    }
    const all = `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "assembly" : "assemblies"}`;
    count.textContent = words.length ? `${shown.toLocaleString("en")} of ${all}` : all;
  }

  function sort(at) {
    const descending = heads[at].getAttribute("aria-sort") === "ascending";
    const compare = heads[at].dataset.sort === "number" ? (a, b) => a - b : collator.compare;
    const sign = descending ? -1 : 1;
    rows.sort((a, b) => sign * compare(a.values[at], b.values[at]));
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[at].setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...rows.map((one) => one.row));
  }

  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(at));
    head.append(button);
  });
  query.addEventListener("input", search);
  document.getElementById("search").hidden = false;
  if (query.value) search();  // a browser may keep it when the page is shown again
}

async function copy(block) {
  try {
    await navigator.clipboard.writeText(block.textContent);
  } catch {  // not allowed, or not on this page
    getSelection().selectAllChildren(block);
    if (!document.execCommand("copy")) return "Not copied: press Ctrl-C to copy the selected text.";
  }
  return "Copied.";
}

function setUpCopying(figure) {
  const block = figure.querySelector("pre");
  const title = figure.querySelector("figcaption").textContent;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `Copy ${title}`;
  const status = document.createElement("span");
  status.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    status.textContent = "";
    status.textContent = ` ${await copy(block)}`;
  });
  figure.append(button, status);
}

const table = document.getElementById("assemblies");
if (table) setUpTable(table);
document.querySelectorAll("figure.code").forEach(setUpCopying);

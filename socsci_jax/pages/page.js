"use strict";
// Sorting, filtering and downloading of tables, values of plots, the theme. The page is whole without it.
(() => {
  const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

  // Tips: of marks in plots and of terms; by pointer, by focus, and by arrow keys within a plot.
  const tip = document.getElementById("tip");
  let lit = null;
  const show = (mark) => {
    if (lit) lit.classList.remove("lit");
    lit = mark;
    if (!mark) { tip.hidden = true; return; }
    if (mark.closest("svg")) mark.classList.add("lit");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const at = mark.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(4, at.left + at.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 4);
    const above = at.top - own.height - 8;
    tip.style.setProperty("left", `${left + scrollX}px`);
    tip.style.setProperty("top", `${(above > 0 ? above : at.bottom + 8) + scrollY}px`);
  };
  const nearest = (svg, x, y) => {
    let best = null, least = 16;
    for (const mark of svg.querySelectorAll("[data-tip]")) {
      const at = mark.getBoundingClientRect();
      const away = Math.hypot(Math.max(at.left - x, 0, x - at.right), Math.max(at.top - y, 0, y - at.bottom));
      if (away < least) { least = away; best = mark; }
    }
    return best;
  };
  document.addEventListener("pointermove", (event) => {
    const over = event.target.closest?.("[data-tip]");
    const svg = event.target.closest?.(".plot svg");
    const found = over ?? (svg ? nearest(svg, event.clientX, event.clientY) : null);
    if (found !== lit) show(found);
  });
  document.addEventListener("focusin", (event) => show(event.target.closest?.("[data-tip]") ?? null));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { show(null); return; }
    const plot = document.activeElement?.closest?.(".plot");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!plot || !step) return;
    const marks = [...plot.querySelectorAll("[data-tip]")];
    if (!marks.length) return;
    event.preventDefault();
    const place = marks.indexOf(lit);
    show(marks[place < 0 ? (step > 0 ? 0 : marks.length - 1) : (place + step + marks.length) % marks.length]);
  });

  // Tables.
  const sortKey = (cell) => {
    const given = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(given);
    return given === "" || given === "–" ? null : Number.isNaN(number) ? given : number;
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sort = (table, column, down) => {
    const body = table.tBodies[0], rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
    // What is missing stays last, whichever way the rest goes.
    rows.sort(([a], [b]) => (down && a !== null && b !== null ? compare(b, a) : compare(a, b)));
    body.append(...rows.map(([, row]) => row));
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      if (place === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  const quoted = (text) => {
    const number = text !== "" && !Number.isNaN(Number(text));
    const safe = !number && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // a spreadsheet would run it
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = (table) => {
    const heads = [...table.tHead.rows[0].cells].map((cell) => quoted(cell.textContent.trim()));
    const numeric = [...table.tHead.rows[0].cells].map((cell) => cell.classList.contains("number"));
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const line = (row) => [...row.cells].map((cell, place) => quoted((numeric[place] ? cell.dataset.value : undefined) ?? cell.textContent.trim())).join(",");
    return [heads.join(","), ...rows.map(line)].join("\n") + "\n";
  };
  const equip = (frame) => {
    const table = frame.querySelector("table"), scroll = frame.querySelector(".scroll");
    const rows = table.tBodies[0].rows, all = rows.length;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button" });
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") === "ascending"));
      head.append(button);
    });
    const tools = make("div", { className: "tools" });
    if (all > 8) {
      const input = make("input", { type: "search", placeholder: "Filter rows" });
      const count = make("span", { className: "count", textContent: `${all} rows` });
      input.setAttribute("aria-label", `Filter rows of ${table.caption.textContent}`);
      count.setAttribute("role", "status");
      input.addEventListener("input", () => {
        const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        let kept = 0;
        for (const row of rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = !words.every((word) => text.includes(word));
          kept += !row.hidden;
        }
        count.textContent = kept === all ? `${all} rows` : `${kept} of ${all} rows`;
      });
      tools.append(input, count);
    }
    if (all > 16) scroll.classList.add("tall");
    const download = make("button", { type: "button", textContent: "Download CSV" });
    download.addEventListener("click", () => {
      const link = make("a", { href: URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" })), download: `${frame.dataset.name}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    tools.append(download);
    frame.prepend(tools);
  };
  document.querySelectorAll(".table").forEach(equip);

  // Texts to paste.
  for (const block of document.querySelectorAll(".paste")) {
    const button = make("button", { type: "button", textContent: "Copy" });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("p").textContent);
      button.textContent = "Copied";
    });
    block.append(button);
  }

  // Contents are open where there is room, everything is open on paper.
  const list = document.querySelector(".contents-list");
  list.open = matchMedia("(min-width: 70rem)").matches;
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("main details:not([open]):not(.values)")];
    closed.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));

  // Theme: that of the system until somebody chooses; kept where the browser allows it.
  const root = document.documentElement, button = document.querySelector(".theme");
  const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  if (kept() === "dark" || kept() === "light") root.dataset.theme = kept();
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page opened from a disk may have none */ }
    name();
  });
})();

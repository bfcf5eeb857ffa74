// What the pages do beyond showing: keys, marks on rows, parts that come anew, plots. Without it all of them work.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = text => { document.getElementById("said").textContent = text; };
  const types = target => target.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  const GO = { o: "/console", j: "/console/jobs", f: "/console/jobs/failures", w: "/console/workers", g: "/console/groups", s: "/console/schedules", l: "/console/lambdas", n: "/console/functions" };
  let row = "", before = "";

  const mark = to => {
    all("tr.here").forEach(each => each.classList.remove("here"));
    if (!to) return;
    row = to.dataset.row;
    to.classList.add("here");
    to.scrollIntoView({ block: "nearest" });
    to.querySelector("[data-open], a")?.focus({ preventScroll: true });
  };
  const move = by => {
    const rows = all("tr[data-row]");
    if (!rows.length) return;
    const at = rows.findIndex(each => each.dataset.row === row);
    mark(rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))]);
  };
  const current = () => document.querySelector("tr.here");
  const keys = () => document.getElementById("keys");
  const KEYS = {
    "/": () => { const field = document.getElementById("search"); field?.focus(); field?.select(); },
    "?": () => keys().showModal(),
    j: () => move(1),
    k: () => move(-1),
    x: () => { const tick = current()?.querySelector("input[type=checkbox]"); if (tick) tick.click(); },
    Enter: () => current()?.querySelector("[data-open], a")?.click(),
  };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (types(event.target)) { if (event.key === "Escape") event.target.blur(); return; }
    if (before === "g" && GO[event.key]) { event.preventDefault(); location.href = GO[event.key]; return; }
    before = event.key;
    if (event.key === "Enter" && event.target.matches("a, button, summary, input")) return;
    const act = KEYS[event.key];
    if (act && !keys().open) { event.preventDefault(); act(); }
  });

  const countTicks = () => {
    const ticks = all("input[name=id]"), chosen = ticks.filter(each => each.checked).length;
    all("[data-selected]").forEach(each => { each.textContent = chosen ? `${chosen} selected` : "selected"; });
    all("[data-all]").forEach(each => { each.checked = chosen > 0 && chosen === ticks.length; each.indeterminate = chosen > 0 && chosen < ticks.length; });
  };
  document.addEventListener("change", event => {
    if (event.target.matches("[data-all]")) all("input[name=id]").forEach(each => { each.checked = event.target.checked; });
    if (event.target.matches("[data-all], input[name=id]")) countTicks();
    if (event.target.matches("input[type=range][data-shows]")) document.getElementById(event.target.dataset.shows).textContent = event.target.value;
  });
  document.addEventListener("input", event => {
    if (event.target.dataset.chooses) document.getElementById(event.target.dataset.chooses).checked = true;
    if (event.target.matches("input[type=range][data-shows]")) document.getElementById(event.target.dataset.shows).textContent = event.target.value;
    if (event.target.matches("[data-seeks]")) seek(event.target);
  });
  document.addEventListener("click", event => {
    const copies = event.target.closest("[data-copies]");
    if (copies) navigator.clipboard?.writeText(document.getElementById(copies.dataset.copies).textContent).then(() => say("Copied"));
    if (event.target.closest("[data-keys]")) keys().showModal();
    const at = event.target.closest("tr[data-row]");
    if (at) { all("tr.here").forEach(each => each.classList.remove("here")); at.classList.add("here"); row = at.dataset.row; }
  });

  // Lines of a log that have a text.
  const seek = field => {
    const log = document.getElementById(field.dataset.seeks), wanted = field.value.toLowerCase();
    if (log.full === undefined) log.full = log.textContent;
    log.textContent = wanted ? log.full.split("\n").filter(line => line.toLowerCase().includes(wanted)).join("\n") : log.full;
  };

  // A part that comes anew must not take away what somebody is about to do.
  document.addEventListener("htmx:beforeRequest", event => {
    const part = event.target;
    if (!(part.getAttribute("hx-trigger") || "").startsWith("every")) return;
    const busy = part.querySelector("input:checked:not([type=radio]), details.sure[open]") || document.hidden || keys().open || (getSelection()?.toString() && part.contains(getSelection().anchorNode));
    if (busy || part.contains(document.activeElement) && types(document.activeElement)) event.preventDefault();
  });
  // Narrow screens hide the heads of columns: numbers and times are shown with the names of theirs.
  const nameCells = () => all("table.list").forEach(table => {
    const names = [...(table.tHead?.rows[0]?.cells ?? [])].map(head => head.textContent.trim());
    table.querySelectorAll("td.num, td.when").forEach(cell => { cell.dataset.name = names[cell.cellIndex] ?? ""; });
  });
  const spots = {};
  let open = [];
  document.addEventListener("htmx:beforeSwap", () => {
    all("[data-log]").forEach(log => { spots[log.id] = { top: log.scrollTop, follow: log.dataset.follow }; });
    open = all("details[id][open]").map(each => each.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    open.forEach(id => document.getElementById(id)?.setAttribute("open", ""));
    const again = row && document.querySelector(`tr[data-row="${CSS.escape(row)}"]`);
    if (again) { again.classList.add("here"); }
    countTicks();
    nameCells();
    all("[data-log]").forEach(log => {
      const spot = spots[log.id];
      if (spot?.follow === "no") { log.dataset.follow = "no"; log.scrollTop = spot.top; } else log.scrollTop = log.scrollHeight;
    });
    const told = document.querySelector("[data-tell]");
    if (told && told.dataset.tell !== say.last) { if (say.last) say(told.dataset.tell); say.last = told.dataset.tell; }
    draw();
  });
  document.addEventListener("scroll", event => {
    const log = event.target;
    if (log.dataset?.log !== undefined) log.dataset.follow = log.scrollHeight - log.scrollTop - log.clientHeight < 20 ? "yes" : "no";
  }, true);

  // Files that are dropped on a form.
  ["dragover", "dragleave", "drop"].forEach(kind => document.addEventListener(kind, event => {
    const place = event.target.closest?.(".drop");
    if (!place) return;
    event.preventDefault();
    place.classList.toggle("over", kind === "dragover");
    if (kind !== "drop") return;
    const field = place.querySelector("input[type=file]");
    field.files = event.dataTransfer.files;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }));

  // Plots: a JSON list of columns, the first with times.
  const draw = () => all("[data-plot]").forEach(place => {
    if (place.drawn || !window.uPlot) return;
    place.drawn = true;
    const { columns, names } = JSON.parse(place.dataset.plot);
    const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
    const colours = ["--good", "--bad", "--run", "--warn"].map(colour), quiet = colour("--quiet"), line = colour("--line");
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" };
    const wide = () => Math.max(200, place.clientWidth - 18);
    const plot = new uPlot({
      width: wide(), height: 180, padding: [8, 8, 0, 0], axes: [axis, { ...axis, size: 46 }], cursor: { points: { size: 6 } },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      series: [{}, ...names.map((label, i) => ({ label, stroke: colours[i], width: 1.5, points: { show: false }, spanGaps: false }))],
    }, columns, place);
    addEventListener("resize", () => plot.setSize({ width: wide(), height: 180 }));
  });
  addEventListener("DOMContentLoaded", () => {
    draw();
    countTicks();
    nameCells();
    const told = document.querySelector("[data-tell]");
    if (told) say.last = told.dataset.tell;
    all("[data-log]").forEach(log => { log.scrollTop = log.scrollHeight; });
  });
})();

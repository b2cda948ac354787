// What pages do with a script: charts that can be zoomed, keys, and questions before something is deleted.
// Without it everything else still works.
"use strict";

const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(place, shape = 0.42) {
  const data = JSON.parse(place.dataset.plot);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") }, font: "12px system-ui" };
  const series = data.series.map((one) => ({
    label: one.name,
    stroke: colour(`--c${one.colour}`),
    width: one.dash ? 1.5 : 2.5,
    dash: DASHES[one.dash],
    spanGaps: true,
  }));
  const size = () => ({ width: place.clientWidth, height: Math.max(160, Math.round(place.clientWidth * shape)) });
  const drawing = place.querySelector("svg");
  place.setAttribute("role", "group");
  if (drawing) place.setAttribute("aria-label", drawing.getAttribute("aria-label"));
  place.replaceChildren();
  const plot = new uPlot(
    {
      ...size(),
      scales: { x: { time: false } },
      axes: [{ ...axis, label: data.x, labelFont: "12px system-ui", labelSize: 20 }, { ...axis, label: data.y, labelFont: "12px system-ui", labelSize: 20, size: 56 }],
      series: [{ label: data.x }, ...series],
      legend: { live: true },
    },
    [data.xs, ...data.series.map((one) => one.ys)],
    place,
  );
  new ResizeObserver(() => {
    const wanted = size();
    if (wanted.width && Math.abs(wanted.width - plot.width) > 1) plot.setSize(wanted);
  }).observe(place);
  return plot;
}

function drawAll() {
  if (window.uPlot) document.querySelectorAll("[data-plot]").forEach((place) => draw(place));
}

// j and k go from row to row, c compares what is chosen, / searches.
function rows() {
  return [...document.querySelectorAll("[data-row] a.title")];
}

function go(by) {
  const all = rows();
  if (!all.length) return;
  const here = all.indexOf(document.activeElement);
  const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, here + by));
  all[next].focus();
  all[next].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const act = {
    j: () => go(1),
    k: () => go(-1),
    c: () => document.querySelector("[data-compare]")?.click(),
    "/": () => document.querySelector("#search")?.focus(),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

function addCopyButtons(root) {
  for (const place of root.querySelectorAll("pre[data-copy]")) {
    if (place.nextElementSibling?.matches("button[data-copies]")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.copies = "";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(place.textContent);
      button.textContent = "Copied";
    });
    place.after(button);
  }
}

drawAll();
addCopyButtons(document);
document.addEventListener("htmx:after:swap", () => addCopyButtons(document));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());

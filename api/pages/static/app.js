// What pages do with a script: charts that can be zoomed, keys, and questions before something is deleted.
// Without it everything else still works.
"use strict";

const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function short(value) {
  if (value === null) return "–";
  for (const [size, sign] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(4))}${sign}`;
  }
  return String(Number(value.toPrecision(3)));
}

// A value with its interval across the whole chart: the native reward.
function paintLevel(plot, level) {
  if (!level) return;
  const [low, mean, high] = level.map((value) => plot.valToPos(value, "y", true));
  const { left, width } = plot.bbox;
  plot.ctx.save();
  plot.ctx.fillStyle = plot.ctx.strokeStyle = colour("--c8");
  plot.ctx.globalAlpha = 0.18;
  plot.ctx.fillRect(left, high, width, Math.max(1, low - high));
  plot.ctx.globalAlpha = 1;
  plot.ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  plot.ctx.beginPath();
  plot.ctx.moveTo(left, mean);
  plot.ctx.lineTo(left + width, mean);
  plot.ctx.stroke();
  plot.ctx.restore();
}

// The band between the lowest and the highest seed, under the lines.
function paintBands(plot, series) {
  for (const one of series.filter((found) => found.band)) {
    const [xs, low, high] = one.band;
    const place = (x, y) => [plot.valToPos(x, "x", true), plot.valToPos(y, "y", true)];
    const corners = [...xs.map((x, n) => place(x, high[n])), ...xs.map((x, n) => place(x, low[n])).reverse()];
    plot.ctx.save();
    plot.ctx.globalAlpha = 0.14;
    plot.ctx.fillStyle = colour(`--c${one.colour}`);
    plot.ctx.beginPath();
    corners.forEach(([x, y], n) => (n ? plot.ctx.lineTo(x, y) : plot.ctx.moveTo(x, y)));
    plot.ctx.fill();
    plot.ctx.restore();
  }
}

function draw(place, shape = 0.42) {
  const data = JSON.parse(place.dataset.plot);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") }, font: "12px system-ui", labelFont: "12px system-ui", labelSize: 20 };
  const whole = data.xs.every(Number.isInteger) && data.xs.length < 20;
  const along = (_, values) => values.map((value) => (whole && !Number.isInteger(value) ? "" : short(value)));
  const series = data.series.map((one) => ({
    label: one.name,
    stroke: colour(`--c${one.colour}`),
    width: one.dash ? 1.5 : 2.5,
    dash: DASHES[one.dash],
    spanGaps: true,
    value: (_, value) => short(value),
  }));
  const size = () => ({ width: place.clientWidth, height: Math.max(160, Math.round(place.clientWidth * shape)) });
  const drawing = place.querySelector("svg");
  place.setAttribute("role", "group");
  if (drawing) place.setAttribute("aria-label", drawing.getAttribute("aria-label"));
  place.replaceChildren();
  const key = place.nextElementSibling;
  if (key?.classList.contains("key")) key.hidden = true;
  const plot = new uPlot(
    {
      ...size(),
      scales: { x: { time: false }, y: { range: (_, low, high) => uPlot.rangeNum(Math.min(low, ...(data.level ?? [])), Math.max(high, ...(data.level ?? [])), 0.1, true) } },
      axes: [{ ...axis, label: data.x, values: along }, { ...axis, label: data.y, size: 48, values: (_, values) => values.map(short) }],
      series: [{ label: data.x, value: (_, value) => short(value) }, ...series],
      legend: { live: true, markers: { width: 2, dash: (_, n) => (data.series[n - 1]?.dash ? "dashed" : "solid") } },
      hooks: { drawAxes: [(plot) => paintLevel(plot, data.level), (plot) => paintBands(plot, data.series)] },
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

// A trace under a video: what fields and components were at the step that is shown.
async function trace(place) {
  const video = place.querySelector("video");
  const room = place.querySelector(".trace");
  if (!place.dataset.trace || !video || !window.uPlot) return;
  const told = await (await fetch(place.dataset.trace)).json();
  const groups = Object.entries({ components: told.components, fields: told.fields, features: told.features, "native reward": { native: told.native } }).filter(([, found]) => Object.keys(found ?? {}).length);
  if (!groups.length) return;
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "What is drawn under the video");
  choice.append(...groups.map(([name]) => new Option(name)));
  const paper = document.createElement("div");
  room.replaceChildren(choice, paper);
  let plot;
  const show = () => {
    const series = Object.entries(groups[choice.selectedIndex][1]).map(([name, ys], n) => ({ name, ys, colour: n % 8, dash: Math.floor(n / 8) % 4 }));
    paper.dataset.plot = JSON.stringify({ x: "step", y: "", xs: told.steps, series });
    plot = draw(paper, 0.32);
  };
  const move = () => {
    const step = video.currentTime * place.dataset.fps * place.dataset.every;
    const at = told.steps.findIndex((one) => one >= step);
    plot.setCursor({ left: plot.valToPos(told.steps[at < 0 ? told.steps.length - 1 : at], "x"), top: 8 });
    if (!video.paused) requestAnimationFrame(move);
  };
  choice.addEventListener("change", show);
  video.addEventListener("play", () => requestAnimationFrame(move));
  video.addEventListener("seeked", move);
  show();
}

// Videos beside each other go together; more of them may come while the page is open.
function together(place) {
  const button = place.querySelector("[data-play]");
  if (!place.querySelector("video") || !button || !button.hidden) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const videos = [...place.querySelectorAll("video")];
    const stop = videos.some((video) => !video.paused);
    button.textContent = stop ? "Play together" : "Pause";
    for (const video of videos) {
      if (stop) video.pause();
      else {
        video.currentTime = 0;
        video.play();
      }
    }
  });
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

function equip() {
  document.querySelectorAll("[data-together]").forEach(together);
  addCopyButtons(document);
}

// A stream that was cut is taken up again by htmx; one that could not begin (no network, or a server that had
// more to do than it can) is asked for again here.  An asking is ignored while there is a stream.
const FEED_SECONDS = 5;

function keepFeed(place) {
  let ended = false;
  const begin = () => {
    if (!ended && !place.classList.contains("htmx-request")) place.dispatchEvent(new Event("begin"));
  };
  const timer = setInterval(begin, 1000 * FEED_SECONDS);
  window.addEventListener("online", begin);
  place.addEventListener("end", () => {
    ended = true;
    clearInterval(timer);
  });
}

drawAll();
document.querySelectorAll("[hx-sse\\:connect]").forEach(keepFeed);
document.querySelectorAll("[data-rollout]").forEach(trace);
equip();
document.addEventListener("htmx:after:swap", equip);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());

// Draws each <figure data-chart> from the table in it, so that chart and table cannot differ.
//
// The first column of the table has the labels, every <th data-series> is one series. A cell has its
// figure in <data value>; an empty value is not known and is drawn as a gap. Heights are floats;
// the texts of the tooltip are those of the table, with all digits.
"use strict";

const HEIGHT = 220;
const COLORS = 6;
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

const drawn = new WeakSet();
drawAll();
// Panels come after the page.
new MutationObserver(drawAll).observe(document.getElementById("main"), {
  childList: true,
  subtree: true,
});

function drawAll() {
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    if (drawn.has(figure)) continue;
    drawn.add(figure);
    draw(figure);
  }
}

function draw(figure) {
  const chart = read(figure);
  if (!chart.labels.length) return;
  const box = figure.querySelector(".plot");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  let plot;
  const redraw = () => {
    if (plot) plot.destroy();
    plot = new uPlot(options(chart, box, tip), data(chart), box);
    plot.over.append(tip);
    plot.over.addEventListener("click", () => follow(chart, plot.cursor.idx));
  };
  redraw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => {
    if (box.clientWidth && box.clientWidth !== plot.width) {
      plot.setSize({ width: box.clientWidth, height: HEIGHT });
    }
  }).observe(box);
}

// The labels, links and series of a figure's table. Series of bars are read from the bottom up.
function read(figure) {
  const table = figure.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  if (figure.dataset.order === "newest") rows.reverse();
  const series = [];
  heads.forEach((head, column) => {
    if (head.dataset.series === undefined) return;
    const cells = rows.map((row) => row.cells[column].querySelector("data"));
    series.push({
      name: head.textContent.trim(),
      isDashed: head.dataset.series === "dashed",
      values: cells.map((cell) => (cell && cell.value !== "" ? Number(cell.value) : null)),
      texts: cells.map((cell) => (cell ? cell.title || cell.textContent : "")),
    });
  });
  return {
    isStacked: figure.dataset.chart === "bars",
    unit: figure.dataset.unit || "",
    labels: rows.map((row) => row.cells[0].textContent.trim()),
    links: rows.map((row) => row.cells[0].querySelector("a")),
    totals: rows.map((row) => {
      const cell = row.querySelector("[data-total] data");
      return cell ? cell.title || cell.textContent : "";
    }),
    series,
  };
}

// uPlot does not stack: each bar is drawn up to the sum of those below it, the highest one first.
function data(chart) {
  const places = chart.labels.map((_, place) => place);
  if (!chart.isStacked) return [places, ...chart.series.map((series) => series.values)];
  const sums = [];
  const heights = chart.labels.map(() => 0);
  for (const series of chart.series) {
    sums.push(
      series.values.map((value, place) => {
        heights[place] += value || 0;
        return value === null && !heights[place] ? null : heights[place];
      }),
    );
  }
  return [places, ...sums.reverse()];
}

function options(chart, box, tip) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const series = chart.series.map((each, number) => {
    const stroke = color(`--chart-${(number % COLORS) + 1}`);
    if (chart.isStacked) {
      return { fill: stroke, stroke, width: 0, points: { show: false }, paths: bars(chart) };
    }
    return { stroke, width: 2, dash: each.isDashed ? [5, 5] : undefined, points: { show: false } };
  });
  if (chart.isStacked) series.reverse();
  const axis = { stroke: color("--quiet"), ticks: { show: false }, font: `12px ${style.fontFamily}` };
  return {
    width: box.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: !chart.isStacked } },
    scales: {
      x: { time: false, range: (_, low, high) => [low - 0.6, high + 0.6] },
      y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.08 : 1] },
    },
    series: [{}, ...series],
    axes: [
      {
        ...axis,
        size: 30,
        grid: { show: false },
        splits: () => spread(chart.labels.length, Math.max(2, Math.floor(box.clientWidth / 80))),
        values: (_, places) => places.map((place) => shortLabel(chart.labels[place] || "")),
      },
      {
        ...axis,
        size: 64,
        grid: { stroke: color("--line"), width: 1 },
        values: (_, values) => values.map((value) => short(value, chart.unit)),
      },
    ],
    hooks: { setCursor: [(plot) => showTip(plot, chart, tip)] },
  };
}

function bars(chart) {
  return uPlot.paths.bars({ size: [chart.labels.length > 40 ? 0.9 : 0.72, 46], radius: 0 });
}

// Evenly spread places of labels that do not overlap, the last one among them.
function spread(count, most) {
  const step = Math.max(1, Math.ceil(count / most));
  const places = [];
  for (let place = count - 1; place >= 0; place -= step) places.unshift(place);
  return places;
}

// "2026-11-29" as "Nov 29", "2026-11-29 14:00" as "14:00"; other labels as they are.
function shortLabel(label) {
  const [, month, day, hour] = /^\d{4}-(\d\d)-(\d\d)(?: (\d\d:00))?$/.exec(label) || [];
  return hour || (month ? `${MONTHS[month - 1]} ${Number(day)}` : label);
}

function short(value, unit) {
  if (unit === "ms" && Math.abs(value) >= 1000) return short(value / 1000, "s");
  if (unit === "%") return `${Math.round(value * 1000) / 10}%`;
  const digits = Math.abs(value) < 1 && value ? { maximumSignificantDigits: 2 } : {};
  const shape = { notation: "compact", maximumFractionDigits: 2, ...digits };
  const text = new Intl.NumberFormat("en-US", shape).format(value);
  return unit === "$" ? `$${text}` : `${text}${unit && ` ${unit}`}`;
}

function showTip(plot, chart, tip) {
  const place = plot.cursor.idx;
  tip.hidden = place === null || place === undefined || plot.cursor.left < 0;
  if (tip.hidden) return;
  const lines = [line("tip-head", chart.labels[place], chart.totals[place])];
  chart.series.forEach((series, number) => {
    if (!series.texts[place] || (chart.isStacked && !series.values[place] && series.values[place] !== null)) return;
    const item = line("", series.name, series.texts[place]);
    item.dataset.color = String((number % COLORS) + 1);
    lines.push(item);
  });
  if (chart.isStacked) lines.splice(1, lines.length - 1, ...lines.slice(1).reverse());
  tip.replaceChildren(...lines);
  const isRight = plot.cursor.left > plot.over.clientWidth / 2;
  tip.style.left = isRight ? "auto" : `${plot.cursor.left + 14}px`;
  tip.style.right = isRight ? `${plot.over.clientWidth - plot.cursor.left + 14}px` : "auto";
}

function line(name, label, text) {
  const item = document.createElement("p");
  item.className = name;
  const [left, right] = [document.createElement("bdi"), document.createElement("span")];
  left.textContent = label;
  right.textContent = text;
  item.append(left, right);
  return item;
}

function follow(chart, place) {
  const link = chart.links[place];
  if (link) link.click();
}

// Curves over the steps of a training, drawn by uPlot. The values stand in a table, too.

import uPlot from "../vendor/uPlot.esm.js";
import { h } from "./dom.js";
import { number, t } from "./i18n.js";

const HEIGHT = 260;
const font = (weight, size) => `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];

/** Return the value of a colour of the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Return how the curve with a number looks: no two have the same colour and the same dashes. */
export function look(index) {
  return { stroke: colour(`series-${(index % 8) + 1}`), dash: DASHES[(index + Math.floor(index / 8)) % DASHES.length] };
}

/**
 * Make a chart.
 *
 * `curves` have a label, an axis (`left` or `right`), a look, points of step and value. `marks` have a step
 * and a text. `summary` says in a sentence what a person sees.
 */
export function makeChart({ curves, marks = [], axes, summary }) {
  const canvas = h("div", { class: "chart", role: "img", "aria-label": summary });
  const legend = h("ul", { class: "legend" }, curves.map((curve) => h("li", {}, sample(curve.look), curve.label)));
  const element = h("div", {}, legend, canvas);
  const steps = [...new Set(curves.flatMap((curve) => curve.points.map(([step]) => step)))].sort((a, b) => a - b);
  const data = [steps, ...curves.map(({ points }) => {
    const values = new Map(points);
    return steps.map((step) => values.get(step) ?? null);
  })];
  let plot = null;

  const draw = () => {
    plot?.destroy();
    const width = canvas.clientWidth;
    if (width) plot = new uPlot(options({ curves, marks, axes, width }), data, canvas);
  };
  new ResizeObserver(() => {
    if (plot === null) draw();
    else if (canvas.clientWidth !== plot.width) plot.setSize({ width: canvas.clientWidth, height: HEIGHT });
  }).observe(canvas);
  return { element, redraw: draw };
}

function options({ curves, marks, axes, width }) {
  const [text, grid] = [colour("muted"), colour("line")];
  const axis = (more) => ({
    stroke: text,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1, size: 4 },
    font: font(400, 12),
    labelFont: font(400, 12),
    labelSize: 18,
    ...more,
  });
  const numbers = (_, values) => values.map((value) => (value === null ? "" : number(value)));
  const used = Object.entries(axes).filter(([scale]) => curves.some((curve) => curve.axis === scale));
  return {
    width,
    height: HEIGHT,
    padding: [18, used.length > 1 ? 4 : 14, 0, 0],
    legend: { show: false },
    cursor: { drag: { setScale: false }, points: { size: 7 } },
    scales: { x: { time: false }, left: {}, right: {} },
    axes: [
      axis({ label: t("curve.step"), size: 34, values: numbers }),
      ...used.map(([scale, label], index) =>
        axis({ scale, label, side: index ? 1 : 3, size: 52, values: numbers, grid: { show: !index, stroke: grid, width: 1 } }),
      ),
    ],
    series: [
      {},
      ...curves.map((curve) => ({
        label: curve.label,
        scale: curve.axis,
        stroke: curve.look.stroke,
        dash: curve.look.dash,
        width: 2,
        spanGaps: true,
        points: { show: true, size: 5, fill: curve.look.stroke },
      })),
    ],
    hooks: { draw: [(plot) => drawMarks(plot, marks)] },
  };
}

function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = font(600, 11 * ratio);
  ctx.fillStyle = ctx.strokeStyle = colour("text");
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  for (const { step, text } of marks) {
    const x = Math.round(plot.valToPos(step, "x", true));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const half = ctx.measureText(text).width / 2;
    ctx.textAlign = "center";
    ctx.fillText(text, Math.min(Math.max(x, bbox.left + half), bbox.left + bbox.width - half), bbox.top - 6 * ratio);
  }
  ctx.restore();
}

/** Make a short piece of a curve, for a legend. */
export function sample({ stroke, dash }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 26 8", class: "sample", "aria-hidden": "true" })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ d: "M1 4h24", stroke, "stroke-width": 2.5, "stroke-dasharray": dash.join(" ") })) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

// Metrics of several trainings next to each other, as numbers and bars.

import { h } from "./dom.js";
import { LOCALE, number, percent, t } from "./i18n.js";
import { scrollable } from "./parts.js";

const HIGHER = /bleu|rouge|acc|f1|precision|recall|score|pass/i;
const LOWER = /loss|perplex|ppl|error|wer|cer/i;

/** Return 1 where more is better, -1 where less is, 0 where nobody knows. */
export function direction(name) {
  if (LOWER.test(name)) return -1;
  return HIGHER.test(name) ? 1 : 0;
}

/** Return a metric as a person reads it: most are shares. */
export function shown(name, value) {
  if (value === undefined || value === null) return "–";
  return direction(name) >= 0 && value >= 0 && value <= 1 ? percent(value, 2) : number(value);
}

/**
 * Make a table with a column for each training. `columns` have a heading, metrics, and whether they are `main`;
 * with `compared`, the first says how it differs from the second.
 */
export function metricsTable(columns, { label, compared = false }) {
  const names = [...new Set(columns.flatMap((column) => Object.keys(column.metrics)))];
  const head = h("tr", {}, h("th", { scope: "col" }, t("metrics.name")), columns.map((column) => h("th", { scope: "col", class: column.main ? "main" : "" }, column.heading)));
  const rows = names.map((name) => {
    const values = columns.map((column) => column.metrics[name]);
    const present = values.filter((value) => value !== undefined);
    // A share is a share of a whole; anything else, of the largest.
    const isShare = present.every((value) => shown(name, value).endsWith("%"));
    const most = isShare ? 1 : Math.max(...present.map(Math.abs), Number.MIN_VALUE);
    const best = direction(name) * Math.max(...present.map((value) => direction(name) * value));
    const cells = columns.map((column, index) => {
      const value = values[index];
      const change = compared && index === 0 ? delta(name, value, values[1]) : null;
      const isBest = direction(name) !== 0 && present.length > 1 && value === best;
      return h(
        "td",
        { class: column.main ? "main" : "" },
        h("div", { class: "value" }, h("span", { class: isBest ? "best" : "" }, shown(name, value), isBest && h("span", { class: "hidden" }, ` (${t("metrics.best")})`)), change),
        value !== undefined && h("div", { class: "bar", "aria-hidden": "true" }, h("div", { style: { width: `${(100 * Math.abs(value)) / most}%` } })),
      );
    });
    return h("tr", {}, h("th", { scope: "row" }, name), cells);
  });
  return scrollable(label, h("table", { class: "metrics" }, h("thead", {}, head), h("tbody", {}, rows)));
}

function delta(name, value, before) {
  if (value === undefined || before === undefined) return null;
  const difference = value - before;
  const sign = direction(name);
  const isShare = shown(name, value).endsWith("%");
  const size = isShare
    ? `${new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 2, minimumFractionDigits: 2 }).format(Math.abs(difference) * 100)} pp`
    : number(Math.abs(difference));
  if (difference === 0) return h("span", { class: "delta", title: t("metrics.same") }, "=", h("span", { class: "hidden" }, t("metrics.same")));
  const arrow = difference > 0 ? "▲" : "▼";
  const word = sign === 0 ? (difference > 0 ? "up" : "down") : difference * sign > 0 ? "better" : "worse";
  const text = t(`metrics.${word}`, { value: size });
  return h("span", { class: `delta ${word}`, title: text }, h("span", { "aria-hidden": "true" }, `${arrow} ${size}`), h("span", { class: "hidden" }, text));
}

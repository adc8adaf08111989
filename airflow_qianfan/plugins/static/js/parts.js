// What both pages are made of.

import { follow, runUrl } from "./airflow.js";
import { h, icon } from "./dom.js";
import { known, percent, shortDateTime, t } from "./i18n.js";

/** Make a badge for the state of an object or a row: a word and a sign, so that no colour is needed. */
export function badge({ state, phase, is_waiting }) {
  if (!state) return h("span", { class: "badge" }, t("state.unknown"));
  const sign = is_waiting ? "waiting" : phase ?? "active";
  const meaning = phase ? known("phase", phase) : null;
  return h("span", { class: `badge ${sign}` }, icon(sign), state, meaning && h("span", { class: "hidden" }, ` (${meaning})`));
}

const AIRFLOW_PHASES = { success: "succeeded", failed: "failed", upstream_failed: "failed", running: "active", deferred: "active" };

/** Make a badge for a state of a task in Airflow. */
export function taskBadge(state) {
  const sign = AIRFLOW_PHASES[state] ?? (state === "skipped" || state === "removed" ? "stopped" : "waiting");
  return h("span", { class: `badge ${sign}` }, icon(sign), (state ?? "–").replaceAll("_", " "));
}

/** Make a bar that says how much is done; empty where nobody knows. */
export function progressBar(share, phase, { label = t("progress.label"), small = false } = {}) {
  const value = share === null || share === undefined ? null : Math.round(share * 100);
  const bar = h(
    "div",
    {
      class: `progress ${phase ?? ""} ${value === null ? "unknown" : ""}`,
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": value,
    },
    h("div", { style: { width: `${value ?? 0}%` } }),
  );
  return h("div", { class: small ? "progress-line small" : "progress-line" }, bar, h("span", { class: "percent" }, percent(share)));
}

/** Make a link to a page of Airflow, given as an address. */
export function airflowLink(url, ...children) {
  return h("a", { href: url, target: "_top", onclick: (event) => follow(event, url, { newTab: false }) }, ...children);
}

/** Make a link to a page elsewhere; only what is an address of the web becomes one. */
export function externalLink(url, ...children) {
  if (!/^https?:\/\//i.test(url)) return h("span", {}, ...children);
  const open = (event) => follow(event, url, { newTab: true });
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer", class: "external", onclick: open }, ...children, icon("external"));
}

/** Make an id that a click copies. */
export function copyable(id) {
  const sign = h("span", { class: "sign" }, icon("copy"));
  const button = h(
    "button",
    {
      type: "button",
      class: "copy",
      title: t("ids.copy", { id }),
      "aria-label": t("ids.copy", { id }),
      dataset: { focus: `copy-${id}` },
      onclick: async () => {
        await copy(id);
        sign.replaceChildren(icon("succeeded"), h("span", { role: "status" }, t("ids.copied")));
        setTimeout(() => sign.replaceChildren(icon("copy")), 2000);
      },
    },
    h("code", {}, id),
    sign,
  );
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A frame may not, and a page without https has no clipboard.
    const area = h("textarea", { class: "hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Make a card with a heading. */
export function card(title, ...children) {
  return [h("h2", {}, title), ...children.flat()];
}

/** Make a list of names and values. */
export function definitions(entries) {
  return h("dl", { class: "facts" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Make a box for what went wrong, or for what there is to know. */
export function notice(kind, title, text) {
  return h("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : null }, title && h("strong", {}, title), text && h("p", {}, text));
}

/** Say what an error means to the person who sees it. */
export function explain(error) {
  if (error.status === 401) return t("problem.login");
  if (error.status === 403) return t("problem.forbidden");
  return t("problem.failed", { reason: error.message });
}

/** Make a table that a phone shows as a list. Rows have cells, the first of which names the row, and a class. */
export function listTable(label, heads, rows) {
  const head = h("tr", { role: "row" }, heads.map((name) => h("th", { role: "columnheader", scope: "col" }, name)));
  const body = rows.map(({ cells: [name, ...values], kind = "" }) =>
    h(
      "tr",
      { role: "row", class: kind },
      h("th", { role: "rowheader", scope: "row" }, name),
      values.map((value, index) => h("td", { role: "cell", dataset: { label: heads[index + 1] } }, value ?? "–")),
    ),
  );
  // Where its rows are no rows to the browser, the roles say what they are.
  return h("table", { class: "list", role: "table", "aria-label": label }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, body));
}

/** Make the link to the DAG run that has made something. */
export function runLink(origin) {
  if (!origin) return null;
  return h("span", { class: "run" }, airflowLink(runUrl(origin), origin.dag_id), h("span", { class: "sub", title: origin.run_id }, runName(origin.run_id)));
}

/** Return the id of a DAG run as a person reads it: Airflow writes a moment into most. */
function runName(id) {
  const [, kind, when] = /^([a-z_]+?)__(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)/.exec(id) ?? [];
  const seconds = when ? Date.parse(when) / 1000 : NaN;
  return Number.isNaN(seconds) ? id : `${kind.replaceAll("_", " ")} ${shortDateTime(seconds)}`;
}

/** Let a wide table be scrolled, also with the keyboard. */
export function scrollable(label, table) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}


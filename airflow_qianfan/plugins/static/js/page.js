// The page of the navigation: what is at Qianfan, newest first.

import { followTheme } from "./airflow.js";
import { Refresher, parameters, read } from "./api.js";
import { showComparison } from "./compare.js";
import { announce, h, Part } from "./dom.js";
import { dateTime, duration, t } from "./i18n.js";
import { badge, explain, externalLink, notice, progressBar, runLink } from "./parts.js";
import { Store } from "./store.js";

const SECONDS = 10;
const PER_PAGE = 25;
const MOST = 10;
const KINDS = ["trainings", "models", "services", "batch-inferences", "imports"];
const PHASES = ["active", "succeeded", "failed", "stopped"];
const COLUMNS = {
  trainings: ["select", "name", "state", "progress", "created", "duration", "model", "origin"],
  models: ["name", "state", "created", "age", "model", "detail.models", "origin"],
  services: ["name", "state", "created", "age", "model", "detail.services", "origin"],
  "batch-inferences": ["name", "state", "progress", "created", "duration", "model", "detail.batch-inferences", "origin"],
  imports: ["name", "state", "created", "age", "samples", "detail.imports", "origin"],
};

const state = { connection: null, kind: "trainings", search: "", phase: "", page: 0, selected: new Set(), compare: null };
let store = null;
let comparison = null;

const main = document.getElementById("main");
const parts = Object.fromEntries(["notice", "tools", "table", "pager"].map((name) => [name, new Part("div")]));
const listing = h("div", {});

followTheme(() => comparison?.redraw());
start();

async function start() {
  const asked = parameters(location.hash.replace("#", "?"));
  try {
    const { connections } = await read("api/connections");
    const wanted = asked.connection && !connections.includes(asked.connection) ? [asked.connection, ...connections] : connections;
    if (!wanted.length) {
      main.replaceChildren(h("h1", {}, t("page.title")), notice("info", null, t("page.none")));
      return;
    }
    state.connection = wanted.includes(asked.connection) ? asked.connection : wanted.includes("qianfan_default") ? "qianfan_default" : wanted[0];
    if (KINDS.includes(asked.kind)) state.kind = asked.kind;
    if (asked.compare) state.compare = asked.compare.split(",");
    build(wanted);
    state.compare ? compareThese(state.compare) : open();
    new Refresher(refresh, SECONDS).run();
  } catch (error) {
    main.replaceChildren(h("h1", {}, t("page.title")), notice("error", null, explain(error)));
  } finally {
    main.setAttribute("aria-busy", "false");
  }
}

function build(connections) {
  const choose = (event) => {
    state.connection = event.target.value;
    open();
  };
  const options = connections.map((one) => h("option", { value: one, selected: one === state.connection }, one));
  listing.append(
    h("div", { class: "top" }, h("h1", {}, t("page.title")), h("span", { class: "space" }), field(t("page.connection"), h("select", { onchange: choose }, options))),
    tabs(),
    h("div", { role: "tabpanel", id: "panel", "aria-labelledby": `tab-${state.kind}` }, ...Object.values(parts).map((part) => part.element)),
  );
  main.replaceChildren(listing);
}

const field = (label, control) => h("label", { class: "field" }, h("span", {}, label), control);

function tabs() {
  const choose = (kind) => {
    state.kind = kind;
    for (const tab of list.children) {
      const isChosen = tab.id === `tab-${kind}`;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
    }
    document.getElementById("panel").setAttribute("aria-labelledby", `tab-${kind}`);
    open();
  };
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = list.children[(KINDS.indexOf(state.kind) + step + KINDS.length) % KINDS.length];
    choose(KINDS[(KINDS.indexOf(state.kind) + step + KINDS.length) % KINDS.length]);
    next.focus();
  };
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": t("page.kinds"), onkeydown: move });
  for (const kind of KINDS) {
    const isChosen = kind === state.kind;
    const values = { type: "button", role: "tab", id: `tab-${kind}`, "aria-controls": "panel", "aria-selected": String(isChosen), tabindex: isChosen ? 0 : -1 };
    list.append(h("button", { ...values, onclick: () => choose(kind) }, t(`kinds.${kind}`)));
  }
  return list;
}

/** Show the list of what is chosen, from its beginning. */
function open() {
  store?.close();
  Object.assign(state, { page: 0, search: "", phase: "", compare: null, selected: new Set() });
  store = new Store(state.connection, state.kind, draw);
  remember();
  parts.tools.update([state.connection, state.kind], tools);
  draw();
  store.load();
}

function remember() {
  const values = { connection: state.connection, kind: state.kind, ...(state.compare ? { compare: state.compare.join(",") } : {}) };
  const text = Object.entries(values).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  history.replaceState(null, "", `#${text}`);
}

async function refresh() {
  if (state.compare === null && store?.size) await store.refresh(visible().rows);
  return true;
}

const count = h("span", { class: "count", role: "status" });
const compareButton = h("button", { type: "button", class: "button primary", onclick: () => compareThese([...state.selected]) });

function tools() {
  const search = h("input", { type: "search", placeholder: t("page.searchHint"), oninput: (event) => change("search", event.target.value) });
  const phases = h("select", { onchange: (event) => change("phase", event.target.value) }, h("option", { value: "" }, t("page.all")), PHASES.map((phase) => h("option", { value: phase }, t(`phase.${phase}`))));
  return h(
    "div",
    { class: "toolbar" },
    field(t("page.search"), search),
    field(t("page.state"), phases),
    count,
    h("span", { class: "space" }),
    state.kind === "trainings" && compareButton,
  );
}

function change(name, value) {
  state[name] = value;
  state.page = 0;
  draw();
}

/** Return the rows that fit, and those of them that are on this page. */
function visible() {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const all = store.rows;
  const fitting = all.filter((row) => {
    const text = [row.id, row.group, row.name, row.model, row.detail, row.origin?.dag_id, row.origin?.run_id].join(" ").toLowerCase();
    return words.every((word) => text.includes(word)) && (!state.phase || row.phase === state.phase);
  });
  const pages = Math.max(1, Math.ceil(fitting.length / PER_PAGE));
  state.page = Math.min(state.page, pages - 1);
  return { all, fitting, pages, rows: fitting.slice(state.page * PER_PAGE, (state.page + 1) * PER_PAGE) };
}

function draw() {
  const { all, fitting, pages, rows } = visible();
  const problems = [store.error && explain(store.error), ...store.problems].filter(Boolean);
  parts.notice.update(problems, () => (problems.length ? problems.map((text) => notice("error", null, text)) : null));
  const isLooking = state.phase && store.known < store.size;
  count.textContent = [all.length > 0 && t("page.count", { shown: fitting.length, all: all.length }), isLooking && t("page.looking", { known: store.known, all: store.size }), !store.isComplete && !store.error && t("page.loading")].filter(Boolean).join(" · ");
  compareButton.textContent = state.selected.size > 1 ? t("page.compareCount", { count: state.selected.size }) : t("page.compare");
  compareButton.disabled = state.selected.size < 2;
  compareButton.title = t("page.compareHint");
  const goesOn = rows.some((row) => row.phase === "active");
  const moment = Math.floor(store.now / (goesOn ? 1 : 60));
  parts.table.update([rows, state.kind, [...state.selected], store.isComplete, Boolean(store.error), moment], () => table(rows));
  parts.pager.update([state.page, pages], () => (pages > 1 ? pager(pages) : null));
  // A state that is asked for can only be found where the states are known.
  store.complete(state.phase ? all : rows);
}

function pager(pages) {
  const button = (step, key) => {
    const go = () => {
      state.page += step;
      draw();
      parts.table.element.scrollIntoView({ block: "nearest" });
    };
    const isOver = state.page + step < 0 || state.page + step >= pages;
    return h("button", { type: "button", class: "button", disabled: isOver, onclick: go, dataset: { focus: key } }, t(`page.${key}`));
  };
  return h("nav", { class: "pager", "aria-label": t("page.paging") }, button(-1, "previous"), h("span", {}, t("page.pages", { page: state.page + 1, pages })), button(1, "next"));
}

function table(rows) {
  if (!rows.length) return h("p", { class: "empty" }, store.error && !store.size ? "" : t(store.size ? "page.nothing" : store.isComplete ? "page.empty" : "page.loading"));
  const columns = COLUMNS[state.kind];
  const head = h("tr", { role: "row" }, columns.map((name) => h("th", { role: "columnheader", scope: "col" }, name === "select" ? h("span", { class: "hidden" }, t("column.select")) : t(`column.${name}`))));
  const body = rows.map((row) => h("tr", { role: "row" }, columns.map((name) => cell(name, row))));
  return h("table", { class: "list", role: "table", "aria-label": t(`kinds.${state.kind}`) }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, body));
}

function cell(name, row) {
  const plain = (content, kind = "") => h("td", { role: "cell", class: kind, dataset: { label: t(`column.${name}`) } }, content ?? "–");
  if (name === "select") return h("td", { role: "cell", class: "select" }, row.is_pending || row.id === row.group ? null : checkbox(row));
  if (name === "name") {
    const shown = row.name ?? row.id;
    return h("th", { role: "rowheader", scope: "row" }, row.url ? externalLink(row.url, shown) : shown, h("code", {}, row.id));
  }
  if (name === "state") return plain(row.is_pending ? h("span", { class: "sub" }, t("state.pending")) : badge(row));
  if (name === "progress") return plain(row.progress === null ? "–" : progressBar(row.progress, row.phase, { small: true, label: `${t("progress.label")}: ${row.name ?? row.id}` }));
  if (name === "created") return plain(dateTime(row.created), "number");
  if (name === "age") return plain(duration(row.created && store.now - row.created), "number");
  if (name === "duration") return plain(duration(took(row)), "number");
  if (name === "model" || name === "samples") return plain(row.model);
  if (name === "origin") return plain(runLink(row.origin));
  return plain(row.detail);
}

function took(row) {
  if (row.created === null) return null;
  if (row.ended !== null) return row.ended - row.created;
  return row.phase === "active" ? store.now - row.created : null;
}

function checkbox(row) {
  const isChosen = state.selected.has(row.id);
  const choose = (event) => {
    event.target.checked ? state.selected.add(row.id) : state.selected.delete(row.id);
    draw();
  };
  const isFull = !isChosen && state.selected.size >= MOST;
  const label = t("page.select", { id: row.name ? `${row.name} (${row.id})` : row.id });
  return h("input", { type: "checkbox", checked: isChosen, disabled: isFull, "aria-label": label, onchange: choose, dataset: { focus: row.id } });
}

async function compareThese(ids) {
  state.compare = ids;
  remember();
  main.setAttribute("aria-busy", "true");
  comparison = await showComparison(state.connection, ids, () => {
    comparison = null;
    main.replaceChildren(listing);
    state.compare = null;
    remember();
    if (store === null) open();
    else draw();
    compareButton.focus();
  });
  main.replaceChildren(comparison.element);
  main.setAttribute("aria-busy", "false");
  announce(t("compare.title", { count: ids.length }));
  main.querySelector("[data-focus=back]").focus();
}

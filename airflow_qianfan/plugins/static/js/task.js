// The tab of a task instance.

import { followTheme, taskUrl } from "./airflow.js";
import { Refresher, parameters, read } from "./api.js";
import { look, makeChart } from "./chart.js";
import { announce, h, Part } from "./dom.js";
import { duration, known, moment, number, shortDateTime, t } from "./i18n.js";
import { metricsTable } from "./metrics.js";
import { airflowLink, badge, card, copyable, definitions, explain, externalLink, listTable, notice, progressBar, scrollable, taskBadge } from "./parts.js";

const SECONDS = 3;
const TRAINING = "fine_tuning_task_id";

const main = document.getElementById("main");
const parts = {
  error: new Part("div"),
  head: new Part("header", { class: "card head" }),
  curve: new Part("section", { class: "card" }),
  metrics: new Part("section", { class: "card" }),
  hyper: new Part("section", { class: "card" }),
  facts: new Part("section", { class: "card" }),
  chain: new Part("section", { class: "card wide" }),
};
let chart = null;

followTheme(() => chart?.redraw());
main.append(
  h("h1", { class: "hidden" }, t("page.title")),
  parts.error.element,
  parts.head.element,
  h("div", { class: "grid" }, ...["curve", "metrics", "hyper", "facts", "chain"].map((name) => parts[name].element)),
);
for (const part of Object.values(parts)) part.update(null, () => null);

const asked = parameters(location.search);
const query = {
  dag_id: asked.dag_id,
  run_id: asked.run_id,
  task_id: asked.task_id,
  // Airflow leaves the placeholder as it is where the task is not mapped.
  map_index: /^-?\d+$/.test(asked.map_index ?? "") ? asked.map_index : -1,
};

new Refresher(async () => {
  try {
    const view = await read("api/task", query);
    show(view);
    return view.goes_on;
  } catch (error) {
    parts.error.update([error.status, error.message], () => notice("error", null, explain(error)));
    return error.status === undefined || error.status >= 500;
  } finally {
    main.setAttribute("aria-busy", "false");
  }
}, SECONDS).run();

function show(view) {
  if (!view.is_ours) {
    parts.error.update("nothing", () => notice("info", null, t("nothing.title")));
    return;
  }
  const { object } = view;
  const { problem, now, ...rest } = view;
  parts.error.update([problem, object?.is_current], () => {
    if (problem) return notice("warning", t("problem.title"), object?.state ? `${problem} ${t("problem.remembered")}` : problem);
    return object === null ? notice("info", null, t("nothing.yet")) : null;
  });
  // Its times go on as long as it does.
  parts.head.update(object?.phase === "active" ? view : rest, () => (object ? head(view) : null));
  parts.curve.update([object?.checkpoints, object?.best_step, view.published], () => (object?.checkpoints.length ? curve(object, view.published) : null));
  parts.metrics.update([object?.metrics, view.earlier], () => (object && Object.keys(object.metrics).length ? metrics(object, view) : null));
  parts.hyper.update([view.hyper_parameters, view.dataset], ([hyper, dataset]) => parameterCards(hyper, dataset));
  parts.facts.update([object?.facts ?? {}, view.ids], ([facts, ids]) => factCards(facts, ids));
  parts.chain.update(view.chain, (chain) => (chain.length > 1 ? card(t("chain.title"), chainTable(chain)) : null));
  if (object?.state) announce(`${known("kind", object.kind)}: ${object.state}`);
}

function head(view) {
  const { object, now } = view;
  const isOver = object.phase !== "active";
  const began = object.started ?? view.started;
  const ended = object.ended ?? (isOver ? view.ended : null);
  const elapsed = began === null ? null : (isOver ? ended ?? began : now) - began;
  const title = [known("kind", object.kind), object.name].filter(Boolean).join(" · ");
  const tiles = [[t(isOver ? "time.took" : "time.elapsed"), duration(elapsed > 0 ? elapsed : null), began && `${t("time.started")} ${moment(began)}`]];
  if (object.estimated_end) tiles.push([t("time.end"), t("time.about", { moment: moment(object.estimated_end) }), t("time.left", { duration: duration(object.estimated_end - now) })]);
  else if (ended) tiles.push([t("time.ended"), moment(ended)]);
  if (object.waited !== null) tiles.push([t("time.waited"), duration(object.waited)]);
  if (view.queued !== null) tiles.push([t("time.queued"), duration(view.queued)]);
  if (object.best_step !== null) tiles.push([t("best.label"), t("best.value", { step: object.best_step }), bestValues(object)]);
  if (object.kind === TRAINING && object.phase === "succeeded") tiles.push(published(view.published));
  return [
    h(
      "div",
      { class: "title" },
      h("div", {}, h("h2", {}, title), h("p", { class: "sub" }, h("code", {}, object.id))),
      object.state && badge(object),
      h("span", { class: "space" }),
      h("nav", { class: "links", "aria-label": t("page.title") }, view.links.map((link) => externalLink(link.url, known("link", link.name)))),
    ),
    object.phase && (object.progress !== null || !isOver) && progressBar(object.progress, object.phase),
    object.failure && notice("error", t("problem.reason"), object.failure),
    h("dl", { class: "tiles" }, tiles.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, more && h("span", { class: "more" }, more))))),
    !isOver && h("p", { class: "live" }, t("time.updated", { moment: moment(now) }), " · ", t("time.live")),
  ].filter(Boolean);
}

function bestValues(object) {
  const best = object.checkpoints.find((one) => one.step === object.best_step);
  if (!best) return null;
  const values = [["curve.loss", best.loss], ["curve.perplexity", best.perplexity]];
  return values.filter(([, value]) => value !== null).map(([key, value]) => `${t(key)} ${number(value)}`).join(", ");
}

function published(found) {
  if (!found.length) return [t("published.label"), t("published.none")];
  const [{ step, model_id: model }] = found;
  return [t("published.label"), step === null ? t("published.unknown") : t("published.step", { step }), model];
}

function curve(object, publishedOnes) {
  const points = object.checkpoints;
  const steps = new Map([[object.best_step, [t("curve.best")]]]);
  for (const { step } of publishedOnes) if (step !== null) steps.set(step, [...(steps.get(step) ?? []), t("curve.published")]);
  const curves = [
    { label: t("curve.loss"), axis: "left", look: look(0), points: points.map((one) => [one.step, one.loss]) },
    { label: t("curve.perplexity"), axis: "right", look: look(1), points: points.map((one) => [one.step, one.perplexity]) },
  ].filter((one) => one.points.some(([, value]) => value !== null));
  const summary = t("curve.summary", { count: points.length, first: points[0].step, last: points.at(-1).step, best: object.best_step });
  const marks = [...steps].filter(([step]) => step !== null).map(([step, words]) => ({ step, text: words.join(" · ") }));
  chart = makeChart({ curves, marks, axes: { left: t("curve.loss"), right: t("curve.perplexity") }, summary });
  const rows = points.map((one) =>
    h("tr", {}, h("th", { scope: "row" }, number(one.step)), h("td", {}, number(one.loss)), h("td", {}, number(one.perplexity)), h("td", {}, (steps.get(one.step) ?? []).join(", "))),
  );
  const heads = [t("curve.step"), t("curve.loss"), t("curve.perplexity"), ""].map((name) => (name ? h("th", { scope: "col" }, name) : h("td", {})));
  const table = h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
  return card(t("curve.title"), chart.element, h("details", {}, h("summary", { dataset: { focus: "values" } }, t("curve.table")), table));
}

function metrics(object, view) {
  const columns = [
    { heading: t("metrics.this"), metrics: object.metrics, main: true },
    ...view.earlier.map((one) => ({ heading: airflowLink(taskUrl(one.task, { tab: true }), shortDateTime(one.ended)), metrics: one.metrics })),
  ];
  // Half the width is enough for three.
  parts.metrics.element.classList.toggle("wide", columns.length > 3);
  const table = metricsTable(columns, { label: t("metrics.title"), compared: true });
  return card(t("metrics.title"), table, view.earlier.length ? [] : h("p", { class: "sub" }, t("metrics.none")));
}

function parameterCards(hyper, dataset) {
  const values = [];
  if (Object.keys(hyper).length) values.push(...card(t("hyper.title"), definitions(Object.entries(hyper))));
  if (Object.keys(dataset).length) values.push(...card(t("dataset.title"), definitions(Object.entries(dataset).map(([name, value]) => [known("dataset", name), value]))));
  return values.length ? values : null;
}

function factCards(facts, ids) {
  const values = [];
  if (Object.keys(facts).length) values.push(...card(t("facts.title"), definitions(Object.entries(facts).map(([name, value]) => [known("fact", name), value]))));
  if (Object.keys(ids).length) values.push(...card(t("ids.title"), definitions(Object.entries(ids).map(([name, id]) => [known("kind", name), copyable(id)]))));
  return values.length ? values : null;
}

function chainTable(chain) {
  const rows = chain.map((one) => {
    const isThis = one.task.task_id === query.task_id && one.task.map_index === Number(query.map_index);
    const name = one.task.task_id + (one.task.map_index >= 0 ? ` [${one.task.map_index}]` : "");
    const own = Object.values(one.ids).slice(0, 2).map((id) => h("code", {}, id));
    const title = isThis ? [name, " ", h("span", { class: "sub" }, `(${t("chain.this")})`)] : airflowLink(taskUrl(one.task, { tab: true }), name);
    return { cells: [title, taskBadge(one.state), one.operator, h("span", { class: "ids" }, own)], kind: isThis ? "this" : "" };
  });
  const heads = ["task", "state", "works", "ids"].map((name) => t(`chain.${name}`));
  return scrollable(t("chain.title"), listTable(t("chain.title"), heads, rows));
}

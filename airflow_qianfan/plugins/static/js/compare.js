// Two to ten trainings side by side.

import { read } from "./api.js";
import { look, makeChart, sample } from "./chart.js";
import { h, icon } from "./dom.js";
import { duration, known, number, t } from "./i18n.js";
import { metricsTable } from "./metrics.js";
import { badge, card, explain, externalLink, listTable, notice, runLink, scrollable } from "./parts.js";

/** Read and show trainings; `back` is called to leave. Returns the element, and what draws it in another theme. */
export async function showComparison(connection, ids, back) {
  const button = h("button", { type: "button", class: "button", onclick: back, dataset: { focus: "back" } }, icon("back"), t("compare.back"));
  const top = (title) => h("div", { class: "top" }, button, h("h1", {}, title));
  let found;
  try {
    found = await read(`api/connections/${encodeURIComponent(connection)}/compare`, { training: ids });
  } catch (error) {
    return { element: h("div", {}, top(t("page.compare")), notice("error", null, explain(error))), redraw() {} };
  }
  const { trainings, problems } = found;
  const chart = new Curves(trainings);
  const element = h(
    "div",
    { class: "compare" },
    top(t("compare.title", { count: trainings.length })),
    problems.map((problem) => notice("warning", t("problem.title"), problem)),
    h("section", { class: "card" }, card(t("compare.trainings"), summary(trainings))),
    h(
      "div",
      { class: "grid" },
      h("section", { class: "card" }, chart.element),
      h("section", { class: "card" }, card(t("metrics.title"), metrics(trainings))),
      h("section", { class: "card wide" }, card(t("hyper.title"), hyperParameters(trainings))),
    ),
  );
  return { element, redraw: () => chart.draw() };
}

const nameOf = (training) => training.object.name ?? training.object.id;
const letter = (index) => String.fromCharCode(65 + index);
const heading = (training, index) => [h("b", {}, letter(index)), " ", nameOf(training)];

function summary(trainings) {
  const rows = trainings.map((training, index) => {
    const { object } = training;
    const took = object.started !== null && object.ended !== null ? object.ended - object.started : null;
    const model = [object.facts.model, object.facts.train_mode, object.facts.parameter_scale].filter(Boolean).join(" · ");
    const best = object.best_step === null ? null : t("best.value", { step: object.best_step });
    const name = [sample(look(index)), " ", heading(training, index)];
    const console = training.url && externalLink(training.url, t("link.console"));
    return { cells: [name, h("code", {}, object.id), badge(object), model, duration(took), best, runLink(training.origin), console] };
  });
  const heads = [t("column.name"), known("kind", "fine_tuning_task_id"), t("column.state"), t("column.model"), t("column.duration"), t("best.label"), t("column.origin"), t("link.console")];
  return scrollable(t("compare.trainings"), listTable(t("compare.trainings"), heads, rows));
}

class Curves {
  constructor(trainings) {
    this.trainings = trainings;
    this.member = "loss";
    this.place = h("div", {});
    const choose = (event) => {
      this.member = event.target.value;
      this.draw();
    };
    const select = h("select", { onchange: choose, dataset: { focus: "curve" } }, ["loss", "perplexity"].map((member) => h("option", { value: member }, t(`curve.${member}`))));
    this.element = h("div", {}, h("div", { class: "toolbar" }, h("h2", {}, t("curve.title")), h("label", { class: "field" }, h("span", {}, t("compare.curve")), select)), this.place);
    this.draw();
  }

  draw() {
    const { member } = this;
    const curves = this.trainings
      .map((training, index) => ({
        label: `${letter(index)} ${nameOf(training)}`,
        axis: "left",
        look: look(index),
        points: training.object.checkpoints.map((one) => [one.step, one[member]]).filter(([, value]) => value !== null),
      }))
      .filter((curve) => curve.points.length);
    if (!curves.length) {
      this.place.replaceChildren(h("p", { class: "empty" }, t("curve.none")));
      return;
    }
    const words = curves.map((curve) => `${curve.label}: ${number(curve.points[0][1])} → ${number(curve.points.at(-1)[1])}`);
    const name = t(`curve.${member}`);
    this.place.replaceChildren(makeChart({ curves, axes: { left: name }, summary: `${name}. ${words.join("; ")}` }).element);
  }
}

function metrics(trainings) {
  const columns = trainings.map((training, index) => ({ heading: heading(training, index), metrics: training.object.metrics, main: true }));
  return metricsTable(columns, { label: t("metrics.title") });
}

function hyperParameters(trainings) {
  const all = trainings.map((training) => ({
    ...Object.fromEntries(["model", "train_mode", "parameter_scale"].filter((name) => training.object.facts[name]).map((name) => [known("fact", name), training.object.facts[name]])),
    ...training.hyper_parameters,
  }));
  const isKnown = trainings.some((training) => Object.keys(training.hyper_parameters).length);
  const names = [...new Set(all.flatMap((one) => Object.keys(one)))];
  // A training whose hyper-parameters nobody knows differs from none.
  const differs = (name) => {
    const isHyper = trainings.some((training) => name in training.hyper_parameters);
    const told = all.filter((_, index) => !isHyper || Object.keys(trainings[index].hyper_parameters).length);
    return new Set(told.map((one) => one[name])).size > 1;
  };
  const rows = [...names.filter(differs), ...names.filter((name) => !differs(name))].map((name) =>
    h(
      "tr",
      { class: differs(name) ? "differs" : "" },
      h("th", { scope: "row" }, name, differs(name) && h("span", { class: "mark" }, ` ≠ ${t("hyper.differs")}`)),
      all.map((one) => h("td", {}, one[name] ?? "–")),
    ),
  );
  const head = h("tr", {}, h("th", { scope: "col" }, t("hyper.name")), trainings.map((training, index) => h("th", { scope: "col" }, heading(training, index))));
  return [scrollable(t("hyper.title"), h("table", {}, h("thead", {}, head), h("tbody", {}, rows))), isKnown ? [] : h("p", { class: "sub" }, t("hyper.unknown"))];
}

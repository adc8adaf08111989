// Elements are made here, and nowhere from text: what the service says is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `on…` are listeners, `dataset` and `style` are objects; children are nodes or text. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  active: "M21 12a9 9 0 1 1-6.219-8.560",
  succeeded: "M20 6 9 17l-5-5",
  failed: "M18 6 6 18M6 6l12 12",
  stopped: "M6 6h12v12H6z",
  waiting: "M12 6v6l4 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  copy: "M8 8h12v12H8zM4 16V4h12",
  external: "M15 3h6v6M10 14 21 3M18 13v8H3V6h8",
  back: "M19 12H5M12 19l-7-7 7-7",
  star: "m12 3 2.700 5.800 6.300.800-4.600 4.400 1.200 6.300L12 17.200l-5.600 3.100 1.200-6.300L3 9.600l6.300-.800z",
};

/** Make an icon, which says nothing to a screen reader: there is a word next to it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const values = { viewBox: "0 0 24 24", "aria-hidden": "true", class: `icon icon-${name}` };
  for (const [key, value] of Object.entries(values)) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/**
 * A part of a page that is made anew only when what it shows has changed, so that focus, selection and open
 * details stay.
 */
export class Part {
  #shown = null;

  constructor(tag = "section", attributes = {}) {
    this.element = h(tag, attributes);
  }

  /** Show a value; `build` makes the children, or nothing where the part is to be hidden. */
  update(value, build) {
    const text = JSON.stringify(value) ?? "";
    if (text === this.#shown) return;
    this.#shown = text;
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const children = build(value);
    this.element.replaceChildren(...(children ? [children].flat() : []));
    this.element.hidden = !children;
    if (focused) this.element.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }
}

/** Say something to those who use a screen reader. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer.textContent !== text) announcer.textContent = text;
}

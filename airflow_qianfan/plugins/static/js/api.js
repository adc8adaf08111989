// The routes of this plugin. The browser sends the cookie with which it is logged in.

/** An answer that is an error, with what the server says. */
export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Read a route; `query` may hold lists. Raises ApiError. */
export async function read(path, query = {}, { signal } = {}) {
  const url = new URL(path, location.href);
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined) url.searchParams.append(name, one);
  }
  const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" }, signal });
  if (answer.ok) return answer.json();
  const told = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, typeof told.detail === "string" ? told.detail : answer.statusText);
}

/** Return the parameters of an address as they were written: Airflow before 3.2 does not encode a plus. */
export function parameters(search) {
  const pairs = search.slice(1).split("&").filter(Boolean).map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), decode(pair.slice(at + 1))];
  });
  return Object.fromEntries(pairs);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Call `work` again and again, as long as it returns true, and never while nobody sees the page. */
export class Refresher {
  #timer = null;
  #isBusy = false;
  #goesOn = true;

  constructor(work, seconds) {
    this.work = work;
    this.seconds = seconds;
    document.addEventListener("visibilitychange", () => this.#resume());
  }

  async run() {
    if (this.#isBusy) return;
    clearTimeout(this.#timer);
    this.#isBusy = true;
    try {
      this.#goesOn = await this.work();
    } finally {
      this.#isBusy = false;
    }
    if (this.#goesOn && !document.hidden) this.#timer = setTimeout(() => this.run(), this.seconds * 1000);
  }

  #resume() {
    clearTimeout(this.#timer);
    if (this.#goesOn && !document.hidden) this.run();
  }
}

// The rows of one kind and connection, as far as they were read. Lists come in parts, states as they are shown.

import { read } from "./api.js";

const AT_ONCE = 25;

export class Store {
  #groups = new Map();
  #asked = new Set();
  #stop = new AbortController();

  /** `changed` is called whenever there is more to show. */
  constructor(connection, kind, changed) {
    this.path = `api/connections/${encodeURIComponent(connection)}/${kind}`;
    this.changed = changed;
    this.isComplete = false;
    this.error = null;
    this.problems = [];
    this.now = Date.now() / 1000;
  }

  /** All rows, the newest first. */
  get rows() {
    return [...this.#groups.values()].flat().sort((a, b) => (b.created ?? 0) - (a.created ?? 0) || a.id.localeCompare(b.id));
  }

  /** How many groups were read in full. */
  get known() {
    return [...this.#groups.values()].filter((rows) => !rows.some((row) => row.is_pending)).length;
  }

  get size() {
    return this.#groups.size;
  }

  /** Stop reading: nobody looks at it any more. */
  close() {
    this.#stop.abort();
    this.changed = () => {};
  }

  /** Read the list, part after part. */
  async load() {
    let marker = null;
    try {
      do {
        const part = await read(this.path, { marker }, this.#stop);
        this.#take(part);
        marker = part.next;
        this.isComplete = marker === null;
        this.error = null;
        this.changed();
      } while (marker !== null);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Read the beginning of the list again, and the states of some rows. */
  async refresh(rows) {
    try {
      this.#take(await read(this.path, {}, this.#stop));
      this.error = null;
    } catch (error) {
      this.#fail(error);
      return;
    }
    const groups = rows.filter((row) => row.group && (row.is_pending || row.phase === "active")).map((row) => row.group);
    for (const group of groups) this.#asked.delete(group);
    await this.complete(rows.filter((row) => groups.includes(row.group)), { again: true });
    this.changed();
  }

  /** Read the states of rows that have none yet. */
  async complete(rows, { again = false } = {}) {
    const groups = [...new Set(rows.filter((row) => row.group && (again || row.is_pending)).map((row) => row.group))].filter((group) => !this.#asked.has(group));
    for (let at = 0; at < groups.length; at += AT_ONCE) {
      const some = groups.slice(at, at + AT_ONCE);
      for (const group of some) this.#asked.add(group);
      try {
        const part = await read(`${this.path}/details`, { group: some }, this.#stop);
        this.#takeDetails(some, part);
      } catch (error) {
        this.#fail(error);
        return;
      }
      this.changed();
    }
  }

  #take(part) {
    this.now = part.now;
    for (const row of part.rows) {
      const key = row.group ?? row.id;
      const held = this.#groups.get(key);
      if (!row.is_pending || held === undefined) this.#groups.set(key, [row]);
    }
  }

  #takeDetails(groups, part) {
    this.now = part.now;
    this.problems = part.problems;
    const found = Map.groupBy ? Map.groupBy(part.rows, (row) => row.group) : groupBy(part.rows);
    for (const group of groups) {
      const rows = found.get(group);
      const before = this.#groups.get(group)?.[0];
      // What is empty, such as a job without a training, stays as the list shows it.
      if (rows) this.#groups.set(group, rows.map((row) => ({ ...row, name: row.name ?? before?.name, created: row.created ?? before?.created })));
      else if (before && !part.problems.length) this.#groups.set(group, [{ ...before, is_pending: false }]);
    }
  }

  #fail(error) {
    if (error.name === "AbortError") return;
    this.error = error;
    this.changed();
  }
}

function groupBy(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
  return groups;
}

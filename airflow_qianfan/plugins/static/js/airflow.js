// The page of Airflow around this one: its theme, and links into it.

const ROOT = new URL("../", location.href);

function outside() {
  try {
    return window.parent !== window ? window.parent.document : null;
  } catch {
    return null; // It is shown by another site, which sees nothing of it and tells nothing.
  }
}

/** Return the address of a page of Airflow's UI, whatever prefix it has. */
export function airflowUrl(path) {
  return new URL(path, ROOT).href;
}

/** Return the address of the page of a task instance; the tab of Qianfan, if asked for. */
export function taskUrl(task, { tab = false } = {}) {
  const [dag, run, id] = [task.dag_id, task.run_id, task.task_id].map(encodeURIComponent);
  const mapped = task.map_index >= 0 ? `/mapped/${task.map_index}` : "";
  return airflowUrl(`dags/${dag}/runs/${run}/tasks/${id}${mapped}${tab ? "/plugin/qianfan" : ""}`);
}

/** Return the address of the page of a DAG run. */
export function runUrl(task) {
  return airflowUrl(`dags/${encodeURIComponent(task.dag_id)}/runs/${encodeURIComponent(task.run_id)}`);
}

/**
 * Follow a link. Airflow's frame may neither open windows nor leave its page, so a link of the page around it
 * is followed; that page is of the same origin, and trusts this one as much as itself.
 */
export function follow(event, url, { newTab }) {
  const page = outside();
  if (page === null) return;
  event.preventDefault();
  const link = page.createElement("a");
  link.href = url;
  if (newTab || event.ctrlKey || event.metaKey || event.shiftKey) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  page.body.append(link);
  link.click();
  link.remove();
}

function isDark() {
  const around = outside()?.documentElement;
  if (around?.classList.contains("dark")) return true;
  if (around?.classList.contains("light")) return false;
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Look like the page around, now and whenever it changes; `changed` is called then. */
export function followTheme(changed = () => {}) {
  const apply = () => {
    const theme = isDark() ? "dark" : "light";
    const root = document.documentElement;
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    const page = outside();
    const behind = page && getComputedStyle(page.documentElement).backgroundColor;
    // What lets something through, such as rgba(0, 0, 0, 0), is no colour to read on.
    if (behind && !/^(rgba|transparent)|\//.test(behind)) root.style.setProperty("--bg", behind);
    else root.style.removeProperty("--bg");
    changed();
  };
  apply();
  const around = outside()?.documentElement;
  if (around) new MutationObserver(apply).observe(around, { attributes: true, attributeFilter: ["class"] });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
}

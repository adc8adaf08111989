// English and Chinese, by the browser's language.

import { EN } from "./texts-en.js";
import { ZH } from "./texts-zh.js";

const isChinese = (navigator.languages?.[0] ?? navigator.language ?? "en").toLowerCase().startsWith("zh");
export const LOCALE = isChinese ? "zh-CN" : "en";
const TEXTS = isChinese ? ZH : EN;
document.documentElement.lang = LOCALE;

/** Return a text with `{name}` replaced. */
export function t(key, values = {}) {
  const text = TEXTS[key] ?? EN[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Return a text for a key that may have none, such as a name that the service made up; then the name itself. */
export function known(prefix, name) {
  return TEXTS[`${prefix}.${name}`] ?? EN[`${prefix}.${name}`] ?? name;
}

const DATE = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" });
const TIME = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Return a time, given in seconds since the epoch, with its date. */
export const dateTime = (seconds) => (seconds === null || seconds === undefined ? "–" : DATE.format(seconds * 1000));

/** Return a time, given in seconds since the epoch, to the second, with its day, and with its year if that is not this one. */
export function shortDateTime(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const date = new Date(seconds * 1000);
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return new Intl.DateTimeFormat(LOCALE, { ...year, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(date);
}

/** Return a time of today without its date, and any other with it. */
export function moment(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const isToday = new Date(seconds * 1000).toDateString() === new Date().toDateString();
  return isToday ? TIME.format(seconds * 1000) : dateTime(seconds);
}

/** Return a number of seconds as a person says it. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return t("duration.days", { days, hours });
  if (hours) return t("duration.hours", { hours, minutes: String(minutes).padStart(2, "0") });
  if (minutes) return t("duration.minutes", { minutes, seconds: String(whole % 60).padStart(2, "0") });
  return t("duration.seconds", { seconds: whole });
}

/** Return a share as percent. */
export const percent = (share, digits = 0) =>
  share === null || share === undefined
    ? "–"
    : new Intl.NumberFormat(LOCALE, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(share);

/** Return a number with as many digits as matter. */
export const number = (value) =>
  value === null || value === undefined ? "–" : new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 5 }).format(value);

// Small hands for the page's tree, and words for numbers. What comes from outside only ever enters
// as text: nothing here, or anywhere on this page, parses a string as markup.

export const byId = (id) => document.getElementById(id);

/** Make an element of a class, with text. */
export function make(tag, name = "", text = "") {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text) node.textContent = text;
  return node;
}

/** Show text, and touch the tree only if it is another one. */
export function say(node, text) {
  const first = node.firstChild;
  if (first === null) {
    if (text !== "") node.textContent = text;
  } else if (first.nodeValue !== text) {
    node.textContent = text;
  }
}

/** Set a data attribute that styles look at. */
export function mark(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/** Set or remove an attribute. */
export function attribute(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== value) {
    node.setAttribute(name, value);
  }
}

/** Keep one child for each item, in order; children are made once and then filled anew. */
export function keep(parent, items, keyOf, create, fill) {
  const kept = (parent.keptChildren ??= new Map());
  const gone = new Set(kept.keys());
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = kept.get(key);
    if (child === undefined) {
      child = create(item);
      kept.set(key, child);
    }
    gone.delete(key);
    fill(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const key of gone) {
    kept.get(key).remove();
    kept.delete(key);
  }
}

/** The named parts of a clone of a template. */
export function parts(root) {
  const found = { root };
  for (const node of root.querySelectorAll("[data-part]")) found[node.dataset.part] = node;
  return found;
}

// -- words for numbers ----------------------------------------------------------------------------

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const CENTS = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const MILLS = new Intl.NumberFormat("en-US", {
  style: "currency", currency: "USD", minimumFractionDigits: 4, maximumFractionDigits: 4,
});
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const NONE = "–";

export const whole = (value) => WHOLE.format(value);
export const compact = (value) => (value < 10_000 ? WHOLE.format(value) : COMPACT.format(value));
export const clock = (at) => CLOCK.format(at * 1000);

/** A number of a second: few digits, and none that mean nothing. */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1) : WHOLE.format(value);
}

/** A part of one, in per cent. */
export function share(value) {
  if (value === 0) return "0 %";
  if (value < 0.001) return "<0.1 %";
  return `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
}

/** A time, in the unit in which it is read best. */
export function time(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.00995) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  return span(seconds);
}

/** A span of time, roughly. */
export function span(seconds) {
  if (seconds < 100) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

export function money(usd) {
  if (usd === 0) return "$0";
  return usd < 1 ? MILLS.format(usd) : CENTS.format(usd);
}

export const plural = (count, one, many) => `${whole(count)} ${count === 1 ? one : many}`;

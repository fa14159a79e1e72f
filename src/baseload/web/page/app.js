// The page as a whole: asks once a second, draws what came, and says so when nothing comes.
//
// Whoever looks at it may be far from well themselves, so it never shows an old state as if it were
// new: after a missed answer the headline says for how long there was none, and all below is pale.

import { NoAnswer, forgetToken, hasToken, keepToken, live, operate } from "./api.js";
import { Backends } from "./backends.js";
import { Charts } from "./charts.js";
import { askToken, confirm, isAsking, showShortcuts, toast } from "./dialogs.js";
import { attribute, byId, mark, say, span } from "./dom.js";
import { History } from "./history.js";
import { Feed, Headline, Keys, drawModels, drawRefusals } from "./lists.js";

const POLL_MS = 1000;
const HIDDEN_MS = 10_000;
const BACKOFF_MS_MAX = 5000;
const SILENCE_S = 2.5;
const KEYS_EVERY = 3; // Money moves slowly, and its table may be long.
const MEASURES_MAX = 600;
const RANGES = [300, 900];
const THEMES = ["auto", "light", "dark"];

const history = new History();
const charts = new Charts(byId("charts"));
const backends = new Backends(act);
const headline = new Headline();
const feed = new Feed();
const keys = new Keys();

let boot = null;
let since = 0;
let keysAt = -KEYS_EVERY;
let failures = 0;
let heardAt = performance.now();
let why = "";
let timer = 0;
let isPolling = false;
let measures = 0;

// -- asking ---------------------------------------------------------------------------------------

async function poll() {
  clearTimeout(timer);
  if (isPolling) return;
  isPolling = true;
  try {
    const began = performance.now();
    const answer = await live(since);
    failures = 0;
    heardAt = performance.now();
    await take(answer, heardAt - began);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    failures += 1;
    why = error.message;
    if (error.status === 401) await identify();
    else showSilence();
  } finally {
    isPolling = false;
    timer = setTimeout(poll, pause());
  }
}

function pause() {
  if (document.hidden) return HIDDEN_MS;
  return failures ? Math.min(POLL_MS * 2 ** (failures - 1), BACKOFF_MS_MAX) : POLL_MS;
}

async function identify() {
  const token = await askToken(hasToken() ? "That token was not accepted." : "");
  if (token === null) forgetToken();
  else keepToken(token);
}

// -- drawing --------------------------------------------------------------------------------------

async function take(answer, roundTripMs) {
  const { state } = answer;
  if (boot !== null && boot !== state.boot && since !== 0) {
    since = 0; // Another process answers: what it knows from before the last tick is wanted, too.
    boot = state.boot;
    return take(await live(0), roundTripMs);
  }
  boot = state.boot;
  since = state.tick;
  const start = performance.now();
  draw(answer);
  await null; // Charts draw in a microtask of their own; they are part of what is measured.
  performance.measure("update", { start, end: performance.now() });
  measures += 1;
  if (measures % MEASURES_MAX === 0) performance.clearMeasures("update");
}

function draw({ state, samples, happenings }) {
  mark(document.body, "silent", "");
  history.add(samples);
  headline.draw(state);
  charts.draw(history, state.at);
  backends.draw(state);
  feed.add(happenings);
  drawRefusals(history.refused());
  if (state.tick < keysAt || state.tick >= keysAt + KEYS_EVERY) {
    keysAt = state.tick;
    keys.draw(state.keys);
  }
  drawModels(state);
  say(byId("about"), `v${state.version} · ${state.listen} · up ${span(state.uptime_s)}`);
  const beat = byId("beat");
  mark(beat, "turn", beat.dataset.turn === "1" ? "2" : "1");
}

/** Say for how long nobody has answered; also between two polls, since a page must not lie. */
function showSilence() {
  const silent = (performance.now() - heardAt) / 1000;
  if (document.hidden || silent < (failures ? SILENCE_S / 2 : SILENCE_S + POLL_MS / 1000)) return;
  mark(document.body, "silent", "yes");
  const known = boot === null ? "" : " What is below was true then.";
  headline.lost(`No answer from the gateway for ${span(silent)}.`, `Last try: ${why || "under way"}.${known}`);
}

// -- acting ---------------------------------------------------------------------------------------

const QUESTIONS = {
  drain: (name) => ({
    title: `Drain ${name}?`, yes: "Drain it",
    words: "It is sent no new calls; those that are open go on to their end.",
  }),
  disable: (name) => ({
    title: `Disable ${name}?`, yes: "Disable it",
    words: "It is sent no calls any more until somebody enables it again.",
  }),
};
const DONE = { drain: "is being drained", disable: "is disabled", enable: "is enabled again" };

async function act(backend, action) {
  if (!backends.can(backend, action)) return;
  const { name } = backend;
  const last = action === "enable" ? [] : backends.lastOf(name);
  if (action === "disable" || last.length) {
    const warning = last.length ? `It is the last usable backend of ${last.join(", ")}: calls will be refused.` : "";
    if (!(await confirm({ ...QUESTIONS[action](name), warning }))) return;
  }
  backends.setBusy(name, action);
  try {
    await operate(name, action);
    toast(`${name} ${DONE[action]}.`);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    if (error.status === 401) await identify();
    toast(`${name}: ${action} was not done: ${error.message}.`, true);
  } finally {
    backends.setBusy(name, null);
  }
  await poll();
}

// -- choosing -------------------------------------------------------------------------------------

function turnRange() {
  charts.seconds = RANGES[(RANGES.indexOf(charts.seconds) + 1) % RANGES.length];
  say(byId("range"), `Last ${charts.seconds / 60} min`);
  charts.draw(history, charts.at);
}

function turnTheme() {
  const now = document.documentElement.dataset.theme ?? "auto";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
}

function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    localStorage.setItem("baseload-theme", theme);
  } catch {
    // It is then chosen anew the next time.
  }
  nameTheme();
  charts.repaint();
}

function nameTheme() {
  const theme = document.documentElement.dataset.theme ?? "auto";
  say(byId("theme"), theme[0].toUpperCase() + theme.slice(1));
  attribute(byId("theme"), "aria-label", `Theme: ${theme}`);
}

const SHORTCUTS = {
  b: () => backends.walk(1),
  B: () => backends.walk(-1),
  d: () => actOnFocused("drain"),
  x: () => actOnFocused("disable"),
  e: () => actOnFocused("enable"),
  f: () => byId("feed").focus(),
  k: () => byId("keys-title").focus(),
  r: turnRange,
  t: turnTheme,
  "?": showShortcuts,
};

function actOnFocused(action) {
  const backend = backends.focused();
  if (backend !== null) act(backend, action);
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select") !== null;
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping || isAsking()) return;
  const does = Object.hasOwn(SHORTCUTS, event.key) ? SHORTCUTS[event.key] : null;
  if (does === null) return;
  event.preventDefault();
  does();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.repaint());
byId("range").addEventListener("click", turnRange);
byId("theme").addEventListener("click", turnTheme);
byId("help").addEventListener("click", showShortcuts);

nameTheme();
setInterval(showSilence, POLL_MS);
poll();

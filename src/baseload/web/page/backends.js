// One card for each backend: how it stands in words first, then its numbers, then what an operator
// can do about it. A click asks before it takes a model's last backend away.

import {
  NONE, attribute, byId, keep, make, mark, parts, plural, rate, say, share, span, time, whole,
} from "./dom.js";

const ERRORS_SHOWN = 3;
const STATES = {
  up: "up", probing: "being tried", asleep: "asleep", open: "left alone", down: "down",
  draining: "drained", disabled: "disabled",
};
const SIGNS = { good: "●", warn: "▲", bad: "✕", off: "❚❚" };
const BREAKERS = { closed: "closed", open: "open", probing: "one at a time", asleep: "asleep" };

export class Backends {
  #template = byId("card");
  #parent = byId("backends");
  #state = null;
  #busy = new Map();

  /** `act` is called with a backend's name and what to do to it. */
  constructor(act) {
    this.act = act;
  }

  draw(state) {
    this.#state = state;
    const unwell = state.backends.filter((backend) => backend.tone === "bad").length;
    const words = unwell ? `${state.backends.length}, ${unwell} in trouble` : `${state.backends.length}`;
    say(byId("backends-count"), words);
    keep(
      this.#parent, state.backends, (backend) => backend.name,
      (backend) => this.#create(backend), (card, backend) => this.#fill(card.parts, backend, state.at),
    );
  }

  /** Show that something was asked of a backend, until it is done. */
  setBusy(name, action) {
    if (action === null) this.#busy.delete(name);
    else this.#busy.set(name, action);
    if (this.#state !== null) this.draw(this.#state);
  }

  /** Move to the next card, or to the one before. */
  walk(step) {
    const cards = [...this.#parent.children];
    if (!cards.length) return;
    const here = cards.findIndex((card) => card.contains(document.activeElement));
    const next = here < 0 ? (step > 0 ? 0 : cards.length - 1) : here + step;
    cards[(next + cards.length) % cards.length].focus();
  }

  /** The backend whose card has the focus. */
  focused() {
    const card = document.activeElement?.closest(".card");
    return card ? this.#find(card.parts.backend) : null;
  }

  /** The models that only this backend could still answer. */
  lastOf(name) {
    const usable = new Set(
      this.#state.backends.filter((one) => one.is_usable).map((one) => one.name),
    );
    if (!usable.delete(name)) return [];
    return this.#state.models
      .filter((model) => {
        const places = model.tiers.flat().map((place) => place.backend);
        return places.includes(name) && !places.some((place) => usable.has(place));
      })
      .map((model) => model.name);
  }

  can(backend, action) {
    if (action === "enable") return backend.state === "draining" || backend.state === "disabled";
    if (action === "drain") return backend.state !== "draining" && backend.state !== "disabled";
    return backend.state !== "disabled";
  }

  #find(name) {
    return this.#state.backends.find((backend) => backend.name === name) ?? null;
  }

  #create(backend) {
    const card = this.#template.content.firstElementChild.cloneNode(true);
    card.parts = parts(card);
    card.parts.backend = backend.name;
    card.parts.buttons = [...card.querySelectorAll("[data-action]")];
    card.setAttribute("aria-label", `Backend ${backend.name}`);
    for (const button of card.parts.buttons) {
      button.setAttribute("aria-label", `${button.textContent} ${backend.name}`);
      button.addEventListener("click", () => {
        const now = this.#find(backend.name);
        if (now !== null) this.act(now, button.dataset.action);
      });
    }
    return card;
  }

  #fill(part, backend, at) {
    mark(part.root, "tone", backend.tone);
    say(part.sign, SIGNS[backend.tone] ?? "●");
    say(part.name, backend.name);
    const isLit = backend.state === "up" && backend.light !== "green";
    say(part.state, isLit ? backend.light : (STATES[backend.state] ?? backend.state));
    say(part.where, backend.where);
    say(part.words, backend.words);
    this.#fillLoad(part, backend);
    say(part.rate, `${rate(backend.attempts_s)}/s`);
    say(part.errors, backend.failures ? `${share(backend.error_rate)} (${backend.failures})` : "0 %");
    mark(part.errors, "tone", backend.failures ? "bad" : "");
    say(part.share, share(backend.share));
    const first = backend.first_token;
    say(part.first, first === null ? NONE : `${time(first[0])} / ${time(first[1])}`);
    const parked = backend.parked ? plural(backend.parked, "call", "calls") : "none";
    say(part.parked, backend.queued_s ? `${parked}, ${time(backend.queued_s)}` : parked);
    mark(part.parked, "tone", backend.parked ? "warn" : "");
    const next = backend.probes_in_s;
    const again = next === null ? "" : ` / ${next.toFixed(1)} s`;
    say(part.breaker, (BREAKERS[backend.breaker] ?? backend.breaker) + again);
    mark(part.breaker, "tone", backend.breaker === "closed" ? "" : "bad");
    keep(
      part.failures, backend.errors.slice(0, ERRORS_SHOWN), (one) => `${one.fact} ${one.reason}`,
      createError, (row, one) => fillError(row, one, at),
    );
    this.#fillButtons(part, backend);
  }

  #fillLoad(part, backend) {
    const most = Math.max(backend.limit, 1);
    part.usedbar.style.width = `${Math.min(100, (100 * backend.in_flight) / most)}%`;
    part.parkedbar.style.width = `${Math.min(100, (100 * backend.parked) / most)}%`;
    say(part.flight, whole(backend.in_flight));
    const kind = backend.limit_most > backend.limit ? `limit learnt, at most ${whole(backend.limit_most)}` : "limit";
    say(part.limit, `in flight of ${whole(backend.limit)} (${kind})`);
  }

  #fillButtons(part, backend) {
    const busy = this.#busy.get(backend.name);
    attribute(part.root, "aria-busy", busy === undefined ? null : "true");
    for (const button of part.buttons) {
      const { action } = button.dataset;
      const isHidden = !this.can(backend, action);
      if (isHidden && button === document.activeElement) part.root.focus();
      if (button.hidden !== isHidden) button.hidden = isHidden;
      if (button.disabled !== (busy !== undefined)) button.disabled = busy !== undefined;
    }
  }
}

function createError() {
  const row = make("li");
  row.fact = row.appendChild(make("span", "fact"));
  row.reason = row.appendChild(make("span", "reason"));
  row.when = row.appendChild(make("span", "when"));
  return row;
}

function fillError(row, error, at) {
  say(row.fact, error.fact);
  say(row.reason, error.reason);
  attribute(row.reason, "title", error.reason);
  const times = error.count > 1 ? `×${whole(error.count)}, ` : "";
  say(row.when, `${times}${span(at - error.at)} ago`);
}

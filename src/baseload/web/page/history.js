// The last quarter of an hour, as columns: the form in which charts want it. Where nothing is known,
// as while the gateway was away, there is a hole, and no line is drawn across it.

const SECONDS_MAX = 900;
const HOLE_S = 3;

export const COLUMNS = [
  "at", "answered", "own", "refused", "failed", "first50", "first95", "first99",
  "between50", "between95", "between99", "waiting", "inFlight", "parked",
];

export class History {
  columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  refusals = [];

  /** Take samples in the order in which they were taken. */
  add(samples) {
    const { at } = this.columns;
    for (const sample of samples) {
      const last = at.length ? at[at.length - 1] : null;
      if (last !== null && sample.at <= last) continue;
      if (last !== null && sample.at - last > HOLE_S) this.#push({ at: last + 1 });
      this.#push(sample);
    }
    const extra = at.length - SECONDS_MAX;
    if (extra > 0) {
      for (const name of COLUMNS) this.columns[name].splice(0, extra);
      this.refusals.splice(0, extra);
    }
  }

  /** Give columns by name, of the last seconds. */
  last(names, seconds) {
    return ["at", ...names].map((name) => this.columns[name].slice(-seconds));
  }

  /** Give how many were refused, by reason, in the last minute and in all. */
  refused() {
    const reasons = new Map();
    const minute = this.refusals.length - 60;
    this.refusals.forEach((counts, place) => {
      for (const reason in counts) {
        const found = reasons.get(reason) ?? { reason, minute: 0, all: 0 };
        found.all += counts[reason];
        if (place >= minute) found.minute += counts[reason];
        reasons.set(reason, found);
      }
    });
    return [...reasons.values()].sort((a, b) => b.all - a.all);
  }

  #push(sample) {
    const { columns } = this;
    const isHole = sample.span_s === undefined;
    const each = (count) => (isHole ? null : (count ?? 0) / sample.span_s);
    const stand = (count) => (isHole ? null : (count ?? 0));
    columns.at.push(sample.at);
    columns.answered.push(each(sample.answered));
    columns.own.push(each(sample.own));
    columns.refused.push(each(sample.refused));
    columns.failed.push(each(sample.failed));
    const first = sample.first_token ?? [null, null, null];
    const between = sample.between_tokens ?? [null, null, null];
    [columns.first50, columns.first95, columns.first99].forEach((to, n) => to.push(first[n]));
    [columns.between50, columns.between95, columns.between99].forEach((to, n) =>
      to.push(between[n]),
    );
    columns.waiting.push(stand(sample.waiting));
    columns.inFlight.push(stand(sample.in_flight));
    columns.parked.push(stand(sample.parked));
    this.refusals.push(sample.refusals);
  }
}

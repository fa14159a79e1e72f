// Four charts with one time axis and one cursor. Each line differs from its neighbours by its dashes
// as well as by its colour, and what it stands at is written beside its name.

import { attribute, clock, make, mark, rate, say, time, whole } from "./dom.js";

const HEIGHT = 150;
const HEIGHT_NARROW = 104;
const NARROW = matchMedia("(max-width: 640px)");
const WINDOW_S_MIN = 60;
const NOW_S = 10;
const GAP_S_MAX = 10;
const SYNC = "baseload";
const SOLID = [];
const DASHED = [7, 4];
const DOTTED = [2, 3];

const PERCENTILES = [
  { label: "p50", color: "--line-1", dash: SOLID, width: 1.5 },
  { label: "p95", color: "--line-2", dash: DASHED, width: 1.5 },
  { label: "p99", color: "--line-3", dash: DOTTED, width: 1.5 },
];
const timed = (column) => PERCENTILES.map((line, n) => ({ ...line, column: `${column}${["50", "95", "99"][n]}` }));

const WHOLES = [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4, 5].map((power) => digit * 10 ** power)).sort((a, b) => a - b);

const CHARTS = [
  {
    title: "Requests a second", note: "Calls that ended. Client: their own errors, and callers who left.",
    show: rate, isMean: true, tick: whole, least: 5, incrs: WHOLES,
    series: [
      { column: "answered", label: "answered", color: "--line-1", dash: SOLID, width: 1.5, isFilled: true },
      { column: "failed", label: "failed", color: "--bad", dash: SOLID, width: 1.5 },
      { column: "refused", label: "refused", color: "--line-2", dash: DASHED, width: 1.5 },
      { column: "own", label: "client", color: "--line-3", dash: DOTTED, width: 1.5 },
    ],
  },
  { title: "First token", show: time, isMean: false, least: 0.1, series: timed("first") },
  {
    title: "Between tokens", show: time, isMean: false, least: 0.01, series: timed("between"),
    note: "Mean of each call that ended: from its first token to its end, by the events after the first.",
  },
  {
    title: "In flight and waiting", show: whole, isMean: false, least: 5, incrs: WHOLES,
    series: [
      { column: "inFlight", label: "in flight", color: "--line-1", dash: SOLID, width: 1.5, isFilled: true },
      { column: "waiting", label: "queued here", color: "--bad", dash: DASHED, width: 1.5 },
      { column: "parked", label: "at providers", color: "--line-2", dash: DOTTED, width: 1.5 },
    ],
  },
];

class Chart {
  constructor(parent, what, colors, timeOf) {
    this.what = what;
    this.colors = colors;
    this.timeOf = timeOf;
    this.columns = what.series.map((line) => line.column);
    const figure = make("figure", "chart panel");
    const head = make("figcaption");
    head.append(make("h2", "", what.title));
    this.moment = make("span", "moment");
    head.append(this.moment);
    if (what.note) head.title = what.note;
    this.legend = make("dl", "legend");
    this.values = what.series.map((line) => this.#legendOf(line));
    this.plot = make("div", "plot");
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "img");
    figure.append(head, this.legend, this.plot);
    parent.append(figure);
    this.plot.addEventListener("keydown", (event) => this.#walk(event));
    this.plot.addEventListener("blur", () => this.u?.setCursor({ left: -10, top: -10 }));
    this.u = new uPlot(this.#options(), [[], ...this.columns.map(() => [])], this.plot);
    new ResizeObserver(() => {
      const width = this.plot.clientWidth;
      const height = heightNow();
      if (width && (width !== this.u.width || height !== this.u.height))
        this.u.setSize({ width, height });
    }).observe(this.plot);
  }

  draw(history, seconds) {
    this.u.setData(history.last(this.columns, seconds));
    if (this.u.cursor.idx === null || this.u.cursor.idx === undefined) this.#tell(null);
  }

  #legendOf(line) {
    const row = make("div");
    mark(row, "dash", line.dash === SOLID ? "solid" : line.dash === DASHED ? "dashed" : "dotted");
    mark(row, "color", line.color.slice(2));
    const value = make("dd", "", "–");
    row.append(make("dt", "", line.label), value);
    this.legend.append(row);
    return value;
  }

  #tell(place) {
    const { data } = this.u;
    say(this.moment, place === null ? "" : clock(data[0][place]));
    const told = this.what.series.map((line, n) => {
      const value = place === null ? this.#now(data[n + 1]) : data[n + 1][place];
      const words = this.what.show(value ?? null);
      say(this.values[n], value === null || value === undefined ? "–" : words);
      return `${line.label} ${words}`;
    });
    if (place === null) attribute(this.plot, "aria-label", `${this.what.title}: ${told.join(", ")}`);
  }

  /** What a line stands at: a mean of the last seconds, or the last that is known of them. */
  #now(column) {
    const recent = column.slice(-NOW_S).filter((value) => value !== null);
    if (!recent.length) return null;
    if (!this.what.isMean) return recent[recent.length - 1];
    return recent.reduce((sum, value) => sum + value, 0) / recent.length;
  }

  #walk(event) {
    const { u } = this;
    const last = u.data[0].length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
    if (step === undefined || last < 0) return;
    event.preventDefault();
    const place = Math.max(0, Math.min(last, (u.cursor.idx ?? last) + step));
    u.setCursor({ left: u.valToPos(u.data[0][place], "x"), top: 10 });
  }

  #options() {
    const { colors, what } = this;
    const axis = {
      stroke: () => colors["--muted"], font: "11px system-ui, sans-serif",
      ticks: { show: false }, border: { show: false },
    };
    return {
      width: 320, height: heightNow(), legend: { show: false }, padding: [8, 8, 0, 0],
      cursor: {
        sync: { key: SYNC }, y: false, drag: { x: false, y: false }, points: { size: 6 },
      },
      scales: {
        x: { time: true, range: () => this.timeOf() },
        y: { range: (_u, _min, max) => [0, Math.max(what.least, (max ?? 0) * 1.12)] },
      },
      axes: [
        {
          ...axis, size: 26, space: 64, grid: { show: false },
          values: (_u, splits, _axis, _space, step) =>
            splits.map((at) => (step < 60 ? clock(at) : clock(at).slice(0, 5))),
          incrs: [20, 30, 60, 120, 180, 300, 600],
        },
        {
          ...axis, size: 50, space: 28, gap: 6,
          incrs: what.incrs,
          grid: { stroke: () => colors["--grid"], width: 1 },
          values: (_u, splits) => splits.map((value) => (value === 0 ? "0" : (what.tick ?? what.show)(value))),
        },
      ],
      series: [{}, ...what.series.map((line) => this.#series(line))],
      hooks: { setCursor: [(u) => this.#tell(u.cursor.idx ?? null)] },
    };
  }

  #series(line) {
    const { colors } = this;
    return {
      stroke: () => colors[line.color], dash: line.dash, width: line.width,
      fill: line.isFilled ? () => colors["--fill"] : undefined,
      points: { show: false }, spanGaps: false, gaps: shortGapsClosed,
    };
  }
}

const heightNow = () => (NARROW.matches ? HEIGHT_NARROW : HEIGHT);

/** Draw on over short silences: with few calls, not every second has a first token. */
function shortGapsClosed(u, _series, _from, _to, gaps) {
  return gaps.filter(([left, right]) => u.posToVal(right, "x", true) - u.posToVal(left, "x", true) > GAP_S_MAX);
}

export class Charts {
  colors = {};
  seconds = 300;
  at = Date.now() / 1000;
  from = this.at;

  constructor(parent) {
    this.#readColors();
    const timeOf = () => [Math.min(Math.max(this.at - this.seconds, this.from), this.at - WINDOW_S_MIN), this.at];
    this.charts = CHARTS.map((what) => new Chart(parent, what, this.colors, timeOf));
  }

  draw(history, at) {
    this.at = at;
    this.from = history.columns.at[0] ?? at;
    for (const chart of this.charts) chart.draw(history, this.seconds);
  }

  /** Take up the colours of another theme. */
  repaint() {
    this.#readColors();
    for (const chart of this.charts) chart.u.redraw(false);
  }

  #readColors() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["--muted", "--grid", "--fill", "--bad", "--line-1", "--line-2", "--line-3"])
      this.colors[name] = style.getPropertyValue(name).trim();
  }
}

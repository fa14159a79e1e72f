
"use strict";
// What is folded is opened for printing, and folded again after.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of folded) one.open = false;
});

// Whoever points at a plot of lines reads off what each named line has there. Tables have it too.
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const shows = {
  usd: (value) => `$${compact.format(value)}`,
  s: (value) => (value < 1 ? `${digits.format(value * 1e3)} ms` : `${digits.format(value)} s`),
};

function valueAt(points, x) {
  const next = points.findIndex((point) => point[0] >= x);
  if (next < 0 || x < points[0][0]) return null;
  const [[x1, y1], [x2, y2]] = [points[Math.max(0, next - 1)], points[next]];
  return x2 > x1 ? y1 + ((y2 - y1) * (x - x1)) / (x2 - x1) : y2;
}

function part(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

for (const picture of document.querySelectorAll(".lines svg")) {
  const [low, high, isLog, left, inner] = picture.dataset.x.split(" ").map(Number);
  const aim = picture.querySelector(".aim");
  const lines = [...picture.querySelectorAll("[data-points]")].map((line) => ({
    label: line.dataset.label,
    points: line.dataset.points.split(" ").map((pair) => pair.split(",").map(Number)),
  }));
  const hint = "Point at the picture to read it off.";
  const readout = part("p", hint);
  readout.className = "readout";
  readout.setAttribute("aria-hidden", "true");
  picture.after(readout);
  picture.addEventListener("pointermove", (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse()).x;
    const along = Math.min(1, Math.max(0, (place - left) / inner));
    const x = isLog ? low * (high / low) ** along : low + (high - low) * along;
    aim.setAttribute("transform", `translate(${left + along * inner} 0)`);
    picture.classList.add("aimed");
    readout.replaceChildren(part("span", `${compact.format(x)} ${picture.dataset.name}:`));
    for (const line of lines) {
      const value = valueAt(line.points, x);
      if (value === null) continue;
      const said = part("span", `${line.label} `);
      said.append(part("b", shows[picture.dataset.unit](value)));
      readout.append(said);
    }
  });
  picture.addEventListener("pointerleave", () => {
    picture.classList.remove("aimed");
    readout.replaceChildren(hint);
  });
}

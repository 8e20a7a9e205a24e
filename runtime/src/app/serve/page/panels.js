// The table of objects, and everything at the side.

import { colorOf } from "./palette.js";
import { STAGES } from "./server.js";

const MOST_ROWS = 100;
const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function swatch(classId) {
  const mark = make("span", { className: "swatch" });
  mark.style.setProperty("--swatch", colorOf(classId));
  return mark;
}

export const milliseconds = (time) => `${time < 9.95 ? time.toFixed(1) : Math.round(time)} ms`;

/** "4 persons, 1 bus", the most frequent first. */
export function summarise(objects) {
  const counts = [...countLabels(objects)].sort((a, b) => b[1] - a[1]);
  if (!counts.length) return "No objects";
  return counts.map(([label, count]) => `${count} ${count > 1 ? plural(label) : label}`).join(", ");
}

function countLabels(objects) {
  const counts = new Map();
  for (const { label } of objects) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
}

function plural(label) {
  if (/\d$/.test(label)) return `of class ${label}`;
  if (/(ss|us|x|ch|sh)$/.test(label)) return `${label}es`;
  return label.endsWith("s") ? label : `${label}s`;
}

/** Rows of the table. `onPick` is told the object whose row is pointed at or chosen. */
export function showRows(objects, lit, onPick) {
  $("results").hidden = !objects.length;
  $("more").hidden = objects.length <= MOST_ROWS;
  $("more").textContent = `and ${objects.length - MOST_ROWS} more, which Copy JSON includes`;
  $("rows").replaceChildren(
    ...objects.slice(0, MOST_ROWS).map((object) => {
      const [x1, y1, x2, y2] = object.box;
      const round = (value) => Math.round(value).toString();
      const button = make("button", { type: "button" }, swatch(object.classId), object.label);
      button.setAttribute("aria-pressed", String(object === lit));
      button.addEventListener("click", () => onPick(object, true));
      const row = make(
        "tr",
        {},
        make("td", {}, button),
        make("td", { className: "number", textContent: object.score.toFixed(3) }),
        make("td", { className: "number", textContent: `${round(x1)}, ${round(y1)}` }),
        make("td", { className: "number", textContent: `${round(x2 - x1)} × ${round(y2 - y1)}` }),
      );
      row.addEventListener("pointerenter", () => onPick(object, false));
      row.addEventListener("pointerleave", () => onPick(null, false));
      return row;
    }),
  );
}

/** Marks the row of an object. */
export function lightRow(objects, lit) {
  [...$("rows").children].forEach((row, at) => {
    row.classList.toggle("lit", lit !== null && objects[at] === lit);
    row.querySelector("button").setAttribute("aria-pressed", String(lit !== null && objects[at] === lit));
  });
}

/** A switch for every class that is there or hidden. `objects` are those above the threshold. */
export function showChips(objects, hidden, onToggle) {
  const classes = new Map([...hidden].map(([classId, label]) => [classId, { label, count: 0 }]));
  for (const { classId, label } of objects) {
    if (!classes.has(classId)) classes.set(classId, { label, count: 0 });
    classes.get(classId).count += 1;
  }
  const focused = document.activeElement?.dataset?.classId;
  $("chips").replaceChildren(
    ...[...classes].sort(([a], [b]) => a - b).map(([classId, { label, count }]) => {
      const chip = make("button", { type: "button" }, swatch(classId), label, make("b", { textContent: count }));
      chip.dataset.classId = classId;
      chip.setAttribute("aria-pressed", String(!hidden.has(classId)));
      chip.addEventListener("click", () => onToggle(classId, label));
      return chip;
    }),
  );
  if (focused) [...$("chips").children].find((chip) => chip.dataset.classId === focused)?.focus();
  $("chips-empty").hidden = classes.size > 0;
  $("all-classes").hidden = hidden.size === 0;
}

/** A mark above the slider for everything that the model saw. */
export function showTicks(objects, threshold, low, high) {
  $("ticks").replaceChildren(
    ...objects.map((object) => {
      const tick = make("i", { className: object.score >= threshold ? "" : "below" });
      tick.style.left = `${(100 * (object.score - low)) / (high - low)}%`;
      tick.style.setProperty("--swatch", colorOf(object.classId));
      return tick;
    }),
  );
}

export function showTiming(timing, framesPerSecond) {
  const names = Object.keys(STAGES).filter((name) => name in timing);
  $("latency-empty").hidden = true;
  $("total").textContent = milliseconds(timing.total) + (framesPerSecond ? ` · ${framesPerSecond.toFixed(1)} fps` : "");
  $("split").replaceChildren(
    ...names.map((name) => {
      const part = make("i");
      part.dataset.part = name;
      part.style.flexGrow = timing[name];
      return part;
    }),
  );
  $("legend").replaceChildren(
    ...names.flatMap((name) => {
      const term = make("dt", { textContent: STAGES[name] });
      term.dataset.part = name;
      return [term, make("dd", { textContent: milliseconds(timing[name]) })];
    }),
  );
}

const count = (number) =>
  number >= 1e9 ? `${(number / 1e9).toFixed(1)} G` : number >= 1e6 ? `${(number / 1e6).toFixed(1)} M` : String(number);

/** The model card. What the server does not tell is left out. */
export function showModel(card, name, names) {
  const rows = [];
  const fact = (term, value, title = "") => {
    if (value) rows.push(make("dt", { textContent: term }), make("dd", { title }, value));
  };
  const zeros = (all, nonzero) => `, ${Math.round(100 * (1 - nonzero / Math.max(1, all)))} % zero`;
  if (card.model_path !== `${name}.onnx`) fact("File", card.model_path);
  fact("Input", card.input && `${card.input.width} × ${card.input.height}`);
  fact("Numbers", { true: "8-bit integers", false: "32-bit floats" }[card.quantised]);
  fact("Weights", card.weights && count(card.weights) + zeros(card.weights, card.nonzero_weights));
  fact("Products per picture", card.macs && count(card.macs) + zeros(card.macs, card.nonzero_macs));
  fact("Instructions", card.isa);
  if (card.sha256) fact("SHA-256", make("code", { textContent: `${card.sha256.slice(0, 12)}…` }), card.sha256);
  $("facts").replaceChildren(...rows);
  $("class-list-box").hidden = !names.length;
  $("class-list-title").textContent = `${names.length} class${names.length === 1 ? "" : "es"}`;
  $("class-list").textContent = names.join(", ");
}

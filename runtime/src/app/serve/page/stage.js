// The picture and the boxes over it.

import { colorOf, inkOn } from "./palette.js";

/** Pixels of the longer side that are kept for the screen. */
const SCREEN_SIDE = 2560;

export class Stage {
  #element = document.getElementById("stage");
  #frame = document.getElementById("frame");
  #picture = document.getElementById("picture");
  #overlay = document.getElementById("boxes");
  #size = null;
  #objects = [];
  #lit = null;

  constructor(onPoint) {
    new ResizeObserver(() => this.#layOut()).observe(this.#element);
    this.#overlay.addEventListener("pointermove", (event) => onPoint(this.#at(event)));
    this.#overlay.addEventListener("pointerleave", () => onPoint(null));
  }

  /** Width and height of the picture, or nothing while there is none. */
  get size() {
    return this.#size;
  }

  /** Shows an ImageBitmap or a canvas, whose pixels are those that boxes are in. */
  show(image) {
    const scale = Math.min(1, SCREEN_SIDE / Math.max(image.width, image.height));
    this.#picture.width = Math.max(1, Math.round(image.width * scale));
    this.#picture.height = Math.max(1, Math.round(image.height * scale));
    this.#picture.getContext("2d").drawImage(image, 0, 0, this.#picture.width, this.#picture.height);
    this.#open(image.width, image.height);
  }

  /** A blank field in place of a picture that the browser cannot show; boxes tell how large it is at least. */
  blank(objects) {
    const far = (side) => Math.max(1, ...objects.map((object) => object.box[side]));
    this.#picture.width = this.#picture.height = 1;
    this.#open(far(2), far(3));
  }

  #open(width, height) {
    this.#size = { width, height };
    this.#frame.hidden = false;
    this.#element.dataset.mode = "picture";
    document.getElementById("empty").hidden = true;
    this.#layOut();
  }

  /** Draws boxes; `lit` is the one to stress, if any. */
  draw(objects, lit = null) {
    this.#objects = objects;
    this.#lit = lit;
    this.#paint();
  }

  label(text) {
    this.#overlay.setAttribute("aria-label", text);
  }

  /** The picture with its boxes, at its own size, as a PNG. */
  async export() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.#picture.width, this.#picture.height];
    const context = canvas.getContext("2d");
    context.drawImage(this.#picture, 0, 0);
    const scale = canvas.width / this.#size.width;
    paint(context, this.#objects, null, scale, Math.max(1, Math.max(canvas.width, canvas.height) / 900), canvas.width);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  #layOut() {
    if (!this.#size) return;
    const { width, height } = this.#size;
    const [roomX, roomY] = [this.#element.clientWidth, this.#element.clientHeight];
    const scale = Math.min(roomX / width, roomY / height);
    this.#frame.style.width = `${width * scale}px`;
    this.#frame.style.height = `${height * scale}px`;
    this.#paint();
  }

  #paint() {
    const density = window.devicePixelRatio || 1;
    const [width, height] = [this.#frame.clientWidth, this.#frame.clientHeight];
    this.#overlay.width = Math.round(width * density);
    this.#overlay.height = Math.round(height * density);
    if (!width || !this.#size) return;
    const context = this.#overlay.getContext("2d");
    context.scale(density, density);
    paint(context, this.#objects, this.#lit, width / this.#size.width, 1, width);
  }

  /** The smallest box under the pointer. */
  #at(event) {
    const scale = this.#size.width / this.#overlay.clientWidth;
    const [x, y] = [event.offsetX * scale, event.offsetY * scale];
    const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
    const under = this.#objects.filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2);
    return under.sort((a, b) => area(a) - area(b))[0] ?? null;
  }
}

/** Draws boxes, the surest on top; `unit` is the thickness of a thin line, `width` that of the picture. */
function paint(context, objects, lit, scale, unit, width) {
  context.font = `600 ${12.5 * unit}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  const placed = objects.map((object) => {
    const box = object.box.map((side) => side * scale);
    const text = `${object.label} ${object.score.toFixed(2)}`;
    const label = place(box, context.measureText(text).width + 10 * unit, 19 * unit, unit, width, taken);
    taken.push(label);
    return { object, box, text, label };
  });
  placed.reverse().sort((a, b) => (a.object === lit) - (b.object === lit));
  for (const { object, box: [x1, y1, x2, y2], text, label } of placed) {
    const color = colorOf(object.classId);
    if (object === lit) {
      context.globalAlpha = 0.16;
      context.fillStyle = color;
      context.fillRect(x1, y1, x2 - x1, y2 - y1);
    }
    context.globalAlpha = lit && object !== lit ? 0.3 : 1;
    context.lineWidth = 3.5 * unit;
    context.strokeStyle = "rgb(0 0 0 / 0.35)";
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.lineWidth = 2 * unit;
    context.strokeStyle = color;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.fillStyle = color;
    context.beginPath();
    context.roundRect(label.x, label.y, label.wide, label.high, 3 * unit);
    context.fill();
    context.fillStyle = inkOn(object.classId);
    context.fillText(text, label.x + 5 * unit, label.y + label.high / 2 + 0.5 * unit);
  }
  context.globalAlpha = 1;
}

/** Where a label covers no other: above the box, else inside at its top, at its bottom, or below it. */
function place([x1, y1, x2, y2], wide, high, unit, width, taken) {
  const inside = (x) => Math.max(0, Math.min(x, width - wide));
  const [left, right] = [inside(x1 - unit), inside(x2 + unit - wide)];
  const top = y1 - high >= 0 ? y1 - high : Math.max(0, y1);
  const spots = [[left, top], [left, Math.max(0, y1)], [right, top], [left, y2 - high], [right, y2 - high], [left, y2]];
  const free = ([x, y]) => taken.every((t) => x >= t.x + t.wide || x + wide <= t.x || y >= t.y + t.high || y + high <= t.y);
  const [x, y] = spots.find(free) ?? spots[0];
  return { x, y, wide, high };
}

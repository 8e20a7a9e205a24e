// What the server is asked, and what went wrong in words that help.

/** The lowest confidence that is asked for; the slider filters from there on. */
export const FLOOR = 0.05;

const MOST_OBJECTS = 300;
const KEY_NAME = "api-key";

/** A request that did not succeed: what happened, what to do, and the server's own words. */
export class Trouble extends Error {
  constructor(status, title, advice, detail = "", wait = 0) {
    super(title);
    Object.assign(this, { status, title, advice, detail, wait });
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY_NAME, key);
}

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY_NAME);
  return key ? { ...more, authorization: `Bearer ${key}` } : more;
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers), cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const trouble = new Trouble(0, "The server does not answer", "See whether it still runs and can be reached, then try again.");
    throw Object.assign(trouble, { isOutOfReach: true });
  }
  if (response.ok) return response;
  let said = "";
  try {
    said = (await response.json()).error?.message ?? "";
  } catch {
    // A proxy in between may answer with anything.
  }
  const [title, advice] = EXPLAINED[response.status] ?? UNEXPLAINED(response.status);
  const wait = Number(response.headers.get("retry-after")) || 1;
  throw new Trouble(response.status, title, advice, said, wait);
}

const UNREADABLE = ["The server cannot read this picture", "Choose a JPEG, PNG, WebP, BMP, TIFF or GIF that opens elsewhere."];
const BUSY = ["The server is busy", "It has more requests than it can hold. Try again in a moment."];
const EXPLAINED = {
  400: ["The server did not understand the request", "Reload the page; it may be older than the server."],
  401: ["This server asks for a key", "Enter the API key that its operator gave you. It stays in this tab."],
  403: ["This key is not accepted", "Enter the API key that the server's operator gave you."],
  404: ["The server has no such model", "Reload the page to see the models that it has now."],
  408: ["The picture took too long to arrive", "Try again, or send a smaller copy."],
  413: ["The picture is too large for this server", "Send a smaller copy; boxes are then those of the copy."],
  415: UNREADABLE,
  422: UNREADABLE,
  429: BUSY,
  503: BUSY,
  504: ["The answer took too long", "The server is at its limit. Try again in a moment."],
};
const UNEXPLAINED = (status) =>
  status >= 500
    ? [`The server failed (${status})`, "Try again; if it stays so, its log says more."]
    : [`The server refused the request (${status})`, "Its own words are below."];

/** The names of the models in this server. */
export async function models() {
  return (await (await ask("v2/models")).json()).models;
}

export async function modelCard(name) {
  return (await ask(`v2/models/${encodeURIComponent(name)}`)).json();
}

/** Where pictures go, with what. */
export function address(model, isOnlyModel, parameters) {
  const route = isOnlyModel ? "predict" : `v2/models/${encodeURIComponent(model)}/infer`;
  return `${route}?${new URLSearchParams(parameters)}`;
}

/**
 * Objects in a picture: `{objects: [{label, classId, score, box}], timing: {queue, decode, pre, infer, post, network, total}}`.
 * Objects come surest first; times are milliseconds.
 */
export async function detect(blob, model, isOnlyModel, iou, signal) {
  const url = address(model, isOnlyModel, { conf_thres: FLOOR, iou_thres: iou, max_det: MOST_OBJECTS });
  const started = performance.now();
  const type = blob.type.startsWith("image/") ? blob.type : "application/octet-stream";
  const response = await ask(url, { method: "POST", body: blob, headers: { "content-type": type }, signal });
  const answer = await response.json();
  const [boxes, scores, labels, classIds] = ["boxes", "scores", "labels", "class_ids"].map((column) => answer[column][0]);
  const objects = boxes.map((box, at) => ({ box, score: scores[at], label: labels[at], classId: classIds[at] }));
  objects.sort((a, b) => b.score - a.score);
  return { objects, timing: timing(response.headers.get("server-timing"), performance.now() - started) };
}

function timing(header, total) {
  const parts = {};
  for (const part of (header ?? "").split(",")) {
    const [, name, duration] = /^\s*(\w+)\s*;.*?dur=([\d.]+)/.exec(part) ?? [];
    if (name in STAGES) parts[name] = Number(duration);
  }
  const inside = Object.values(parts).reduce((sum, part) => sum + part, 0);
  return { ...parts, network: Math.max(0, total - inside), total };
}

/** Stages of a request in their order, and what they are called. */
export const STAGES = {
  queue: "Waiting in the queue",
  decode: "Reading the picture",
  pre: "Letterbox",
  infer: "Neural network",
  post: "Suppression",
  network: "Transfer and the rest",
};

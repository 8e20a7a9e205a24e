// The page: what is shown, what was asked last, and what follows from a hand on a control.

import { complain, forgive, isComplaining, setState } from "./alert.js";
import { Camera } from "./camera.js";
import { jpegCopy } from "./copy.js";
import { lightRow, showChips, showModel, showRows, showTicks, showTiming, summarise } from "./panels.js";
import { FLOOR, Trouble, address, detect, modelCard, models, setKey } from "./server.js";
import { Stage } from "./stage.js";
import { upright } from "./upright.js";

const SETTLE_MS = 150;
const ANNOUNCE_MS = 2000;
const MOST_RETRIES = 3;
/** Longer side of the copy of a picture that is too large. */
const SMALLER_SIDE = 1920;

const $ = (id) => document.getElementById(id);
const stage = new Stage(light);
const camera = new Camera();
const conf = $("conf");
const iou = $("iou");

const state = {
  names: [],
  model: "",
  modelCount: 1,
  /** The picture on show: its bytes, and the name of its file. */
  blob: null,
  name: "image.jpg",
  /** What was done to it, and whether this browser cannot show it. */
  note: "",
  unseen: false,
  /** Everything the server found above FLOOR, surest first. */
  objects: [],
  answered: false,
  /** Classes that are not shown: their names by index. */
  hidden: new Map(),
  pinned: null,
  request: null,
  session: null,
  announced: { text: "", at: 0, timer: 0 },
};

const threshold = () => Number(conf.value);
const above = () => state.objects.filter((object) => object.score >= threshold());
const shown = () => above().filter((object) => !state.hidden.has(object.classId));

// What is on the page

function refresh() {
  const objects = shown();
  if (!objects.includes(state.pinned)) state.pinned = null;
  stage.draw(objects, state.pinned);
  showRows(objects, state.pinned, (object, pin) => {
    if (pin) state.pinned = state.pinned === object ? null : object;
    light(object);
  });
  lightRow(objects, state.pinned);
  showChips(above(), state.hidden, toggleClass);
  showTicks(state.objects, threshold(), Number(conf.min), Number(conf.max));
  $("reset").hidden = conf.value === conf.defaultValue && iou.value === iou.defaultValue;
  $("conf-value").textContent = threshold().toFixed(2);
  $("iou-value").textContent = Number(iou.value).toFixed(2);
  $("save").disabled = $("copy-json").disabled = !state.answered;
  if (state.answered) tell(objects);
  showCurl();
}

function tell(objects) {
  const text = summarise(objects) + (!objects.length && above().length ? " shown" : "");
  const size = stage.size;
  $("summary").replaceChildren(text);
  const note = document.createElement("small");
  const notes = [state.unseen ? "in a picture that this browser cannot show" : `in ${size.width} × ${size.height} pixels`];
  const hidden = above().length - objects.length;
  if (hidden) notes.push(`${hidden} hidden`);
  if (state.note) notes.push(state.note);
  note.textContent = notes.join(", ");
  $("summary").append(" ", note);
  stage.label(`Picture with boxes: ${text}`);
  announce(text);
}

/** Screen readers hear what changed, and of a camera only now and then. */
function announce(text) {
  const { announced } = state;
  clearTimeout(announced.timer);
  if (text === announced.text) return;
  const wait = Math.max(SETTLE_MS, announced.at + ANNOUNCE_MS - performance.now());
  announced.timer = setTimeout(() => {
    Object.assign(announced, { text, at: performance.now() });
    $("live").textContent = text;
  }, wait);
}

function light(object) {
  const objects = shown();
  const lit = object ?? state.pinned;
  stage.draw(objects, lit);
  lightRow(objects, lit);
}

function toggleClass(classId, label) {
  if (!state.hidden.delete(classId)) state.hidden.set(classId, label);
  refresh();
}

function showCurl() {
  const parameters = { conf_thres: threshold().toFixed(2), iou_thres: Number(iou.value).toFixed(2) };
  if (state.hidden.size && state.names.length) {
    parameters.classes = [...new Set(shown().map((object) => object.classId))].sort((a, b) => a - b).join(",");
    if (!parameters.classes) delete parameters.classes;
  }
  const url = new URL(address(state.model, state.modelCount <= 1, parameters), document.baseURI).href.replaceAll("%2C", ",");
  const type = state.blob?.type || "image/jpeg";
  const file = /^[\w.-]+$/.test(state.name) ? state.name : `'${state.name.replaceAll("'", "'\\''")}'`;
  $("curl").textContent = `curl --data-binary @${file} -H 'content-type: ${type}' '${url}'`;
}

// Pictures

/** Shows a picture and looks for objects in it; `note` says what was done to it before. */
async function open(blob, name, note = "") {
  stopCamera();
  forgive();
  Object.assign(state, { blob, name, note, objects: [], answered: false, pinned: null, unseen: false });
  try {
    const picture = await upright(blob);
    if (state.blob === blob) stage.show(picture);
    picture.close?.();
  } catch {
    state.unseen = true;
  }
  if (state.blob !== blob) return;
  refresh();
  $("summary").textContent = "";
  await look();
}

/** Asks the server about the picture on show, and shows the answer. */
async function look(retries = 0) {
  const { blob } = state;
  if (!blob) return;
  state.request?.abort();
  const request = (state.request = new AbortController());
  $("busy").hidden = false;
  try {
    const answer = await detect(blob, state.model, state.modelCount <= 1, iou.value, request.signal);
    if (state.request !== request) return;
    accept(answer);
    forgive();
  } catch (error) {
    if (error.name === "AbortError" || state.request !== request) return;
    if (!(error instanceof Trouble)) throw error;
    if ((error.status === 429 || error.status === 503) && retries < MOST_RETRIES) {
      $("summary").textContent = "The server is busy; trying again …";
      await new Promise((done) => setTimeout(done, 1000 * Math.min(error.wait, 10)));
      if (state.request === request) return look(retries + 1);
      return;
    }
    await refuse(error);
  } finally {
    if (state.request === request || state.request === null) $("busy").hidden = true;
  }
}

function accept({ objects, timing }, framesPerSecond) {
  Object.assign(state, { objects, answered: true });
  if (state.unseen) stage.blank(state.objects);
  setState("good");
  showTiming(timing, framesPerSecond);
  refresh();
}

/** What the server does not take as it is may be taken as a copy that the browser makes. */
async function refuse(trouble) {
  Object.assign(state, { objects: [], answered: false });
  refresh();
  $("summary").textContent = "";
  const isUnreadable = trouble.status === 415 || trouble.status === 422;
  const isTooLarge = trouble.status === 413;
  const canCopy = !state.unseen && !state.note;
  const retryWith = async (side, note) => open(await jpegCopy(state.blob, side), rename(state.name), note);
  if (isUnreadable && canCopy) return retryWith(Infinity, "sent as JPEG, because the server does not read this format");
  if (isTooLarge && canCopy) {
    return complain(trouble, "Send a smaller copy", () => retryWith(SMALLER_SIDE, "a smaller copy"));
  }
  complain(trouble, "Try again", isUnreadable || isTooLarge ? null : () => look());
}

const rename = (name) => name.replace(/(\.\w+)?$/, ".jpg");

// Camera

async function startCamera(deviceId) {
  forgive();
  state.request?.abort();
  try {
    const { current, lenses } = await camera.open(deviceId);
    $("lens").replaceChildren(...lenses.map((lens, at) => new Option(lens.label || `Camera ${at + 1}`, lens.deviceId, false, lens.deviceId === current)));
    $("lens-label").hidden = lenses.length < 2;
  } catch (trouble) {
    stopCamera();
    return complain(trouble, "Try again", () => startCamera(deviceId));
  }
  $("camera").textContent = "Stop the camera";
  $("camera").setAttribute("aria-pressed", "true");
  await watch();
}

/** Looks at the newest frame as soon as the last answer is there. */
async function watch() {
  const session = (state.session = {});
  let [last, rate] = [performance.now(), 0];
  while (state.session === session) {
    const frame = await camera.frame();
    if (state.session !== session) return;
    if (!frame) {
      stopCamera();
      return complain(new Trouble(0, "The camera went away", "Connect it again, then try again."), "Try again", () => startCamera());
    }
    const request = (state.request = new AbortController());
    try {
      const answer = await detect(frame.blob, state.model, state.modelCount <= 1, iou.value, request.signal);
      if (state.session !== session) return;
      const now = performance.now();
      rate = rate ? 0.8 * rate + 0.2 * (1000 / (now - last)) : 1000 / (now - last);
      last = now;
      Object.assign(state, { blob: frame.blob, name: "frame.jpg", note: "", unseen: false });
      stage.show(frame.canvas);
      accept(answer, rate);
      await new Promise(requestAnimationFrame);
    } catch (error) {
      if (error.name === "AbortError" || state.session !== session) return;
      if (!(error instanceof Trouble)) throw error;
      if (error.status === 429 || error.status === 503) {
        $("summary").textContent = "The server is busy; trying again …";
        await new Promise((done) => setTimeout(done, 1000 * Math.min(error.wait, 10)));
        continue;
      }
      stopCamera();
      return complain(error, "Try again", () => startCamera());
    }
  }
}

function stopCamera() {
  state.session = null;
  camera.close();
  $("camera").textContent = "Use the camera";
  $("camera").setAttribute("aria-pressed", "false");
  $("lens-label").hidden = true;
}

// Hands on controls

function take(files) {
  const file = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
  if (file) open(file, file.name);
}

let settling = 0;
function rerun() {
  clearTimeout(settling);
  settling = setTimeout(() => camera.on || look(), SETTLE_MS);
}

conf.addEventListener("input", refresh);
iou.addEventListener("input", () => {
  refresh();
  rerun();
});
$("reset").addEventListener("click", () => {
  const again = iou.value !== iou.defaultValue;
  [conf.value, iou.value] = [conf.defaultValue, iou.defaultValue];
  refresh();
  if (again) rerun();
  conf.focus();
});
$("all-classes").addEventListener("click", () => {
  state.hidden.clear();
  refresh();
});
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  take($("file").files);
  $("file").value = "";
});
$("stage").addEventListener("click", () => {
  if ($("stage").dataset.mode === "empty") $("file").click();
});
$("camera").addEventListener("click", () => (camera.on ? stopCamera() : startCamera()));
$("lens").addEventListener("change", () => startCamera($("lens").value));
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value.trim());
  $("key").value = "";
  forgive();
  connect().then(() => camera.on || look());
});

document.addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (isComplaining()) forgive();
  else if (camera.on) stopCamera();
  else if (state.pinned) {
    state.pinned = null;
    refresh();
  }
});

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dragging");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  take(event.dataTransfer.files);
});

async function copy(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = label), 1500);
}
$("copy-curl").addEventListener("click", () => copy($("curl").textContent, $("copy-curl")));
$("copy-json").addEventListener("click", () => {
  const objects = shown();
  const answer = {
    boxes: [objects.map((object) => object.box)],
    scores: [objects.map((object) => object.score)],
    labels: [objects.map((object) => object.label)],
  };
  copy(JSON.stringify(answer), $("copy-json"));
});
$("save").addEventListener("click", async () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await stage.export());
  link.download = state.name.replace(/(\.\w+)?$/, "-boxes.png");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

// Start

async function choose(name) {
  state.model = name;
  const card = await modelCard(name);
  state.names = card.class_names;
  start(conf, card.defaults.conf_thres);
  start(iou, card.defaults.iou_thres);
  showModel(card, name, state.names);
  $("title").textContent = name;
  document.title = `${name} – detector`;
  refresh();
}

/** Sets a slider to where it stands unless somebody moves it. */
function start(slider, value) {
  const moved = slider.value !== slider.defaultValue;
  slider.defaultValue = value;
  if (!moved) slider.value = value;
}

async function connect() {
  try {
    const names = await models();
    state.modelCount = names.length;
    $("models").replaceChildren(...names.map((name) => new Option(name)));
    $("models-label").hidden = names.length < 2;
    await choose(names[0]);
    setState("good");
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    complain(error, "Try again", connect);
  }
}
$("models").addEventListener("change", () => choose($("models").value).then(() => camera.on || look()));

conf.min = FLOOR;
refresh();
connect();

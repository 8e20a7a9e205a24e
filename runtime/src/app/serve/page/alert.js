// What went wrong, what to do about it, and how the server is.

const $ = (id) => document.getElementById(id);
const STATES = { good: "Ready", bad: "No answer", wait: "Key needed" };

let act = null;

/** Shows a Trouble; `action` is what the button called `label` does, if anything helps. */
export function complain(trouble, label, action) {
  const asksKey = trouble.status === 401 || trouble.status === 403;
  $("alert-title").textContent = `${trouble.title}.`;
  $("alert-text").textContent = trouble.advice;
  $("alert-detail").textContent = trouble.detail && (trouble.status ? `The server says: ${trouble.detail}` : trouble.detail);
  $("key-form").hidden = !asksKey;
  $("alert-action").hidden = asksKey || !action;
  $("alert-action").textContent = label;
  act = action;
  $("alert").hidden = false;
  if (trouble.isOutOfReach) setState("bad");
  if (asksKey) {
    setState("wait");
    $("key").focus();
  }
}

export function forgive() {
  $("alert").hidden = true;
  act = null;
}

export function isComplaining() {
  return !$("alert").hidden;
}

/** Says how the server is: `good`, `bad` or `wait`. */
export function setState(state) {
  $("state").dataset.state = state;
  $("state-text").textContent = STATES[state];
}

$("alert-close").addEventListener("click", forgive);
$("alert-action").addEventListener("click", () => {
  const action = act;
  forgive();
  action?.();
});

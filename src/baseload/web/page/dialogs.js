// Questions and short answers. Dialogs are the browser's own: they hold the focus, close with
// Escape, and give the focus back to where it was.

import { byId, make, say } from "./dom.js";

const TOAST_MS = 6000;
const TOASTS_MAX = 3;

/** Ask before something is done; gives whether to do it. */
export function confirm({ title, words, warning, yes }) {
  const dialog = byId("confirm");
  say(byId("confirm-title"), title);
  say(byId("confirm-words"), words);
  say(byId("confirm-warning"), warning);
  byId("confirm-warning").hidden = !warning;
  say(byId("confirm-yes"), yes);
  return shown(dialog).then((answer) => answer === "yes");
}

/** Ask for the admin token; gives it, or nothing if the dialog was closed. */
export async function askToken(warning) {
  const dialog = byId("token");
  const field = byId("token-value");
  field.value = "";
  say(byId("token-warning"), warning);
  byId("token-warning").hidden = !warning;
  const answer = await shown(dialog);
  const token = field.value;
  field.value = "";
  return answer === "yes" && token.trim() ? token : null;
}

export function showShortcuts() {
  return shown(byId("shortcuts"));
}

export const isAsking = () => document.querySelector("dialog[open]") !== null;

function shown(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Say for a moment what came of something. */
export function toast(words, isBad = false) {
  const parent = byId("toasts");
  const note = make("p", isBad ? "toast bad" : "toast", words);
  parent.append(note);
  while (parent.childElementCount > TOASTS_MAX) parent.firstElementChild.remove();
  setTimeout(() => note.remove(), TOAST_MS);
}

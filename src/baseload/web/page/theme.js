// The theme is set before anything is drawn, so that a dark room is not lit for a moment.
"use strict";
(() => {
  let kept = null;
  try {
    kept = localStorage.getItem("baseload-theme");
  } catch {
    // A browser that keeps nothing follows the system.
  }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();

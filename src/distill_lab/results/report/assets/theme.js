// Before anything is painted: the theme that was chosen, or the system's.
"use strict";
(() => {
  let kept = null;
  try { kept = localStorage.getItem("distill-lab-theme"); } catch { /* a file may have no storage */ }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();
function currentTheme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// What makes the portal's pages better where scripts run. Without it every page works.
import { writeTimes } from "./times.js";
import { enableCopying } from "./copy.js";
import { enableDialogs } from "./dialog.js";
import { enableShortcuts } from "./shortcuts.js";
import { toast } from "./toast.js";

document.documentElement.classList.add("scripted");
writeTimes(document);
enableCopying();
enableDialogs();
if (!("nokeys" in document.documentElement.dataset)) enableShortcuts();

// What htmx has put into the page.
document.addEventListener("htmx:load", (event) => writeTimes(event.target));

// A list that could not be loaded says so, and offers to try again.
for (const kind of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(kind, () => toast("That could not be loaded. Try again."));
}

// Choices that count at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});
for (const one of document.querySelectorAll("[data-unscripted]")) one.hidden = true;
for (const one of document.querySelectorAll("[data-scripted]")) one.hidden = false;

// An open menu closes with Escape, and when something else is used.
const closeMenus = (except) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(except)) menu.open = false;
};
document.addEventListener("click", (event) => closeMenus(event.target));
document.addEventListener("focusin", (event) => closeMenus(event.target));
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});

// A notice is for this once: a reload does not repeat it.
const here = new URL(location.href);
if (here.searchParams.has("notice")) {
  here.searchParams.delete("notice");
  history.replaceState(history.state, "", here);
}

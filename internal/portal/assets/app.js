// What makes the portal's pages better where scripts run. Without it every page works.
import { writeTimes } from "./times.js";
import { enableCopying } from "./copy.js";
import { enableDialogs } from "./dialog.js";
import { enableLive } from "./live.js";
import { enableShortcuts } from "./shortcuts.js";
import { say } from "./toast.js";

document.documentElement.classList.add("scripted");
writeTimes(document);
enableCopying();
enableDialogs();
enableLive();
document.addEventListener("click", (event) => { if (event.target.closest("#new-rows")) location.reload(); });
if (!("nokeys" in document.documentElement.dataset)) enableShortcuts();

// What htmx has put into the page.
document.addEventListener("htmx:load", (event) => writeTimes(event.target));

// Filters that select nothing stay out of the address.
document.addEventListener("htmx:configRequest", (event) => {
  const values = event.detail.parameters;
  for (const name of Object.keys(values)) if (values[name] === "") delete values[name];
});

// A list that was loaded says how long it is; one that could not be loaded says so, and offers to try again.
document.addEventListener("htmx:afterSettle", () => {
  const rows = document.querySelectorAll("#results tbody tr").length;
  if (document.getElementById("results")) say(rows === 1 ? "1 row is shown." : `${rows} rows are shown.`);
});
for (const kind of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(kind, (event) => {
    const error = document.getElementById("load-error").content.cloneNode(true);
    error.querySelector("a").href = event.detail.pathInfo.finalRequestPath;
    event.detail.target.replaceChildren(error);
  });
}

// What htmx has loaded is in the address, and forms come back to it.
document.addEventListener("submit", (event) => {
  const back = event.target.elements.namedItem("back");
  if (back) back.value = location.pathname + location.search;
});

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

// On paper is all of a delivery: what its page does not have is asked for when it is printed. Only a synchronous request is in time.
let folded;
addEventListener("beforeprint", () => {
  const link = document.querySelector("[data-print]"), ask = new XMLHttpRequest();
  if (!link) return;
  try { ask.open("GET", link.href, false); ask.send(); } catch { return; }
  const whole = new DOMParser().parseFromString(ask.responseText, "text/html").querySelector("#attempt")?.closest("main");
  if (!whole) return;
  folded = document.querySelector("main");
  folded.replaceWith(document.adoptNode(whole));
  writeTimes(whole);
});
addEventListener("afterprint", () => {
  if (folded) document.querySelector("main").replaceWith(folded);
  folded = null;
});

// A notice is for this once: a reload does not repeat it.
const here = new URL(location.href);
if (here.searchParams.has("notice")) {
  here.searchParams.delete("notice");
  history.replaceState(history.state, "", here);
}

// Keeps a page up to date by asking for it again: soon while something happens, and ever more rarely, so that a page that is
// left open costs next to nothing. Nothing that one reads moves.
//
//   data-live="rows"  rows that are shown change in place; others are announced: "12 new"
//   data-live="page"  the main part is replaced; data-due is when something is expected, in ms since 1970
import { say } from "./toast.js";
import { writeTimes } from "./times.js";

const soonest = 5e3, latest = 120e3;
// What is on its way when a page opens has mostly arrived then.
const first = 1e3;
let wait = soonest, timer = 0;

export function enableLive() {
  if (!document.querySelector("[data-live]")) return;
  wait = document.querySelector("[data-live]").dataset.live === "page" ? first : soonest;
  plan();
  document.addEventListener("visibilitychange", () => { wait = soonest; plan(); });
}

function plan() {
  clearTimeout(timer);
  if (document.hidden) return;
  const due = Number(document.querySelector("[data-due]")?.dataset.due) - Date.now() + 1500;
  timer = setTimeout(refresh, due > 0 && due < latest ? due : wait);
}

// busy is true while the visitor reads or chooses something that a change would disturb.
function busy() {
  const chosen = getSelection();
  return document.querySelector("dialog[open], details.menu[open], .htmx-request") ||
    chosen && !chosen.isCollapsed || document.activeElement.closest("main form input, main form select");
}

async function refresh() {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  if (!busy()) {
    const response = await fetch(location.href, { headers: { Accept: "text/html", "Herald-Refresh": "1" }, redirect: "manual" }).catch(() => null);
    if (response?.type === "opaqueredirect") { signedOut(); return; }
    if (response?.ok && !busy()) {
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const changed = live.dataset.live === "rows" ? refreshRows(live, fresh) : refreshPage(fresh);
      wait = changed ? soonest : Math.min(wait * 1.5, latest);
      if (allNew(fresh)) wait = latest;
    } else {
      wait = Math.min(wait * 1.5, latest);
    }
  }
  plan();
}

// signedOut says that the session has ended. The page stays as it is, and asks no more.
function signedOut() {
  const notice = document.getElementById("session-ended").content.cloneNode(true);
  notice.querySelector("a").href = location.href;
  document.querySelector("main").prepend(notice);
}

// contentOf is what a cell says: of a time itself, not how long ago it is.
function contentOf(cell) {
  return cell.querySelector("time")?.dateTime ?? cell.textContent;
}

const rowsOf = (page) => [...page.querySelectorAll("#results tbody tr")];
const addressOf = (row) => row.querySelector("a").getAttribute("href");

// allNew is true when a whole page of rows is new. Asking again soon could announce nothing else, and costs most when
// most is to be done.
function allNew(fresh) {
  const shown = new Set(rowsOf(document).map(addressOf));
  return fresh.querySelector('#results a[rel="next"]') && !rowsOf(fresh).some((row) => shown.has(addressOf(row)));
}

// refreshRows changes the rows that are shown, and returns whether any has.
function refreshRows(live, fresh) {
  const shown = new Map(rowsOf(document).map((row) => [addressOf(row), row]));
  let fresher = 0, changed = false;
  for (const row of rowsOf(fresh)) {
    const old = shown.get(addressOf(row));
    if (!old) { fresher++; continue; }
    for (const [i, cell] of [...row.cells].entries()) {
      if (contentOf(old.cells[i]) === contentOf(cell)) continue;
      old.cells[i].replaceChildren(...document.importNode(cell, true).childNodes);
      writeTimes(old.cells[i]);
      changed = true;
    }
  }
  const button = document.getElementById("new-rows");
  const text = fresher === 0 ? "" : `${fresher}${allNew(fresh) ? " or more" : ""} new`;
  if (button && button.textContent !== text) {
    button.hidden = !text;
    button.textContent = text;
    if (text) say(text);
    changed = true;
  }
  return changed;
}

// refreshPage replaces the main part if its state has changed, and returns whether it has.
function refreshPage(fresh) {
  const old = document.querySelector("[data-live]"), now = fresh.querySelector("[data-live]");
  if (now && old.dataset.version === now.dataset.version) return false;
  const main = document.querySelector("main"), open = main.contains(document.activeElement);
  main.replaceChildren(...document.importNode(fresh.querySelector("main"), true).childNodes);
  for (const one of main.querySelectorAll("[data-unscripted]")) one.hidden = true;
  writeTimes(main);
  if (open) main.focus({ preventScroll: true });
  say(main.querySelector(".badge")?.textContent ?? "");
  return true;
}

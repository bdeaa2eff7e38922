// Keeps a page up to date by asking for it again. While the page is visible, a stream says when: something of the client has
// changed. Without a stream the page asks by itself: soon while something happens, and ever more rarely, so that a page that
// is left open costs next to nothing. Nothing that one reads moves.
//
//   data-live="rows"  rows that are shown change in place; others are announced: "12 new"
//   data-live="page"  the main part is replaced if it says something else; data-due is when something is expected, in ms
//                     since 1970, and data-pause how long it stays as it is at least, in ms
import { say } from "./toast.js";
import { writeTimes } from "./times.js";

const soonest = 5e3, latest = 120e3;
// What is on its way when a page opens has mostly arrived then.
const first = 1e3;
// How long the page asks for nothing at least, since when, and whether it must ask then: because the stream has begun (1), or
// something has changed (2).
let wait, asked, marked, timer, asking = false;
// The stream, how long the page asks for nothing by itself beside it, and when another one may be tried.
let stream = null, rest = 0, again, silence;
// A proxy that holds the first mark back for longer than mute lets none through in time. A stream that is silent for longer
// than two heartbeats is lost, and the next one is tried so long after it began at the earliest.
const mute = 10e3, silent = 60e3;

// A clock that nobody sets.
const now = () => performance.now();
const find = () => document.querySelector("[data-live]");

export function enableLive() {
  document.addEventListener("visibilitychange", () => begin(soonest));
  document.addEventListener("htmx:afterSettle", plan);
  begin(find()?.dataset.live === "page" ? first : soonest);
}

// begin is for a page that is opened or shown again. One that is left at once needs no stream.
function begin(pause) {
  wait = pause;
  asked = now();
  marked = 0;
  again = 0;
  plan();
  setTimeout(listen, first / 2);
}

function plan() {
  clearTimeout(timer);
  if (document.hidden || !find()) { hangUp(); return; }
  if (asking) return;
  const due = Number(document.querySelector("[data-due]")?.dataset.due) - Date.now() + 1500;
  const pause = asked + (marked ? wait : Math.max(wait, rest)) - now();
  timer = setTimeout(refresh, !marked && due > 0 && due < latest ? due : pause);
}

// listen opens the stream, if there is none. Only a visible page has one: a browser has few connections to a host.
function listen() {
  const client = location.pathname.match(/^\/portal\/clients\/[^/]+/);
  if (stream || document.hidden || !find() || !client || now() < again) return;
  again = now() + silent;
  stream = new EventSource(client[0] + "/live");
  stream.onmessage = (mark) => {
    hear(silent);
    // After a quiet time the first change is shown at once.
    if (rest && (marked === 1 || !marked && now() > asked + wait)) wait = first;
    marked = rest ? 2 : marked || 1;
    rest = Number(mark.data);
    plan();
  };
  stream.addEventListener("heartbeat", () => hear(silent));
  stream.onerror = lose;
  hear(mute);
}

function hear(next) {
  clearTimeout(silence);
  silence = setTimeout(() => { if (!rest) again = Infinity; lose(); }, next);
}

function hangUp() {
  clearTimeout(silence);
  stream?.close();
  stream = null;
  rest = 0;
}

// lose goes on without the stream. The pages of a service that has stopped do not ask all at once.
function lose() {
  if (rest) { asked = now(); wait = first + Math.random() * soonest; }
  hangUp();
  plan();
}

// busy is true while the visitor reads or chooses something that a change would disturb.
function busy() {
  const chosen = getSelection();
  return document.querySelector("dialog[open], details.menu[open], .htmx-request, main :active") ||
    chosen && !chosen.isCollapsed || document.activeElement.closest("main form input, main form select") ||
    find()?.dataset.live === "page" && [...document.querySelectorAll("main input, main textarea")].some((one) => one.value !== one.defaultValue);
}

async function refresh() {
  const live = find();
  if (live && !busy()) {
    asking = true;
    marked = 0;
    const response = await fetch(location.href, { headers: { Accept: "text/html", "Herald-Refresh": "1", "Herald-Shown": unfinished() }, redirect: "manual", signal: AbortSignal.timeout(silent) }).catch(() => null);
    const text = response?.ok ? await response.text().catch(() => "") : "";
    asking = false;
    if (response?.type === "opaqueredirect") { signedOut(); return; }
    if (text && !busy()) {
      const fresh = new DOMParser().parseFromString(text, "text/html");
      const changed = live.dataset.live === "rows" ? refreshRows(live, fresh) : refreshPage(fresh);
      wait = changed ? Number(live.dataset.pause ?? soonest) : Math.min(wait * 1.5, latest);
      if (allNew(fresh)) wait = latest;
      listen();
    } else {
      wait = Math.min(wait * 1.5, latest);
      marked = 2;
    }
  }
  asked = now();
  plan();
}

// signedOut says that the session has ended. The page stays as it is, and asks no more.
function signedOut() {
  const notice = document.getElementById("session-ended").content.cloneNode(true);
  notice.querySelector("a").href = location.href;
  document.querySelector("main").prepend(notice);
  find()?.removeAttribute("data-live");
  plan();
}

// contentOf is what a cell says: of a time itself, not how long ago it is.
function contentOf(cell) {
  return cell.querySelector("time")?.dateTime ?? cell.textContent;
}

const rowsOf = (page, list = "#results") => [...page.querySelectorAll(`${list} tbody tr`)];
const addressOf = (row) => row.querySelector("a").getAttribute("href");

// allNew is true when a whole page of rows is new. Asking again soon could announce nothing else, and costs most when
// most is to be done.
function allNew(fresh) {
  const shown = new Set(rowsOf(document).map(addressOf));
  return fresh.querySelector('#results a[rel="next"]') && !rowsOf(fresh).some((row) => shown.has(addressOf(row)));
}

// unfinished are the deliveries whose rows may change: the answer has them too if the list has them no more.
function unfinished() {
  return rowsOf(document).filter((row) => row.querySelector(".badge-wait, .badge-busy")).map((row) => addressOf(row).split("/").pop()).join();
}

// refreshRows changes the rows that are shown, and returns whether any has.
function refreshRows(live, fresh) {
  const shown = new Map(rowsOf(document).map((row) => [addressOf(row), row]));
  let fresher = 0, changed = false;
  for (const row of [...rowsOf(fresh), ...rowsOf(fresh, "#left")]) {
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

// saidBy is what a page says. How long ago something was, and as of when, changes all the time.
function saidBy(main) {
  const copy = main.cloneNode(true);
  for (const one of copy.querySelectorAll("[data-as-of], [data-notice]")) one.remove();
  for (const time of copy.querySelectorAll("time")) time.textContent = time.dateTime;
  return copy.textContent;
}

// refreshPage replaces the main part if it says something else, and returns whether it does. What was opened stays open, and
// the focus where it was.
function refreshPage(fresh) {
  const main = document.querySelector("main"), next = document.importNode(fresh.querySelector("main"), true);
  writeTimes(next);
  const asOf = next.querySelector("[data-as-of]");
  if (asOf) main.querySelector("[data-as-of]")?.replaceChildren(...asOf.cloneNode(true).childNodes);
  const stated = (of) => of.querySelector(".banner strong, .badge")?.textContent ?? "", before = stated(main);
  if (saidBy(main) === saidBy(next)) return false;
  const at = main.contains(document.activeElement) ? document.activeElement : null;
  const key = (one) => one.id || one.getAttribute("href");
  const opened = [...main.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
  main.replaceChildren(...next.childNodes);
  for (const one of main.querySelectorAll("[data-unscripted]")) one.hidden = true;
  for (const one of main.querySelectorAll("summary")) if (opened.includes(one.textContent)) one.parentNode.open = true;
  if (at) ([...main.querySelectorAll(at.localName)].find((one) => key(at) && key(one) === key(at)) ?? main).focus({ preventScroll: true });
  if (stated(main) !== before) say(stated(main));
  return true;
}

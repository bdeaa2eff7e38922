// Times in the reader's zone. The server writes them in UTC.
const exact = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "longOffset",
});

// ago says the same as timeView.Ago of the server.
function ago(at, now) {
  const span = (ms) => ms < 60e3 ? `${Math.floor(ms / 1e3)} s` : ms < 3600e3 ? `${Math.floor(ms / 60e3)} min`
    : ms < 48 * 3600e3 ? `${Math.floor(ms / 3600e3)} h` : `${Math.floor(ms / 86400e3)} d`;
  const ms = now - at;
  if (ms < 0) return "in " + span(-ms);
  return ms < 1e3 ? "now" : span(ms) + " ago";
}

// The server's clock counts, not the reader's.
const offset = Number(document.documentElement.dataset.now || Date.now()) - Date.now();

function relative(time) {
  const now = Date.now() + offset, at = Date.parse(time.dateTime), text = ago("next" in time.dataset ? Math.max(at, now) : at, now);
  if (time.textContent !== text) time.textContent = text;
}

export function writeTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = exact.format(new Date(time.dateTime));
    if (time.hasAttribute("data-exact")) time.textContent = text;
    else relative(time);
    time.title = text;
    if (time.closest("a, button, summary")) continue;
    time.tabIndex = 0;
    time.setAttribute("role", "button");
    time.dataset.copy = time.dateTime;
  }
  for (const zone of root.querySelectorAll("[data-zone]")) zone.textContent = `your time, ${exact.formatToParts().find((part) => part.type === "timeZoneName").value}`;
}

// A time that has the focus shows the exact one.
const shown = document.createElement("div");
shown.className = "toast exact";
document.addEventListener("focusin", ({ target }) => {
  if (!target.matches("time:not([data-exact]):focus-visible")) { shown.remove(); return; }
  const at = target.getBoundingClientRect();
  shown.textContent = target.title;
  document.querySelector("main").append(shown);
  shown.style.left = `${scrollX + Math.max(8, Math.min(at.left, document.documentElement.clientWidth - shown.offsetWidth - 8))}px`;
  shown.style.top = `${scrollY + at.bottom + 4}px`;
});
document.addEventListener("focusout", () => shown.remove());

// A time in a filter is in the reader's zone. The address says which that is, so that a link shows the same list to everybody.
document.addEventListener("change", ({ target }) => {
  const typed = target.matches("[data-moment]") && target.value.trim().match(/^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?))?$/);
  const time = typed?.[2] ?? "00:00", minutes = -new Date(`${typed?.[1]}T${time}`).getTimezoneOffset();
  if (isNaN(minutes)) return;
  target.value = `${typed[1]} ${time} ${minutes < 0 ? "-" : "+"}${new Date(Math.abs(minutes) * 6e4).toISOString().slice(11, 16)}`;
}, true);

setInterval(() => {
  if (!document.hidden) for (const time of document.querySelectorAll("time[datetime]:not([data-exact])")) relative(time);
}, 15e3);

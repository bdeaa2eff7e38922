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
  const text = ago(Date.parse(time.dateTime), Date.now() + offset);
  if (time.textContent !== text) time.textContent = text;
}

export function writeTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = exact.format(new Date(time.dateTime));
    if (time.hasAttribute("data-exact")) time.textContent = text;
    else relative(time);
    time.title = text;
  }
}

setInterval(() => {
  if (!document.hidden) for (const time of document.querySelectorAll("time[datetime]:not([data-exact])")) relative(time);
}, 15e3);

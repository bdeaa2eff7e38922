// Keyboard shortcuts: / searches, j and k go through the rows, Enter opens, g and a letter goes to a page, ? shows
// them. The visitor can switch them off.
export function enableShortcuts() {
  let afterG = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog, [contenteditable]")) return;
    if (afterG) {
      afterG = false;
      const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    switch (event.key) {
      case "g": afterG = true; setTimeout(() => { afterG = false; }, 1500); return;
      case "/": focus(event, document.getElementById("find")); return;
      case "j": focus(event, row(1)); return;
      case "k": focus(event, row(-1)); return;
      case "?": event.preventDefault(); document.getElementById("shortcuts")?.showModal(); return;
    }
  });
}

function focus(event, element) {
  if (!element) return;
  event.preventDefault();
  element.focus();
  element.scrollIntoView({ block: "nearest" });
}

// row returns the link of the row that is so many rows away from the focus.
function row(step) {
  const rows = [...document.querySelectorAll("main a.whole")];
  const at = rows.indexOf(document.activeElement);
  if (at < 0) return rows[step > 0 ? 0 : rows.length - 1];
  return rows[at + step];
}

// A link with data-dialog opens its page's main part as a dialog. A button with data-open shows the dialog of
// that id. Without scripts the link leads to the page.
export function enableDialogs() {
  document.addEventListener("click", async (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) { document.getElementById(opener.dataset.open).showModal(); return; }
    if (event.target.closest("[data-close]")) { event.preventDefault(); event.target.closest("dialog")?.close(); return; }
    const link = event.target.closest("a[data-dialog]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const response = await fetch(link.href, { headers: { Accept: "text/html" } }).catch(() => null);
    const page = response?.ok && new DOMParser().parseFromString(await response.text(), "text/html");
    const body = page && page.querySelector("[data-dialog-body]");
    if (!body) { location.assign(link.href); return; }
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "dialog-title");
    dialog.append(document.importNode(body, true));
    document.body.append(dialog);
    dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
    dialog.showModal();
    // Enter in a dialog that has just opened changes nothing.
    dialog.querySelector("textarea, [data-close]")?.focus();
  });
}

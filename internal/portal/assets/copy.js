import { toast } from "./toast.js";

// A button with data-copy copies its text; one with data-copy-from that of an element. A time is such a button.
export function enableCopying() {
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("time") && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); event.target.click(); }
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    event.preventDefault();
    const text = button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).textContent;
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied.");
    } catch {
      toast("The browser does not let this page copy. Select the text instead.");
    }
  });
}

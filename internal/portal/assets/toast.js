// say tells what a screen reader should read out.
export function say(text) {
  document.getElementById("live").textContent = text;
}

// toast says something in the live region, for a few seconds.
export function toast(text) {
  const region = document.getElementById("toasts");
  const one = document.createElement("div");
  one.className = "toast";
  one.textContent = text;
  region.append(one);
  setTimeout(() => one.remove(), 5000);
}

// Fetches what changes each second. It never builds HTML: the server has escaped everything.
"use strict";
const live = document.getElementById("live");
const lost = document.getElementById("lost");
let heard = Date.now();
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/page/fragment", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const html = await answer.text();
    heard = Date.now();
    lost.hidden = true;
    document.body.classList.remove("stale");
    // Somebody is copying text: leave it in place.
    if (!getSelection().isCollapsed) return;
    const open = [...live.querySelectorAll("details[open]")].map((d) => d.id);
    live.innerHTML = html;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    document.title = live.querySelector("header")?.dataset.title ?? document.title;
  } catch (error) {
    const seconds = Math.round((Date.now() - heard) / 1000);
    lost.textContent = `The coordinator has not answered for ${seconds} s; what you see is from then. (${error.message})`;
    lost.hidden = seconds < 3;
    document.body.classList.toggle("stale", seconds >= 3);
  }
}
async function forever() {
  await refresh();
  setTimeout(forever, 1000);
}
setTimeout(forever, 1000);
document.addEventListener("visibilitychange", refresh);

// What the page can do besides, where scripts run: copy an example, and mark in the contents what is being read.
"use strict";

for (const caption of document.querySelectorAll(".code figcaption")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const text = caption.parentElement.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without TLS there is no clipboard: select the text, so that a keystroke copies it.
      getSelection().selectAllChildren(caption.parentElement.querySelector("code"));
      button.textContent = "Press Ctrl+C";
      return;
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  caption.append(button);
}

const links = new Map([...document.querySelectorAll(".side a")].map((link) => [link.hash.slice(1), link]));
const sections = [...document.querySelectorAll("main [id]")].filter((section) => links.has(section.id));
const mark = () => {
  const read = sections.filter((section) => section.getBoundingClientRect().top < innerHeight / 3).pop();
  for (const [id, link] of links) link.classList.toggle("here", read !== undefined && id === read.id);
  const here = read && links.get(read.id);
  if (here) {
    const side = here.closest(".side");
    if (here.offsetTop < side.scrollTop + 80 || here.offsetTop > side.scrollTop + side.clientHeight - 80) {
      side.scrollTop = here.offsetTop - side.clientHeight / 2;
    }
  }
};
let waiting = false;
addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; mark(); });
}, { passive: true });
mark();

const menu = document.querySelector(".menu");
menu.addEventListener("click", (event) => { if (event.target.closest("a")) menu.open = false; });

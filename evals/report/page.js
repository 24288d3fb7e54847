"use strict";
// Everything is there without this script: it only makes the list of samples searchable.
for (const tools of document.querySelectorAll(".tools")) {
  const list = document.getElementById(tools.dataset.list);
  const samples = Array.from(list.querySelectorAll(".case"));
  const input = tools.querySelector("input");
  const said = tools.querySelector("output");
  let texts = null;
  const seek = () => {
    texts = texts || samples.map((one) => one.textContent.toLowerCase());
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    samples.forEach((one, at) => {
      one.hidden = !words.every((word) => texts[at].includes(word));
      shown += one.hidden ? 0 : 1;
    });
    said.textContent = words.length ? shown + " of " + samples.length + " shown" : "";
  };
  input.addEventListener("input", seek);
  const [open, close] = tools.querySelectorAll("button");
  open.addEventListener("click", () => samples.filter((one) => !one.hidden).slice(0, 50).forEach((one) => { one.open = true; }));
  close.addEventListener("click", () => samples.forEach((one) => { one.open = false; }));
  tools.hidden = false;
}

// What the pages do better with scripts; all of it works without.
"use strict";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function ago(then, now) {
  const seconds = Math.round((now - then) / 1000);
  const size = Math.abs(seconds);
  const [word, length] = UNITS.find(([, length]) => size >= length) || UNITS[3];
  const amount = `${Math.floor(size / length)} ${word}`;
  return seconds < 0 ? `in ${amount}` : `${amount} ago`;
}

// Beside each time, how long ago that is.
function tellAges() {
  for (const time of document.querySelectorAll("time:not(.bare)")) {
    let words = time.nextElementSibling;
    if (!words || !words.classList.contains("ago")) {
      words = document.createElement("span");
      words.className = "ago";
      time.after(" ", words);
    }
    words.textContent = ago(Date.parse(time.dateTime), Date.now());
  }
}

// A box that selects every task of the page, and a count of what is selected.
function helpToSelect(form) {
  const boxes = [...form.querySelectorAll("input[name=task]")];
  const corner = form.querySelector("th.pick");
  if (!corner) return;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Select every task of this page");
  corner.replaceChildren(all);
  const picked = document.getElementById("picked");
  const buttons = form.querySelectorAll("button[name=verb]");
  function count() {
    const n = boxes.filter((box) => box.checked).length;
    all.checked = n === boxes.length;
    all.indeterminate = n > 0 && n < boxes.length;
    picked.textContent = `${n} selected`;
    form.classList.toggle("some", n > 0);
    for (const button of buttons) button.disabled = n === 0;
  }
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
  form.addEventListener("change", count);
  count();
}

// An address without the fields that were left empty.
function dropEmptyFields(form) {
  form.addEventListener("submit", () => {
    const empty = [...form.elements].filter((field) => field.name && !field.value);
    for (const field of empty) field.disabled = true;
    setTimeout(() => { for (const field of empty) field.disabled = false; });
  });
}

tellAges();
setInterval(tellAges, 30000);
for (const form of document.querySelectorAll("#act")) helpToSelect(form);
for (const form of document.querySelectorAll("form[role=search]")) dropEmptyFields(form);
const said = document.querySelector("#said .said");
if (said) said.focus();
document.addEventListener("keydown", (event) => {
  const search = document.querySelector("input[type=search]");
  if (event.key === "/" && search && !event.target.closest("input, select, textarea")) {
    event.preventDefault();
    search.focus();
  }
});

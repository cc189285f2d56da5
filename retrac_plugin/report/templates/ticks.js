// Images that are ticked, to be left out of the next training.

const ticked = new Set();

function tickBox(position) {
  const { name } = data.images[position];
  const box = make("input", { type: "checkbox", checked: ticked.has(position) });
  box.dataset.tick = position;
  box.setAttribute("aria-label", `Leave out ${name}`);
  box.addEventListener("change", () => {
    if (box.checked) ticked.add(position);
    else ticked.delete(position);
    showTicks();
  });
  return make("label", { className: "tick" }, box, "leave out");
}

function showTicks() {
  for (const box of document.querySelectorAll("[data-tick]"))
    box.checked = ticked.has(Number(box.dataset.tick));
  for (const card of document.querySelectorAll("[data-image]"))
    card.classList.toggle("ticked", ticked.has(Number(card.dataset.image)));
  find("leave-out").hidden = ticked.size === 0;
  find("ticked-count").textContent =
    ticked.size === 1 ? "1 image to leave out" : `${ticked.size} images to leave out`;
}

// One JSON object a line, so that any name is told exactly, with line breaks and quotes.
function tickedLines() {
  const chosen = [...ticked].map((position) => data.images[position]);
  chosen.sort((one, other) => one.index - other.index);
  return chosen
    .map(({ index, name }) => JSON.stringify({ file_name: name, index }) + "\n")
    .join("");
}

function downloadTicks() {
  const address = URL.createObjectURL(new Blob([tickedLines()], { type: "application/jsonl" }));
  make("a", { href: address, download: "leave-out.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function clearTicks() {
  ticked.clear();
  showTicks();
}

function startTicks() {
  find("leave-out").append(
    make("output", { id: "ticked-count" }),
    button("Download the list", downloadTicks, "strong"),
    button("Clear", clearTicks),
  );
}

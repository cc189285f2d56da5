"use strict";
// Everything a user wrote, such as a file name, becomes the text of a node and is never parsed.

const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// The folder that all training images are in, which need not be said below each.
function folderOfAll() {
  const folders = data.images.map(({ name }) => name.slice(0, name.lastIndexOf("/") + 1));
  let shared = folders[0] || "";
  while (!folders.every((folder) => folder.startsWith(shared)))
    shared = shared.slice(0, shared.lastIndexOf("/", shared.length - 2) + 1);
  return shared;
}

const SHARED = folderOfAll();

function picture(source) {
  const shown = source
    ? make("img", { src: source, alt: "", decoding: "async" })
    : make("span", { className: "blank" }, "no picture");
  return make("span", { className: "picture" }, shown);
}

function choice(text, checked, changed) {
  const box = make("input", { type: "checkbox", checked });
  box.addEventListener("change", () => changed(box.checked));
  return make("label", null, box, text);
}

function button(text, pressed, more) {
  const element = make("button", { type: "button", className: `press ${more || ""}` }, text);
  element.addEventListener("click", pressed);
  return element;
}

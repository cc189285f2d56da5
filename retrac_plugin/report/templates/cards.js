// A training image as a card: picture, what is said of it, file name and caption.

function card(position, text, classes, opened) {
  const image = data.images[position];
  const opener = make(
    "button",
    { type: "button", title: [image.name, image.caption].filter(Boolean).join("\n") },
    picture(image.source),
    make("b", null, text),
    make("span", { className: "name" }, image.name.slice(SHARED.length)),
  );
  for (const more of [image.label, image.caption].filter(Boolean))
    opener.append(make("span", { className: "caption" }, more));
  opener.addEventListener("click", opened);
  const item = make("li", { className: `card ${classes.join(" ")}` }, opener);
  item.dataset.image = position;
  item.classList.toggle("ticked", ticked.has(position));
  return item;
}

const FIRST = 24;

function showGroup(group) {
  const list = make("ol", { className: "cards" });
  const add = (members) => {
    for (const [position, text] of members) {
      const item = card(position, text, [], () => showEvidence(position, list));
      item.append(tickBox(position));
      list.append(item);
    }
  };
  add(group.members.slice(0, FIRST));
  const section = make(
    "section",
    { className: "group" },
    make("h2", null, group.name),
    make("p", { className: "fine" }, group.remark),
    list,
  );
  const rest = group.members.slice(FIRST);
  if (rest.length) {
    const more = button(`Show all ${group.members.length}`, () => {
      add(rest);
      more.remove();
      list.children[FIRST].querySelector("button").focus();
    }, "more");
    section.append(more);
  }
  find("groups").append(section);
}

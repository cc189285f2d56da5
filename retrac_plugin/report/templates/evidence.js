// One training image, large, beside the picture to explain, with what every method says.

function scoreOf(answer, position) {
  for (const end of answer.ends)
    for (const entry of end.entries) if (entry[0] === position) return entry;
  return null;
}

function evidenceRow(method, number, position) {
  const answer = data.answers[state.query][number];
  const entry = scoreOf(answer, position);
  const count = method.general[position];
  const general = count ? `among the ${method.places} first of ${count} pictures, of ${data.queries.length}` : "";
  return make(
    "tr",
    null,
    make("th", { scope: "row" }, method.name),
    make("td", null, entry ? entry[1] : "not listed", " ", make("span", { className: "unit" }, entry ? answer.unit : "")),
    make("td", null, entry ? entry[2] : ""),
    make("td", null, general),
  );
}

function evidenceTable(position) {
  const head = ["Method", "Score", "Rank", "Generally influential"];
  return make(
    "div",
    { className: "scroller", tabIndex: 0, role: "region", "aria-label": "Scores" },
    make(
      "table",
      null,
      make("thead", null, make("tr", null, ...head.map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", null, ...data.methods.map((method, n) => evidenceRow(method, n, position))),
    ),
  );
}

function shown(title, thing) {
  const texts = [thing.label, thing.caption].filter(Boolean).map((text) => `\n${text}`);
  const index = "index" in thing && thing.name !== `#${thing.index}` ? `, #${thing.index}` : "";
  return make(
    "figure",
    null,
    picture(thing.source),
    make("figcaption", null, make("b", null, title + index), thing.name, ...texts),
  );
}

function step(dialog, list, position, by) {
  const order = [...list.children].map((item) => Number(item.dataset.image));
  const next = order[order.indexOf(position) + by];
  if (next !== undefined) fillEvidence(dialog, next, list);
}

function fillEvidence(dialog, position, list) {
  const pair = make("div", { className: "pair" });
  if (data.queries.length) pair.append(shown("Picture to explain", data.queries[state.query]));
  pair.append(shown("Training image", data.images[position]));
  const foot = make(
    "div",
    { className: "foot" },
    tickBox(position),
    make(
      "div",
      null,
      button("Previous", () => step(dialog, list, position, -1)),
      button("Next", () => step(dialog, list, position, 1)),
      button("Close", () => dialog.close(), "strong"),
    ),
  );
  dialog.replaceChildren(pair, ...(data.queries.length ? [evidenceTable(position), ...termsTables(position)] : []), foot);
  dialog.onkeydown = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(dialog, list, position, by);
  };
  foot.lastChild.lastChild.focus();
}

function showEvidence(position, list) {
  const dialog = find("evidence");
  dialog.showModal();
  fillEvidence(dialog, position, list);
}

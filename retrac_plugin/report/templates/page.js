// Puts the page together.

function queryChoice(query, number) {
  const input = make("input", { type: "radio", name: "query", value: number });
  input.setAttribute("aria-label", [query.name, query.label, query.caption].filter(Boolean).join(", "));
  input.addEventListener("change", () => {
    showQuery(number);
    history.replaceState(null, "", `#query-${number}`);
    input.parentElement.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  return make("label", { title: query.name }, input, picture(query.source));
}

function filtered(change) {
  return (value) => {
    change(value);
    showAnswers();
  };
}

function lengthChoice(longest) {
  const lengths = [...LENGTHS.filter((length) => length < longest), longest];
  const select = make("select", null, ...lengths.map((n) => make("option", { value: n }, String(n))));
  select.addEventListener("change", filtered(() => (state.length = Number(select.value))));
  return make("label", null, "Images a list", select);
}

function methodChoice(method, number) {
  return choice(method.name, true, filtered((checked) => {
    if (checked) state.methods.add(number);
    else state.methods.delete(number);
  }));
}

function startControls() {
  const several = data.methods.length > 1;
  const general = data.methods.some((method) => Object.keys(method.general).length);
  const ends = data.answers.flat().flatMap((answer) => answer.ends);
  const longest = ends.reduce((most, end) => Math.max(most, end.entries.length), 0);
  const parts = several ? data.methods.map(methodChoice) : [];
  if (longest > LENGTHS[0]) parts.push(lengthChoice(longest));
  parts.push(...partChoices());
  if (several)
    parts.push(choice("Only where methods agree", false, filtered((on) => (state.agreedOnly = on))));
  if (general)
    parts.push(choice("Hide the generally influential", false, filtered((on) => (state.withoutGeneral = on))));
  find("controls").append(...parts);
  find("controls").hidden = parts.length === 0;
  startKeys(several, general);
}

function startKeys(several, general) {
  const keys = Object.entries(data.frames);
  if (general) {
    const { places } = data.methods[0];
    keys.push(["general", `among the ${places} first of more than half of the pictures`]);
  }
  if (several) keys.push(["agreed", "listed by every method shown"]);
  find("keys").append(
    ...keys.map(([name, text]) => make("li", null, make("span", { className: `swatch ${name}` }), text)),
  );
}

function chosenAtFirst() {
  const asked = Number((location.hash.match(/^#query-(\d+)$/) || [])[1] ?? data.opening);
  return asked < data.queries.length ? asked : data.opening;
}

function startPrinting() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => opened.forEach((fold) => (fold.open = false)));
}

startTicks();
startPrinting();
if (data.queries.length) {
  startControls();
  find("queries").append(...data.queries.map(queryChoice));
  const first = chosenAtFirst();
  find("queries").querySelectorAll("input")[first].checked = true;
  showQuery(first);
}
data.groups.forEach(showGroup);

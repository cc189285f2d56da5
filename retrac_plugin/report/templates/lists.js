// The lists of the picture that is chosen, as the filters have them.

const LENGTHS = [12, 24, 50, 100];
const state = {
  query: 0,
  length: LENGTHS[0],
  methods: new Set(data.methods.keys()),
  agreedOnly: false,
  withoutGeneral: false,
  checkpoint: null,
  band: null,
};

const visible = () => [...state.methods].sort((one, other) => one - other);

// The images that all visible methods list at this end.
function agreedAt(end) {
  const lists = visible().map(
    (n) => new Set(endsOf(n)[end].entries.slice(0, state.length).map((e) => e[0])),
  );
  if (lists.length < 2) return new Set();
  return new Set([...lists[0]].filter((position) => lists.every((list) => list.has(position))));
}

function showEnd(end, number, agreed) {
  const method = data.methods[number];
  const list = make("ol", { className: "cards" });
  for (const [position, score, , standing] of end.entries.slice(0, state.length)) {
    const general = position in method.general;
    if ((state.agreedOnly && !agreed.has(position)) || (state.withoutGeneral && general)) continue;
    const classes = [standing];
    if (general) classes.push("general");
    if (agreed.has(position)) classes.push("agreed");
    list.append(card(position, score, classes, () => showEvidence(position, list)));
  }
  const empty = make("p", { className: "none" }, "None with these filters.");
  return [
    make("h4", null, `${end.name} `, make("span", null, end.remark)),
    list.children.length ? list : empty,
  ];
}

function showMethod(number) {
  const answer = data.answers[state.query][number];
  return make(
    "section",
    { className: "answer", "aria-label": data.methods[number].name },
    make("h3", null, data.methods[number].name, " ", make("span", { className: "unit" }, answer.unit)),
    ...(answer.certainty && !partIsChosen() ? [make("p", { className: "sure" }, answer.certainty)] : []),
    ...endsOf(number).flatMap((end, at) => showEnd(end, number, agreedAt(at))),
  );
}

function showAnswers() {
  find("answers").replaceChildren(...visible().map(showMethod));
}

function showQuery(number) {
  state.query = number;
  const { name, label, caption, source } = data.queries[number];
  const words = make("div", null, make("h2", null, name));
  if (label) words.append(make("p", null, label));
  if (caption) words.append(make("p", { className: "prompt" }, caption));
  find("asked").replaceChildren(picture(source), words);
  showAnswers();
}

// Where the influence of one training image on one picture comes from: checkpoint by timestep.

function number(value) {
  const text = value.toFixed(2);
  if (Number(text) === 0) return "0.00";
  return `${value > 0 ? "+" : ""}${text}`.replace("-", "\u2212");
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function cell(value, largest) {
  const element = make("td", { className: "term" }, number(value));
  const colour = value < 0 ? "--raised" : "--lowered";
  const share = (0.6 * Math.abs(value)) / largest;
  element.style.backgroundColor = `rgb(var(${colour}) / ${share.toFixed(3)})`;
  return element;
}

function termsTable(method, answer, position) {
  const { timesteps, values } = answer.terms[position];
  const largest = Math.max(...values.flat().map(Math.abs)) || 1;
  const heads = ["Checkpoint", ...timesteps, "all"].map((text) => make("th", { scope: "col" }, text));
  const rows = values.map((row, n) =>
    make(
      "tr",
      null,
      make("th", { scope: "row" }, method.checkpoints[n]),
      ...row.map((value) => cell(value, largest)),
      make("td", { className: "whole" }, number(sum(row))),
    ),
  );
  const columns = timesteps.map((_, t) => sum(values.map((row) => row[t])));
  const whole = [...columns, sum(columns)].map((value) => make("td", { className: "whole" }, number(value)));
  const unit = answer.unit ? `, ${answer.unit}` : "";
  const title = `${method.name}: the score by checkpoint and by timestep of the picture${unit}`;
  return make(
    "div",
    { className: "scroller split", tabIndex: 0, role: "region", "aria-label": title },
    make(
      "table",
      null,
      make("caption", null, title),
      make("thead", null, make("tr", null, ...heads)),
      make("tbody", null, ...rows, make("tr", null, make("th", { scope: "row" }, "all"), ...whole)),
    ),
  );
}

function termsTables(position) {
  return data.methods.flatMap((method, n) => {
    const answer = data.answers[state.query][n];
    return answer.terms[position] ? [termsTable(method, answer, position)] : [];
  });
}

// Where the influence of one training image on one picture comes from: checkpoint by timestep.

function number(value, decimals = 2) {
  const text = value.toFixed(decimals);
  if (Number(text) === 0) return (0).toFixed(decimals);
  return `${value > 0 ? "+" : ""}${text}`.replace("-", "\u2212");
}

// The terms of a pair, a list a checkpoint: 3 bytes each, the lowest first, the sign in the last.
function unpacked(method, [packed, scale, timesteps]) {
  const bytes = atob(packed);
  const at = (n) => bytes.charCodeAt(3 * n) | (bytes.charCodeAt(3 * n + 1) << 8) | (bytes.charCodeAt(3 * n + 2) << 16);
  const width = (timesteps || method.timesteps).length;
  const value = (n) => ((at(n) << 8) >> 8) * scale;
  return method.checkpoints.map((_, k) => Array.from({ length: width }, (_, t) => value(k * width + t)));
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
  const pair = answer.terms[position];
  const timesteps = pair[2] || method.timesteps;
  const values = unpacked(method, pair);
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

// A part of training: one checkpoint, or some timesteps of the picture, by which lists are ranked.

const MOST_BANDS = 5;

const splits = data.methods.filter((method) => method.checkpoints.length);

// The timesteps of all methods in a few bands, each an array; none where those of pairs differ.
function bandsOfAll() {
  if (!splits.every((method) => method.timesteps.length)) return [];
  const all = [...new Set(splits.flatMap((method) => method.timesteps))];
  all.sort((one, other) => Number(one) - Number(other));
  const count = Math.min(MOST_BANDS, all.length);
  const edge = (n) => Math.round((n * all.length) / count);
  return Array.from({ length: count }, (_, n) => all.slice(edge(n), edge(n + 1)));
}

const bands = bandsOfAll();
const bandName = (band) => (band.length > 1 ? `${band[0]} to ${band[band.length - 1]}` : band[0]);
const partIsChosen = () => state.checkpoint !== null || state.band !== null;

// What a pair's score has from the part that is chosen, or null where that is not known.
function partOf(method, pair) {
  const row = method.checkpoints.indexOf(state.checkpoint);
  if (state.checkpoint !== null && row < 0) return null;
  const rows = unpacked(method, pair);
  const timesteps = pair[2] || method.timesteps;
  const chosen = state.checkpoint === null ? rows : [rows[row]];
  const band = state.band === null ? null : bands[state.band];
  return sum(chosen.map((values) => sum(values.filter((_, t) => !band || band.includes(timesteps[t])))));
}

// As many decimals as tell the largest of some values by three digits.
function decimalsFor(values) {
  const largest = Math.max(...values.map(Math.abs), 0);
  return largest ? Math.min(6, Math.max(2, 2 - Math.floor(Math.log10(largest)))) : 2;
}

// The ends of a method's list by the part that is chosen: of the images that were split.
function endsInPart(method, answer) {
  const entries = new Map(answer.ends.flatMap((end) => end.entries).map((entry) => [entry[0], entry]));
  const found = [...entries.values()]
    .filter(([position]) => position in answer.terms)
    .map((entry) => ({ entry, value: partOf(method, answer.terms[entry[0]]) }))
    .filter(({ value }) => value !== null);
  const decimals = decimalsFor(found.map(({ value }) => value));
  const end = (name, did, sign) => ({
    name,
    remark: `${did} in this part, of ${found.length} images that were split`,
    entries: found
      .filter(({ value }) => sign * value > 0)
      .sort((one, other) => sign * (other.value - one.value))
      .map(({ entry: [position, , rank, standing], value }) => [position, number(value, decimals), rank, standing]),
  });
  return [end("Proponents", "lowered the loss most", 1), end("Opponents", "raised it most", -1)];
}

function endsOf(number) {
  const answer = data.answers[state.query][number];
  return partIsChosen() ? endsInPart(data.methods[number], answer) : answer.ends;
}

function partNote() {
  const told = [
    state.checkpoint === null ? "" : `at checkpoint ${state.checkpoint}`,
    state.band === null ? "" : `at timesteps ${bandName(bands[state.band])} of the picture`,
  ].filter(Boolean);
  find("part").textContent = partIsChosen()
    ? `Ranked by the influence ${told.join(", ")}: of the images whose scores were split, which were chosen ` +
      "by the whole score. Others may be stronger in this part."
    : "";
}

function partChoice(text, options, change) {
  const select = make("select", null, make("option", { value: "" }, "all"));
  select.append(...options.map((option, n) => make("option", { value: String(n) }, option)));
  select.addEventListener("change", filtered(() => {
    change(select.value === "" ? null : Number(select.value));
    partNote();
  }));
  return make("label", null, text, select);
}

function partChoices() {
  const names = [...new Set(splits.flatMap((method) => method.checkpoints))];
  const parts = [];
  if (names.length > 1)
    parts.push(partChoice("Checkpoint", names, (n) => (state.checkpoint = n === null ? null : names[n])));
  if (bands.length > 1)
    parts.push(partChoice("Timesteps", bands.map(bandName), (n) => (state.band = n)));
  return parts;
}

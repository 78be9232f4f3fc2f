// Shows one line at a time: its map by layer and head, its pieces, and what was dropped.
(() => {
  "use strict";
  const { lines } = JSON.parse(document.getElementById("data").textContent);
  if (!lines.length) return;
  const UNLIKELY = 0.5;
  const at = (id) => document.getElementById(id);
  const chosen = { line: 0, map: 0, row: 0, column: 0 };

  /** An element with attributes, text or children. */
  function made(name, attributes = {}, ...children) {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.append(...children);
    return one;
  }

  /** A piece to look at: the mark of a space before it is faint. */
  function piece(text) {
    const parts = text.split(/(▁)/).filter(Boolean);
    return made("span", {}, ...parts.map((part) => (part === "▁" ? made("span", { class: "mark" }, part) : part)));
  }

  const digits = (number, count) => number.toFixed(count).replace("-", "\u2212");
  const percent = (share) => `${digits(100 * share, share < 0.1 ? 1 : 0)} %`;

  function nameOf({ layer, head }) {
    const single = lines[chosen.line].maps.length === 1;
    if (layer === null) return single ? "attention" : "mean of all";
    return head === null ? `layer ${layer}, mean` : `layer ${layer}, head ${head}`;
  }

  /** The switch: a row for each layer, a column for each head, each with its entropy. */
  function heads() {
    const { maps } = lines[chosen.line];
    const form = at("heads");
    form.replaceChildren();
    if (maps.length === 1) return;
    const most = Math.max(0, ...maps.map((one) => one.head ?? 0));
    const layers = [...new Set(maps.map((one) => one.layer))];
    const means = maps.some((one) => one.layer !== null && one.head === null);
    const columns = most > 1 || !means ? 2 + most : 2;
    const option = (number) => {
      const input = made("input", { type: "radio", name: "map", value: number, "aria-label": `${nameOf(maps[number])}, ${maps[number].entropy} bits` });
      input.checked = number === chosen.map;
      input.addEventListener("change", () => {
        chosen.map = number;
        map();
      });
      return made("label", {}, input, made("span", {}, digits(maps[number].entropy, 2)));
    };
    const grid = made("div", { class: "grid", style: `grid-template-columns: repeat(${columns}, max-content)` });
    const name = (text, more = "") => made("span", { class: `name ${more}`, "aria-hidden": "true" }, text);
    grid.append(name(""), name("mean", "head"));
    for (let head = 1; head <= columns - 2; head += 1) grid.append(name(most > 1 ? `head ${head}` : "", "head"));
    for (const layer of layers) {
      grid.append(name(layer === null ? "all" : `layer ${layer}`));
      for (let column = 0; column <= columns - 2; column += 1) {
        const number = maps.findIndex((one) => one.layer === layer && (one.head ?? 0) === column);
        grid.append(number < 0 ? made("span") : option(number));
      }
    }
    form.append(made("fieldset", {}, made("legend", {}, "Entropy of each, in bits; choose one"), grid));
  }

  /** The cell that has the focus is the only one that the tabulator reaches. */
  function map() {
    const line = lines[chosen.line];
    const { weights, entropies } = line.maps[chosen.map];
    const table = at("map");
    const header = line.source_pieces.map((text) => made("th", { scope: "col" }, piece(text)));
    const last = made("th", { scope: "col", class: "entropy" }, made("span", {}, "bits"));
    const corner = made("td");
    const body = weights.map((row, number) => {
      const cells = row.map((weight, column) =>
        made("td", {
          role: "gridcell",
          tabindex: number === chosen.row && column === chosen.column ? 0 : -1,
          style: `--weight: ${weight}`,
          "data-weight": weight,
          "data-row": number,
          "data-column": column,
          "aria-label": weight,
        }),
      );
      const front = made("th", { scope: "row" }, piece(line.target_pieces[number]));
      return made("tr", {}, front, ...cells, made("td", { class: "entropy" }, digits(entropies[number], 2)));
    });
    table.replaceChildren(made("thead", {}, made("tr", {}, corner, ...header, last)), made("tbody", {}, ...body));
    say(null);
  }

  const cellAt = (row, column) => at("map").querySelector(`[data-row="${row}"][data-column="${column}"]`);

  /** Tells of a cell beside it and below the map, and marks the pieces it is of. */
  function say(cell) {
    for (const one of at("map").querySelectorAll(".here")) one.classList.remove("here");
    at("tip").hidden = !cell;
    const line = lines[chosen.line];
    const shown = line.maps[chosen.map];
    if (!cell) {
      at("readout").textContent = `${nameOf(shown)}: ${digits(shown.entropy, 2)} bits in the mean of all rows`;
      return;
    }
    const [row, column] = [Number(cell.dataset.row), Number(cell.dataset.column)];
    const [written, read] = [line.target_pieces[row], line.source_pieces[column]];
    cell.parentElement.firstElementChild.classList.add("here");
    at("map").tHead.rows[0].cells[column + 1].classList.add("here");
    at("tip").replaceChildren(piece(written), " ← ", piece(read), ` ${digits(shown.weights[row][column], 3)}`);
    at("readout").replaceChildren(
      `${nameOf(shown)}: `, piece(written), " ← ", piece(read),
      ` ${digits(shown.weights[row][column], 3)}; row ${digits(shown.entropies[row], 2)} bits, probability ${percent(line.probabilities[row])}`,
    );
    const place = cell.getBoundingClientRect();
    const tip = at("tip").getBoundingClientRect();
    const left = Math.min(Math.max(4, place.left + place.width / 2 - tip.width / 2), innerWidth - tip.width - 4);
    const above = place.top - tip.height - 6;
    at("tip").style.left = `${left}px`;
    at("tip").style.top = `${above < 4 ? place.bottom + 6 : above}px`;
  }

  function move(event) {
    const { source_pieces: read, target_pieces: written } = lines[chosen.line];
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -read.length], End: [0, read.length] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
    cellAt(within(chosen.row + step[0], written.length), within(chosen.column + step[1], read.length)).focus();
  }

  function pieces() {
    const { target_pieces: written, probabilities } = lines[chosen.line];
    at("pieces").replaceChildren(
      ...written.map((text, number) => {
        const share = probabilities[number];
        const shown = piece(text);
        shown.className = "piece";
        return made(
          "li",
          { class: share < UNLIKELY ? "unlikely" : "", "data-share": share },
          shown,
          made("span", { class: "bar", style: `--share: ${share}` }),
          made("span", { class: "share" }, percent(share)),
        );
      }),
    );
  }

  /** A table in a part that opens; the part is not shown if there is nothing in it. */
  function table(id, title, columns, rows) {
    const place = at(id);
    place.hidden = !rows.length;
    place.querySelector("summary").textContent = title;
    const cell = (value) => made("td", typeof value === "number" || value === "" ? { class: "number" } : { dir: "auto" }, typeof value === "number" && !Number.isInteger(value) ? digits(value, 3) : String(value));
    const numeric = (number) => (typeof rows[0]?.[number] === "string" ? {} : { class: "number" });
    place.querySelector("table").replaceChildren(
      made("thead", {}, made("tr", {}, ...columns.map((column, number) => made("th", { scope: "col", ...numeric(number) }, column)))),
      made("tbody", {}, ...rows.map((row) => made("tr", {}, ...row.map(cell)))),
    );
  }

  function search() {
    const { score, log_probability: likelihood, ended, dropped } = lines[chosen.line];
    at("beam").textContent =
      `The translation has a score of ${digits(score, 3)} and a log-probability of ${digits(likelihood, 3)} nats.` +
      (ended.length || dropped.length ? "" : " There was nothing beside it.");
    const count = (number, one, more) => `${number} ${number === 1 ? one : more}`;
    table(
      "ended",
      count(ended.length, "other translation was complete", "other translations were complete"),
      ["Translation", "Score", "Log-probability"],
      ended.map((one) => [one.text, float(one.score), float(one.log_probability)]),
    );
    table(
      "dropped",
      count(dropped.length, "hypothesis fell out of the beam, or was unfinished at the end", "hypotheses fell out of the beam, or were unfinished at the end"),
      ["Pieces", "Hypothesis", "Ranked by", "Fate"],
      dropped.map((one) => [one.pieces, one.text, float(one.score), one.unfinished ? "unfinished" : "outranked"]),
    );
  }

  // a whole number among scores is to be written as the others are
  const float = (number) => (Number.isInteger(number) ? number + Number.EPSILON : number);

  function show(number) {
    Object.assign(chosen, { line: number, row: 0, column: 0 });
    const line = lines[number];
    if (chosen.map >= line.maps.length) chosen.map = 0;
    at("line").value = String(number);
    at("previous").disabled = number === 0;
    at("next").disabled = number === lines.length - 1;
    at("heading").textContent = `Line ${line.number}`;
    at("source").textContent = line.source;
    at("translation").textContent = line.translation;
    at("columns").textContent = line.source_pieces.length;
    at("widest").textContent = digits(Math.log2(line.source_pieces.length), 2);
    heads();
    map();
    pieces();
    search();
  }

  at("line").addEventListener("change", (event) => show(Number(event.target.value)));
  at("previous").addEventListener("click", () => show(chosen.line - 1));
  at("next").addEventListener("click", () => show(chosen.line + 1));
  at("map").addEventListener("keydown", move);
  at("map").addEventListener("pointerover", (event) => say(event.target.closest("td[data-weight]")));
  at("map").addEventListener("pointerleave", () => say(null));
  at("map").addEventListener("focusin", (event) => {
    const cell = event.target.closest("td[data-weight]");
    cellAt(chosen.row, chosen.column).tabIndex = -1;
    cell.tabIndex = 0;
    Object.assign(chosen, { row: Number(cell.dataset.row), column: Number(cell.dataset.column) });
    say(cell);
  });
  at("map").addEventListener("focusout", () => say(null));
  addEventListener("scroll", () => (at("tip").hidden = true), { passive: true });
  show(0);
})();

// Draws the charts of a report with Observable Plot, as wide as there is room for.
(() => {
  "use strict";
  const HEIGHT = 230;
  const COLOURS = Array.from({ length: 8 }, (_, number) => `var(--series-${number})`);
  const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const { runs, charts } = read("data-of-curves");
  const histogram = read("data-of-lengths");
  const frame = {
    marginLeft: 48,
    marginRight: 12,
    marginTop: 12,
    marginBottom: 36,
    style: { fontSize: "12px", fontFamily: "inherit", background: "none" },
  };

  const tip = { stroke: "var(--line)", lineHeight: 1.35, textPadding: 9 };

  const small = d3.format("~g");
  const shown = (value, chart) => {
    if (chart.percent) return `${d3.format(".1f")(100 * value)} %`;
    if (value >= 1000) return d3.format(",.0f")(value);
    return value >= 1 ? d3.format(".2f")(value) : d3.format(".3~g")(value);
  };
  const tick = (chart) => {
    if (chart.percent) return (value) => `${small(d3.format(".3f")(100 * value))} %`;
    return (value) => (value >= 1000 ? d3.format("~s")(value) : small(value));
  };

  /** The points of a chart: where they are, whose they are, and of training or of validation. */
  function points(chart, axis) {
    const from = (of) =>
      runs.flatMap((run) =>
        run[of]
          .filter((one) => one[chart.key] != null && one[axis] != null)
          .map((one) => ({ x: one[axis], y: one[chart.key], run: run.name, of })),
      );
    return {
      trained: chart.trained ? from("updates") : [],
      validated: chart.validated ? from("validations") : [],
    };
  }

  function title(point, chart, axis) {
    const where = axis === "update" ? `update ${d3.format(",")(point.x)}` : `minute ${point.x.toFixed(1)}`;
    const of = chart.trained && chart.validated ? (point.of === "updates" ? "training " : "validation ") : "";
    return `${runs.length > 1 ? `${point.run}\n` : ""}${where}\n${of}${shown(point.y, chart)}`;
  }

  /** The lowest and the highest value, and the ticks between them, of a logarithmic scale. */
  function logarithmic(trained, validated) {
    const [low, high] = d3.extent([...trained, ...validated], (one) => one.y);
    if (!(low > 0)) return {};
    // the first updates, far above all that is of interest, would press the rest flat
    const top = Math.min(high, validated.length ? 3 * d3.max(validated, (one) => one.y) : high);
    const steps = top / low > 100 ? [1] : [1, 2, 5];
    const ticks = d3.range(-3, 12).flatMap((power) => steps.map((step) => step * 10 ** power));
    return { type: "log", domain: [low / 1.1, top * 1.1], ticks: ticks.filter((one) => one >= low / 1.1 && one <= top * 1.1) };
  }

  function drawn(chart, axis, width) {
    const { trained, validated } = points(chart, axis);
    const both = chart.trained && chart.validated;
    const place = { x: "x", y: "y", z: "run", stroke: "run", clip: true };
    const scale = chart.logarithmic ? logarithmic(trained, validated) : { ticks: 5, nice: true, zero: chart.zero };
    const last = d3.max(runs.flatMap((run) => [...run.updates, ...run.validations]), (one) => one[axis]);
    return Plot.plot({
      width,
      height: HEIGHT,
      ...frame,
      x: {
        label: axis === "update" ? "updates" : "minutes",
        domain: [0, last || 1],
        ticks: Math.min(8, width / 80),
        tickFormat: ",~f",
      },
      y: { label: null, grid: true, tickFormat: tick(chart), ...scale },
      color: { domain: runs.map((run) => run.name), range: runs.map((_, number) => COLOURS[number % COLOURS.length]) },
      marks: [
        Plot.line(trained, { ...place, strokeWidth: both ? 1 : 1.5, strokeOpacity: both ? 0.55 : 1 }),
        Plot.line(validated, { ...place, strokeWidth: 2 }),
        Plot.dot(validated, { x: "x", y: "y", fill: "run", r: 2.5 }),
        Plot.tip(
          [...trained, ...validated].filter((one) => !(one.y > scale.domain?.[1])),
          Plot.pointer({ ...tip, x: "x", y: "y", title: (one) => title(one, chart, axis) }),
        ),
      ],
    });
  }

  /** Source as bars, target as a line around bars. */
  function lengths(width) {
    const bars = ["source", "target"].flatMap((side, which) =>
      histogram[side].map((count, number) => ({
        side,
        name: histogram.names[which],
        from: number * histogram.width,
        to: (number + 1) * histogram.width,
        count,
      })),
    );
    const of = (side) => bars.filter((bar) => bar.side === side);
    const where = (bar) => (histogram.width > 1 ? `${bar.from} to ${bar.to - 1} pieces` : `${bar.from} pieces`);
    return Plot.plot({
      width,
      height: HEIGHT,
      ...frame,
      x: { label: "pieces", ticks: Math.min(16, width / 60) },
      y: { label: null, grid: true, ticks: 5, tickFormat: tick({}) },
      marks: [
        Plot.rectY(of("source"), { x1: "from", x2: "to", y: "count", fill: "var(--series-7)", fillOpacity: 0.5, inset: 0.5 }),
        Plot.line(of("target"), { x: "from", y: "count", curve: "step-after", stroke: "var(--accent)", strokeWidth: 2 }),
        Plot.ruleY([0]),
        Plot.tip(
          bars,
          Plot.pointerX({
            ...tip,
            x: (bar) => (bar.from + bar.to) / 2,
            y: "count",
            title: (bar) => `${bar.name}, ${where(bar)}\n${d3.format(",")(bar.count)} segments`,
          }),
        ),
      ],
    });
  }

  function put(id, draw) {
    const place = document.getElementById(id);
    if (!place) return;
    const svg = draw(Math.max(240, place.clientWidth));
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", place.dataset.summary);
    place.replaceChildren(svg);
  }

  function draw() {
    const axis = document.querySelector("input[name=axis]:checked")?.value ?? "update";
    for (const chart of charts) put(`chart-${chart.key}`, (width) => drawn(chart, axis, width));
    if (histogram) put("lengths", lengths);
  }

  for (const input of document.querySelectorAll("input[name=axis]")) input.addEventListener("change", draw);
  let width = 0;
  new ResizeObserver(() => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    draw();
  }).observe(document.body);
})();

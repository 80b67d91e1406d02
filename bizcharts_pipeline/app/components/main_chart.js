// The chart of the index: uPlot (the global that the file before this one defines) draws, this file feeds it and listens.
// Streamlit calls the exported function again with each new data; the plots stay, and with them the zoom.

const CLASS_EDGES = [0, 25, 45, 55, 75, 100];
const STRIP_HEIGHT = 84;
const FOOT_SHARE = 0.012; // of the height: the bar at the foot of the chart
const REPORT_MILLISECONDS = 200;
const CLICK_PIXELS = 4;
const DOUBLE_CLICK_MILLISECONDS = 300;

function decoded(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const numbers = Array.from(new Kind(bytes.buffer));
  return Kind === Float32Array ? numbers.map((number) => (Number.isNaN(number) ? null : number)) : numbers;
}

// The format of the x-axis by the distance of its marks: at each mark, and below it where the year or day changes.
const DATES = [
  [86400 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [3600, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
];

/** Round prices for the marks of a logarithmic axis. */
function priceTicks(low, high) {
  const ticks = [];
  if (high / low > 8) {
    const steps = high / low > 200 ? [1] : [1, 2, 5];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
      ticks.push(...steps.map((step) => step * 10 ** power));
  } else {
    const rough = (high - low) / 4;
    const size = 10 ** Math.floor(Math.log10(rough));
    const step = size * [1, 2, 5, 10].find((each) => each * size >= rough);
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(Number(tick.toPrecision(6)));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

const arrays = (data) => ({
  times: decoded(data.times, Uint32Array),
  ...Object.fromEntries(data.figures.map(([name, text]) => [name, decoded(text, Float32Array)])),
});

/** The whole number that the words beside the chart say: a half goes to the even one, as in Python. */
function rounded(value) {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

const money = (value) =>
  value == null ? "–" : "$" + value.toLocaleString("en", { maximumFractionDigits: value >= 1000 ? 0 : 4 });

class Chart {
  constructor(place) {
    this.place = place;
    this.moved = this.opening = null; // timers of what is to be told
    this.reported = "null";
    this.measure = new ResizeObserver(() => this.resize());
    this.measure.observe(place);
    place.addEventListener("keydown", (event) => this.key(event));
  }

  show(data, send) {
    this.send = send;
    const another = !this.data || this.data.range !== data.range;
    const rebuilt = !this.data || this.data.look !== data.look || this.data.ranked !== data.ranked;
    const kept = this.main && !another ? { ...this.main.scales.x } : null;
    this.data = data;
    this.points = arrays(data);
    this.full = [this.points.times[0], this.points.times[this.points.times.length - 1]];
    this.place.setAttribute("aria-label", data.summary);
    if (rebuilt) this.build();
    else {
      this.main.setData(this.mainData(), false);
      this.strip.setData(this.stripData(), false);
    }
    const zoomed = kept && this.view;
    this.zoom(...(zoomed ? [kept.min, kept.max] : this.full));
    for (const plot of [this.main, this.strip]) plot.setLegend({ idx: this.pointed() });
    this.place.dataset.full = JSON.stringify(this.full);
    this.place.dataset.points = this.points.times.length;
    this.place.dataset.ready = String(Number(this.place.dataset.ready || 0) + 1);
  }

  mainData() {
    const { times, value, lo, hi, price } = this.points;
    return [times, value, hi, lo, price];
  }

  stripData() {
    const { times, n_eff, coverage } = this.points;
    return [times, n_eff, coverage];
  }

  build() {
    this.main?.destroy();
    this.strip?.destroy();
    const { palette, ranked } = this.data;
    const width = this.width();
    const narrow = width < 560;
    const tzDate = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
    const axis = (more) => ({
      stroke: palette.muted,
      grid: { stroke: palette.grid, width: 1 },
      ticks: { stroke: palette.grid, width: 1 },
      font: "12px sans-serif",
      ...more,
    });
    const shared = { width, tzDate, padding: [8, narrow ? 4 : 8, 0, 0] };
    const cursor = {
      drag: { x: true, y: false, dist: CLICK_PIXELS },
      sync: { key: "bizcharts" },
      points: { size: 7 },
    };
    const figure = (digits) => (plot, value) => (value == null ? "–" : digits ? value.toFixed(digits) : String(rounded(value)));
    const digits = ranked ? 0 : 2;
    const priced = this.points.price.some((value) => value != null);
    const collected = this.points.coverage.some((value) => value != null);
    const right = priced || collected; // one axis without the other has no marks, so that both plots have one width
    this.main = new uPlot(
      {
        ...shared,
        height: narrow ? 280 : 380,
        cursor,
        scales: {
          x: { time: true },
          y: { range: ranked ? [0, 100] : (plot, low, high) => this.stanceRange(low, high) },
          usd: { distr: 3, range: (plot, low, high) => (low ? [low * 0.97, high * 1.03] : [1, 10]) },
        },
        series: [
          { label: "UTC", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
          { label: ranked ? "index" : "stance", stroke: palette.line, width: 1, value: figure(digits) },
          { label: "high", stroke: "transparent", points: { show: false }, value: figure(digits) },
          { label: "low", stroke: "transparent", points: { show: false }, value: figure(digits) },
          {
            label: this.data.price_name,
            scale: "usd",
            stroke: palette.price,
            width: 1,
            dash: [5, 3],
            spanGaps: true,
            points: { show: false },
            value: (plot, value) => money(value),
          },
        ],
        axes: [
          axis({ values: DATES }),
          axis({ size: 44, splits: ranked ? () => CLASS_EDGES : undefined }),
          axis({
            scale: "usd",
            side: 1,
            size: narrow ? 48 : 66,
            stroke: palette.price,
            grid: { show: false },
            splits: (plot, place, low, high) => (priced ? priceTicks(low, high) : []),
            filter: (plot, values) => values,
            values: (plot, values) =>
              values.map((value) => (narrow && value >= 1000 ? `$${value / 1000}k` : money(value))),
            show: right,
          }),
        ],
        hooks: {
          drawClear: [(plot) => ranked && this.drawClasses(plot)],
          drawAxes: [(plot) => this.drawBand(plot)],
          draw: [
            (plot) => ranked && this.drawLabels(plot),
            (plot) => this.drawSpans(plot, this.data.outages, palette.muted, 0.3, 1, "no polls"),
            (plot) => this.drawSpans(plot, this.data.afterwards, palette.marker, 1, FOOT_SHARE, ""),
            (plot) => this.drawSwitches(plot),
          ],
          setScale: [(plot, name) => name === "x" && this.scaled(plot)],
        },
      },
      this.mainData(),
      this.place.querySelector(".main"),
    );
    this.strip = new uPlot(
      {
        ...shared,
        height: STRIP_HEIGHT,
        cursor: { ...cursor, y: false },
        scales: { x: { time: true }, n: { range: (plot, low, high) => [0, Math.max(high, 1) * 1.1] }, share: { range: [0, 1.05] } },
        series: [
          { label: "UTC", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
          { label: "posts, effective", scale: "n", stroke: palette.muted, width: 1, value: figure(0) },
          {
            label: "hours collected",
            show: collected,
            scale: "share",
            stroke: palette.marker,
            width: 1,
            points: { show: false },
            value: (plot, value) => (value == null ? "not known" : (value * 100).toFixed(0) + " %"),
          },
        ],
        axes: [
          axis({ size: 4, values: () => [], ticks: { show: false } }), // of a hidden first axis uPlot hides all
          axis({
            scale: "n",
            size: 44,
            space: 24,
            values: (plot, values) => values.map((value) => (value >= 1000 ? `${value / 1000}k` : value)),
          }),
          axis({
            scale: "share",
            side: 1,
            size: narrow ? 48 : 66,
            stroke: palette.marker,
            grid: { show: false },
            show: right,
            splits: () => (collected ? [0, 0.5, 1] : []),
            values: (plot, values) => values.map((value) => value * 100 + " %"),
          }),
        ],
        hooks: { setScale: [(plot, name) => name === "x" && this.follow(plot)] },
      },
      this.stripData(),
      this.place.querySelector(".strip"),
    );
    for (const plot of [this.main, this.strip]) this.listen(plot);
  }

  stanceRange(low, high) {
    const { lo, hi } = this.points;
    const reach = Math.max(0.1, ...[...lo, ...hi].filter((value) => value != null).map(Math.abs));
    return [-reach, reach];
  }

  drawClasses(plot) {
    const { ctx } = plot;
    const { left, width } = plot.bbox;
    ctx.save();
    ctx.globalAlpha = 0.22;
    this.data.palette.classes.forEach((colour, place) => {
      const top = plot.valToPos(CLASS_EDGES[place + 1], "y", true);
      const bottom = plot.valToPos(CLASS_EDGES[place], "y", true);
      ctx.fillStyle = colour;
      ctx.fillRect(left, top, width, bottom - top);
    });
    ctx.restore();
  }

  drawLabels(plot) {
    const { ctx } = plot;
    ctx.save();
    ctx.fillStyle = this.data.palette.muted;
    ctx.strokeStyle = this.data.palette.background;
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.lineJoin = "round";
    ctx.font = `${11 * devicePixelRatio}px sans-serif`;
    ctx.textBaseline = "middle";
    this.data.labels.forEach((label, place) => {
      const middle = plot.valToPos((CLASS_EDGES[place] + CLASS_EDGES[place + 1]) / 2, "y", true);
      ctx.strokeText(label, plot.bbox.left + 6 * devicePixelRatio, middle);
      ctx.fillText(label, plot.bbox.left + 6 * devicePixelRatio, middle);
    });
    ctx.restore();
  }

  /** Begins a drawing that ends at the edges of the plot; `restore` of the context ends it. */
  clipped(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    return ctx;
  }

  /** Fills between low and high. With uPlot's own bands, a frame of ten years takes three times as long. */
  drawBand(plot) {
    const ctx = this.clipped(plot);
    ctx.fillStyle = this.data.palette.line + "33";
    for (const columns of this.bandColumns(plot)) {
      ctx.beginPath();
      for (const { x, hi } of columns) ctx.lineTo(x, plot.valToPos(hi, "y", true));
      for (const { x, lo } of columns.reverse()) ctx.lineTo(x, plot.valToPos(lo, "y", true));
      ctx.fill();
    }
    ctx.restore();
  }

  /** The stretches without a gap of what is in view: per column of pixels the lowest and the highest value. */
  bandColumns(plot) {
    const { times, lo, hi } = this.points;
    const [first, last] = plot.series[0].idxs;
    const stretches = [];
    let columns = null;
    for (let place = Math.max(first - 1, 0); place <= Math.min(last + 1, times.length - 1); place++) {
      if (lo[place] == null || hi[place] == null) {
        columns = null;
        continue;
      }
      if (!columns) stretches.push((columns = []));
      const x = Math.round(plot.valToPos(times[place], "x", true));
      const column = columns[columns.length - 1];
      if (column?.x === x) {
        column.lo = Math.min(column.lo, lo[place]);
        column.hi = Math.max(column.hi, hi[place]);
      } else columns.push({ x, lo: lo[place], hi: hi[place] });
    }
    return stretches;
  }

  /** Fills stretches of time from the foot of the chart up to a share of its height, named where there is room. */
  drawSpans(plot, spans, colour, alpha, share, name) {
    const ctx = this.clipped(plot);
    const { top, height } = plot.bbox;
    ctx.fillStyle = colour;
    ctx.font = `${11 * devicePixelRatio}px sans-serif`;
    ctx.textBaseline = "bottom";
    for (const [from, to] of spans) {
      const x = plot.valToPos(from, "x", true);
      const size = plot.valToPos(to, "x", true) - x;
      ctx.globalAlpha = alpha;
      ctx.fillRect(x, top + height * (1 - share), Math.max(size, devicePixelRatio), height * share);
      ctx.globalAlpha = 1;
      if (name && size > ctx.measureText(name).width) ctx.fillText(name, x + 4 * devicePixelRatio, top + height);
    }
    ctx.restore();
  }

  drawSwitches(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = this.data.palette.marker;
    ctx.font = `${11 * devicePixelRatio}px sans-serif`;
    ctx.textBaseline = "top";
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const [time, model] of this.data.switches) {
      const x = plot.valToPos(time, "x", true);
      if (x < left || x > left + width) continue;
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
      ctx.fillText("model " + model, x + 4 * devicePixelRatio, top + 2 * devicePixelRatio);
    }
    ctx.restore();
  }

  listen(plot) {
    let pressed = null;
    plot.over.addEventListener("mousedown", (event) => (pressed = event.clientX));
    plot.over.addEventListener("mouseup", (event) => {
      const place = plot.cursor.idx;
      clearTimeout(this.opening);
      if (pressed !== null && Math.abs(event.clientX - pressed) < CLICK_PIXELS)
        this.opening = setTimeout(() => this.open(place), DOUBLE_CLICK_MILLISECONDS);
      pressed = null;
    });
    plot.over.addEventListener("dblclick", () => clearTimeout(this.opening)); // shows all, and opens nothing
  }

  open(place) {
    if (place != null && this.points.times[place] !== undefined) this.send.hour(this.points.times[place]);
  }

  zoom(min, max) {
    if (max > min) this.main.setScale("x", { min, max });
  }

  scaled(plot) {
    const { min, max } = plot.scales.x;
    if (min == null || !this.strip) return;
    const other = this.strip.scales.x;
    if (other.min !== min || other.max !== max) this.strip.setScale("x", { min, max });
    this.view = min > this.full[0] || max < this.full[1] ? [min, max] : null;
    this.place.dataset.view = JSON.stringify(this.view);
    for (const each of [this.main, this.strip]) each.setLegend({ idx: this.pointed() });
    clearTimeout(this.moved);
    this.moved = setTimeout(() => this.report(), REPORT_MILLISECONDS);
  }

  /** The place of the hour under the pointer, or of the newest in view. */
  pointed() {
    const { cursor, scales } = this.main;
    if (cursor.left >= 0 && cursor.idx != null) return cursor.idx;
    return this.points.times.findLastIndex((time) => time <= scales.x.max);
  }

  follow(strip) {
    const { min, max } = strip.scales.x;
    const main = this.main?.scales.x;
    if (min != null && main && (main.min !== min || main.max !== max)) this.main.setScale("x", { min, max });
  }

  report() {
    const view = JSON.stringify(this.view);
    if (view === this.reported) return;
    this.reported = view;
    this.send.view(this.view);
  }

  key(event) {
    const { min, max } = this.main.scales.x;
    const span = max - min;
    const moves = {
      ArrowLeft: [min - span / 8, max - span / 8],
      ArrowRight: [min + span / 8, max + span / 8],
      "+": [min + span / 4, max - span / 4],
      "-": [min - span / 2, max + span / 2],
      0: this.full,
    };
    if (event.key === "Enter") this.open(this.pointed());
    else if (moves[event.key]) {
      const [from, to] = moves[event.key];
      this.zoom(Math.max(from, this.full[0]), Math.min(to, this.full[1]));
    } else return;
    event.preventDefault();
  }

  width() {
    return Math.max(this.place.clientWidth, 240);
  }

  resize() {
    if (!this.main || this.main.width === this.width()) return;
    for (const plot of [this.main, this.strip]) plot.setSize({ width: this.width(), height: plot.height });
  }

  end() {
    clearTimeout(this.moved);
    clearTimeout(this.opening);
    this.measure.disconnect();
    this.main?.destroy();
    this.strip?.destroy();
  }
}

const charts = new WeakMap();

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const place = parentElement.querySelector(".chart");
  if (!charts.has(place)) charts.set(place, new Chart(place));
  const chart = charts.get(place);
  chart.show(data, {
    view: (view) => setStateValue("view", view),
    hour: (time) => setTriggerValue("hour", time),
  });
  return () =>
    setTimeout(() => {
      if (place.isConnected) return; // drawn again in the same place
      charts.delete(place);
      chart.end();
    });
}

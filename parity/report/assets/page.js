// Brings a page to life by its attributes. Text of a run is only ever written as text: no markup is made from it.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // --- light and dark -----------------------------------------------------------------------------------------------
  const printing = matchMedia("print");
  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches);
  const themeButton = document.querySelector("[data-theme-button]");

  function showTheme() {
    themeButton.textContent = isDark() ? "☀ Light" : "☾ Dark";
    themeButton.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    drawn.forEach((chart) => chart.draw());
  }

  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("parity-theme", root.dataset.theme);
    } catch {
      // The choice holds for this page alone.
    }
    showTheme();
  });
  darkSystem.addEventListener("change", () => showTheme());

  // --- copying ------------------------------------------------------------------------------------------------------
  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Where the clipboard is refused, the text is at least selected.
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
    }
    tell(button, done ? "Copied ✓" : "Selected");
    setTimeout(() => tell(button, "Copy"), 1600);
  }

  // The label is what a screen reader says, and hides the text from it.
  function tell(button, text) {
    button.dataset.label ??= button.getAttribute("aria-label");
    button.textContent = text;
    button.setAttribute("aria-label", text === "Copy" ? button.dataset.label : text);
  }
  all("[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));

  // --- tables -------------------------------------------------------------------------------------------------------
  const cellText = (row, column) => row.cells[column]?.textContent.trim() ?? "";
  const number = (text) => {
    const found = parseFloat(text.replace(/,/g, "").replace(/^[^\d.+\-in]*/, "").replace(/^(-?)inf.*/, "$1Infinity"));
    return Number.isNaN(found) ? null : found;
  };

  function sort(table, column, heading) {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const isNumeric = heading.classList.contains("n");
    const keyed = [...table.tBodies[0].rows].map((row) => {
      const text = cellText(row, column);
      return { row, key: isNumeric ? number(text) : text || null };
    });
    const compare = isNumeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
    // What has no value stands last in either order.
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      return ascending ? compare(a.key, b.key) : compare(b.key, a.key);
    });
    table.tBodies[0].append(...keyed.map(({ row }) => row));
  }

  function makeSortable(table) {
    if (table.tBodies[0].rows.length < 2) return;
    all("thead th", table).forEach((heading, column) => {
      const button = make("button", { type: "button" }, ...heading.childNodes);
      button.addEventListener("click", () => sort(table, column, heading));
      heading.append(button);
    });
  }

  function makeFilterable(table) {
    const field = make("input", { type: "search", placeholder: "any text of a row" });
    const count = make("span", { className: "faint small" });
    count.setAttribute("role", "status");
    const facets = (table.dataset.facets ?? "").split(" ").filter(Boolean).map(Number);
    const choices = facets.map((column) => facet(table, column));
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));

    function apply() {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { row, text } of rows) {
        const fits = choices.every(({ column, select }) => !select.value || cellText(row, column) === select.value);
        row.hidden = !(fits && words.every((word) => text.includes(word)));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = `${shown} of ${rows.length}`;
    }
    const tools = make("div", { className: "tools" }, make("label", {}, "Filter", field), ...choices.map(({ label }) => label), count);
    tools.addEventListener("input", apply);
    table.parentElement.before(tools);
    apply();
  }

  function facet(table, column) {
    const values = [...new Set([...table.tBodies[0].rows].map((row) => cellText(row, column)))].sort();
    const select = make("select", {}, make("option", { value: "" }, "all"), ...values.map((value) => make("option", { value }, value)));
    return { column, select, label: make("label", {}, table.tHead.rows[0].cells[column].textContent, select) };
  }

  // Where scroll bars are hidden, nothing else tells that there are more columns.
  function fadeWhatGoesOn(frame) {
    const tell = () => frame.classList.toggle("goes-on", frame.scrollLeft + frame.clientWidth < frame.scrollWidth - 1);
    frame.addEventListener("scroll", tell, { passive: true });
    new ResizeObserver(tell).observe(frame);
  }

  // --- folding and links --------------------------------------------------------------------------------------------
  function openTarget() {
    let target = null;
    try {
      target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    } catch {
      // A damaged link leads nowhere.
    }
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", openTarget);
  // Pictures above the target have their height by then.
  addEventListener("load", openTarget);
  // A link to the place where one is already changes no hash.
  all('a[href^="#"]').forEach((link) => link.addEventListener("click", () => link.hash === location.hash && openTarget()));

  function expand(button, open) {
    button.setAttribute("aria-expanded", String(open));
    all(`[data-part-of="${button.dataset.expands}"]`).forEach((part) => (part.hidden = !open));
  }
  all("[data-expands]").forEach((button) => {
    button.hidden = false;
    expand(button, false);
    button.addEventListener("click", () => expand(button, button.getAttribute("aria-expanded") !== "true"));
  });

  let restore = [];
  function preparePrint(isPrinting) {
    if (isPrinting && !restore.length) {
      restore = all("details:not([open])").map((part) => () => (part.open = false));
      all("details").forEach((part) => (part.open = true));
      for (const button of all('[data-expands][aria-expanded="false"]')) {
        expand(button, true);
        restore.push(() => expand(button, false));
      }
    } else if (!isPrinting) {
      restore.forEach((undo) => undo());
      restore = [];
    }
    drawn.forEach((chart) => chart.draw());
  }
  printing.addEventListener("change", () => preparePrint(printing.matches));
  addEventListener("beforeprint", () => preparePrint(true));
  addEventListener("afterprint", () => preparePrint(false));

  // --- charts -------------------------------------------------------------------------------------------------------
  const drawn = [];
  const probe = make("span", { hidden: true });
  document.body.append(probe);
  // A token of the style sheet as a colour that a canvas takes.
  const colour = (token) => {
    probe.style.color = `var(--${token})`;
    return getComputedStyle(probe).color;
  };
  const text = (value, unit) => (value === null || value === undefined ? "n/a" : `${+value.toPrecision(4)}${unit ? ` ${unit}` : ""}`);

  const SHAPES = {
    diamond: (p, x, y, r) => (p.moveTo(x, y - r), p.lineTo(x + r, y), p.lineTo(x, y + r), p.lineTo(x - r, y), p.closePath()),
    triangle: (p, x, y, r) => (p.moveTo(x, y - r), p.lineTo(x + r, y + r), p.lineTo(x - r, y + r), p.closePath()),
    cross: (p, x, y, r) => (p.moveTo(x - r, y - r), p.lineTo(x + r, y + r), p.moveTo(x + r, y - r), p.lineTo(x - r, y + r)),
  };

  function drawMarks(plot, spec) {
    const { ctx } = plot;
    ctx.save();
    for (const marks of spec.marks) {
      ctx.fillStyle = ctx.strokeStyle = colour(marks.tone);
      ctx.lineWidth = 2 * devicePixelRatio;
      for (const at of marks.at) {
        const value = plot.data[1][at];
        const [low, high] = [plot.scales.x.min, plot.scales.x.max];
        if (value === null || plot.data[0][at] < low || plot.data[0][at] > high) continue;
        const path = new Path2D();
        SHAPES[marks.shape](path, plot.valToPos(plot.data[0][at], "x", true), plot.valToPos(value, "y", true), 5.5 * devicePixelRatio);
        if (marks.shape === "cross") ctx.stroke(path);
        else ctx.fill(path);
      }
    }
    ctx.restore();
  }

  function seriesOptions(series) {
    const stroke = colour(series.tone);
    const points = { show: series.style === "points" || series.values.length < 80, size: 5, stroke, fill: stroke };
    if (series.style === "points") return { label: series.label, stroke, width: 0, paths: () => null, points };
    if (series.style === "bars") return { label: series.label, stroke, fill: stroke, width: 0, paths: uPlot.paths.bars({ size: [0.7, 40] }), points: { show: false } };
    const dash = series.style === "dashes" ? [5, 4] : undefined;
    return { label: series.label, stroke, width: 1.75, dash, points: dash ? { show: false } : points, spanGaps: false };
  }

  function axes(spec) {
    const shared = { stroke: colour("faint"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 22 };
    const whole = spec.times ? {} : { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000], grid: { show: false } };
    // As wide as its longest number, so that the unit beside does not stand on it.
    const size = (_, values) => Math.max(58, ...(values ?? []).map((value) => 16 + 7 * value.length));
    return [{ ...shared, ...whole, label: spec.x_label, size: 30 }, { ...shared, label: spec.unit, size }];
  }

  function fillTip(tip, spec, rows, at) {
    const list = make("dl");
    const pair = (name, value) => list.append(make("dt", {}, name), make("dd", {}, value));
    const name = rows ? rows.cells[at][spec.columns[0]].textContent : (spec.names[at] ?? "");
    // A table has the exact figures, and more of them than are drawn.
    if (!rows) spec.series.forEach((series) => pair(series.label, text(series.values[at], spec.unit)));
    for (const column of spec.columns.slice(1)) {
      const shown = rows.cells[at][column].textContent.trim();
      if (shown && shown !== name) pair(rows.headings[column], shown);
    }
    tip.replaceChildren(make("strong", {}, name), list);
  }

  class Chart {
    constructor(figure, spec) {
      this.figure = figure;
      this.spec = spec;
      this.place = figure.querySelector(".plot");
      this.tip = figure.querySelector(".tip");
      this.at = null;
      const table = spec.table && document.getElementById(spec.table);
      // Taken before the first sorting: points stand in this order.
      this.rows = table && {
        elements: [...table.tBodies[0].rows],
        cells: [...table.tBodies[0].rows].map((row) => row.cells),
        headings: [...table.tHead.rows[0].cells].map((cell) => cell.textContent),
      };
      this.place.addEventListener("keydown", (event) => this.key(event));
      this.place.addEventListener("blur", () => this.show(null));
      this.place.addEventListener("click", () => this.choose());
      new ResizeObserver(() => this.resize()).observe(this.place);
    }

    // A bar's length says nothing unless it begins at zero.
    scales() {
      const isBars = this.spec.series.some((series) => series.style === "bars");
      const beside = (low, high) => (isBars ? 0.6 : low === high ? 1 : (high - low) / 100);
      const x = { time: this.spec.times, range: (_, low, high) => [low - beside(low, high), high + beside(low, high)] };
      return isBars ? { x, y: { range: (_, low, high) => [0, 1.05 * (high || 1)] } } : { x };
    }

    get width() {
      return this.place.clientWidth;
    }

    // A chart in a folded part has no width yet; it is drawn when it gets one.
    resize() {
      if (!this.width) return;
      if (this.plot) this.plot.setSize({ width: this.width, height: 256 });
      else this.draw();
    }

    draw() {
      if (!this.width) return;
      this.plot?.destroy();
      const { spec } = this;
      const count = spec.series[0].values.length;
      const x = spec.x.length ? spec.x : Array.from({ length: count }, (_, at) => at);
      const options = {
        width: this.width,
        height: 256,
        legend: { show: false },
        cursor: { y: false, points: { size: 9 }, drag: { x: count > 12, y: false } },
        scales: this.scales(),
        axes: axes(spec),
        series: [{}, ...spec.series.map(seriesOptions)],
        hooks: { setCursor: [(plot) => this.show(plot.cursor.idx ?? null)], draw: [(plot) => drawMarks(plot, spec)] },
      };
      this.plot = new uPlot(options, [x, ...spec.series.map((series) => series.values)], this.place);
    }

    key(event) {
      const count = this.spec.series[0].values.length;
      const next = { ArrowRight: (this.at ?? -1) + 1, ArrowLeft: (this.at ?? count) - 1, Home: 0, End: count - 1 }[event.key];
      if (event.key === "Escape") this.show(null);
      if (event.key === "Enter") this.choose();
      if (next === undefined || !this.plot) return;
      event.preventDefault();
      const at = Math.max(0, Math.min(count - 1, next));
      this.plot.setCursor({ left: this.plot.valToPos(this.plot.data[0][at], "x"), top: 10 }, false);
      this.show(at);
    }

    show(at) {
      this.at = at;
      this.tip.hidden = at === null;
      if (at === null) return;
      fillTip(this.tip, this.spec, this.rows, at);
      const over = this.plot.over.getBoundingClientRect();
      const frame = this.figure.getBoundingClientRect();
      const left = over.left - frame.left + this.plot.valToPos(this.plot.data[0][at], "x");
      const isRight = left > frame.width / 2;
      this.tip.style.left = `${Math.max(8, isRight ? left - this.tip.offsetWidth - 14 : Math.min(left + 14, frame.width - this.tip.offsetWidth - 8))}px`;
      this.tip.style.top = `${over.top - frame.top + 8}px`;
    }

    // A chosen point is shown in its table.
    choose() {
      const row = this.rows?.elements[this.at];
      if (!row) return;
      all("tr.chosen").forEach((other) => other.classList.remove("chosen"));
      row.classList.add("chosen");
      row.hidden = false;
      row.scrollIntoView({ block: "nearest" });
    }
  }

  const data = document.getElementById("charts");
  const specs = data ? JSON.parse(data.textContent) : {};
  for (const figure of all("[data-chart]")) {
    if (Object.hasOwn(specs, figure.dataset.chart)) drawn.push(new Chart(figure, specs[figure.dataset.chart]));
  }
  all("[data-sortable]").forEach(makeSortable);
  all("[data-filterable]").forEach(makeFilterable);
  all(".scroll, .copy code").forEach(fadeWhatGoesOn);
  showTheme();
  openTarget();
})();

// Mammograms side by side. Window, zoom, pan, heatmap and outline are drawn here, without a delay.
// Python sends grey levels (16 bits), heatmaps (8 bits) and outlines. When a view is zoomed, the original pixels of its
// visible part are requested from Python.
const MAX_ZOOM = 40;

function bytesOf(sent) {
  return new Uint8Array(sent.buffer ?? sent, sent.byteOffset ?? 0, sent.byteLength);
}

function words(sent) {
  return new Uint16Array(bytesOf(sent).slice().buffer); // copied, because the data may start at an odd byte offset
}

// Apply the window to grey levels and draw them on a canvas of the same size.
function toned(grey, rows, columns, centre, width, levels, canvas) {
  canvas = canvas ?? document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const [low, high] = levels; // of grey levels 0 and 65535, in standard deviations
  const scale = (high - low) / 65535;
  const start = centre - width / 2;
  for (let i = 0; i < grey.length; i++) {
    const value = Math.max(0, Math.min(255, ((low + grey[i] * scale - start) / width) * 255));
    pixels[i] = 0xff000000 | ((value << 16) | (value << 8) | value);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function coloured(heat, rows, columns, colours) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let i = 0; i < heat.length; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = colours[3 * heat[i] + k];
    image.data[4 * i + 3] = Math.sqrt(heat[i] / 255) * 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Length in mm of the ruler's lines, each [x, y, x, y, ...] in pixels of the view as shown; null without a spacing.
function lengthOf(view, lines) {
  if (!view.row_mm) return null;
  const column_mm = view.row_mm / view.aspect;
  let sum = 0;
  for (const line of lines) {
    for (let i = 2; i < line.length; i += 2) {
      sum += Math.hypot((line[i] - line[i - 2]) * column_mm, (line[i + 1] - line[i - 1]) * view.row_mm);
    }
  }
  return Math.round(100 * sum) / 100; // as it is saved, so that both are shown alike
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "bac-views";
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true"; // this widget handles the keys, not the notebook
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", model.get("label"));
  el.appendChild(root);
  let panels = [];
  let waiting = 0;
  const initial = { centre: 1, width: 6 }; // the initial window in canvas.py

  const drawAll = () => panels.forEach(draw);

  function build() {
    root.replaceChildren();
    root.setAttribute("aria-label", model.get("label"));
    const views = model.get("views");
    const tiles = model.get("tiles");
    const heats = model.get("heats");
    const colours = bytesOf(model.get("colours"));
    root.style.gridTemplateColumns = `repeat(${Math.max(1, views.length)}, minmax(0, ${model.get("panel_width")}px))`;
    panels = views.map((view, index) => {
      const canvas = document.createElement("canvas");
      canvas.dataset.view = view.key;
      canvas.setAttribute("role", "img");
      const frame = document.createElement("div");
      frame.className = "bac-view";
      frame.appendChild(canvas);
      root.appendChild(frame);
      const panel = { view, index, canvas, frame, sharp: null, zoom: 1, x: view.columns / 2, y: view.rows / 2 };
      panel.lines = (model.get("lines")[index] ?? []).map((line) => [...line]);
      panel.open = false; // whether the next point of the ruler continues the last line
      panel.cross = null; // where the keyboard puts the next point
      if (view.tile) {
        panel.grey = words(tiles[view.tile.place]);
        panel.base = null;
      }
      if (view.heat) {
        panel.heat = coloured(bytesOf(heats[view.heat.place]), view.heat.rows, view.heat.columns, colours);
      }
      listen(panel);
      watcher.observe(canvas);
      return panel;
    });
    tone();
  }

  function tone() {
    const centre = model.get("centre"), width = model.get("width");
    for (const panel of panels) {
      const { tile, levels } = panel.view;
      if (tile) panel.base = toned(panel.grey, tile.rows, tile.columns, centre, width, levels, panel.base);
      if (panel.sharp) {
        const s = panel.sharp;
        s.canvas = toned(s.grey, s.rows, s.columns, centre, width, levels, s.canvas);
      }
    }
    drawAll();
  }

  // Canvas pixels per pixel of the prepared view (sx across, sy down), and the position of its upper left corner.
  function geometry(panel) {
    const { rows, columns, aspect } = panel.view;
    const { width, height } = panel.canvas;
    const fit = Math.min(width / columns, height / (rows * aspect)) * panel.zoom;
    const sx = fit, sy = fit * aspect;
    return { sx, sy, left: width / 2 - panel.x * sx, top: height / 2 - panel.y * sy };
  }

  function draw(panel) {
    const { canvas, view } = panel;
    const ratio = window.devicePixelRatio || 1;
    const wide = Math.round(canvas.clientWidth * ratio), tall = Math.round(canvas.clientHeight * ratio);
    if (!wide || !tall) return;
    if (canvas.width !== wide || canvas.height !== tall) { canvas.width = wide; canvas.height = tall; }
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, wide, tall);
    const { sx, sy, left, top } = geometry(panel);
    const place = (image, x0, y0, x1, y1) =>
      context.drawImage(image, left + x0 * sx, top + y0 * sy, (x1 - x0) * sx, (y1 - y0) * sy);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    if (panel.base) place(panel.base, 0, 0, view.columns, view.rows);
    if (panel.sharp && panel.zoom > 1) place(panel.sharp.canvas, ...panel.sharp.rect);
    const polygons = model.get("outlines")[panel.index] ?? [];
    if (panel.heat && model.get("opacity") > 0) {
      context.globalAlpha = model.get("opacity");
      place(panel.heat, 0, 0, view.columns, view.rows);
      context.globalAlpha = 1;
    }
    if (model.get("show_outline") && polygons.length) {
      context.setTransform(sx, 0, 0, sy, left, top);
      const path = new Path2D();
      for (const polygon of polygons) {
        polygon.forEach((value, i) => {
          if (i % 2) return;
          if (i) path.lineTo(value, polygon[i + 1]);
          else path.moveTo(value, polygon[i + 1]);
        });
        path.closePath();
      }
      context.setTransform(1, 0, 0, 1, 0, 0);
      const placed = new Path2D();
      placed.addPath(path, new DOMMatrix([sx, 0, 0, sy, left, top]));
      context.lineJoin = "round";
      for (const [colour, thick] of [["#000", 3.5], ["#ffd24d", 1.7]]) {
        context.strokeStyle = colour;
        context.lineWidth = thick * ratio;
        context.stroke(placed);
      }
    }
    drawRuler(context, panel, ratio);
    annotate(context, panel, ratio, sy);
    canvas.setAttribute("aria-label", `${view.title}. ${textOf(panel)}`);
    canvas.dataset.zoom = panel.zoom.toFixed(2);
    canvas.dataset.sharp = panel.sharp && panel.zoom > 1 ? "1" : "0";
    canvas.dataset.polygons = String(polygons.length);
    panel.frame.classList.toggle("bac-selected", model.get("selected") === panel.index && panels.length > 1);
  }

  function textOf(panel) {
    const text = model.get("texts")[panel.index] ?? "";
    if (!panel.lines.some((line) => line.length > 2)) return text;
    const mm = lengthOf(panel.view, panel.lines);
    return `${text}\nruler ${mm === null ? "without mm: no pixel spacing" : `${mm.toFixed(1)} mm`}`.trim();
  }

  function drawRuler(context, panel, ratio) {
    const { sx, sy, left, top } = geometry(panel);
    panel.lines.forEach((line, number) => {
      const path = new Path2D(), points = new Path2D();
      for (let i = 0; i < line.length; i += 2) {
        const x = left + line[i] * sx, y = top + line[i + 1] * sy;
        if (i) path.lineTo(x, y);
        else path.moveTo(x, y);
        points.moveTo(x + 2.5 * ratio, y);
        points.arc(x, y, 2.5 * ratio, 0, 2 * Math.PI);
      }
      const open = panel.open && number === panel.lines.length - 1;
      context.setLineDash(open ? [6 * ratio, 3 * ratio] : []);
      for (const [colour, thick] of [["#000", 3.5], ["#5fd3ff", 1.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = thick * ratio;
        context.stroke(path);
      }
      context.setLineDash([]);
      context.fillStyle = "#5fd3ff";
      context.fill(points);
    });
    if (model.get("ruler") && panel.cross && model.get("selected") === panel.index) {
      const [x, y] = panel.cross, arm = 10 * ratio;
      context.strokeStyle = "#5fd3ff";
      context.lineWidth = 1.5 * ratio;
      context.strokeRect(x - arm / 2, y - arm / 2, arm, arm);
      context.beginPath();
      context.moveTo(x - arm, y); context.lineTo(x + arm, y);
      context.moveTo(x, y - arm); context.lineTo(x, y + arm);
      context.stroke();
    }
    panel.canvas.dataset.lines = String(panel.lines.length);
    panel.canvas.dataset.mm = lengthOf(panel.view, panel.lines)?.toFixed(3) ?? "";
  }

  // Python gets all lines of a view after each change, so that the last message is the state.
  function tellLines(panel) {
    model.send({ type: "lines", view: panel.view.key, index: panel.index, lines: panel.lines });
    draw(panel);
  }

  function addPoint(panel, [px, py]) {
    if (!panel.view.tile) return;
    const { sx, sy, left, top } = geometry(panel);
    const x = (px - left) / sx, y = (py - top) / sy;
    if (x < 0 || y < 0 || x > panel.view.columns || y > panel.view.rows) return;
    panels.forEach((other) => { if (other !== panel) finish(other); });
    if (!panel.open) panel.lines.push([]);
    panel.open = true;
    panel.lines.at(-1).push(x, y);
    tellLines(panel);
  }

  // End the open line; a line of one point is removed, and so is the second point of a double click.
  function finish(panel) {
    if (!panel.open) return;
    const line = panel.lines.at(-1), { sx, sy } = geometry(panel), ratio = window.devicePixelRatio || 1;
    const n = line.length;
    if (n > 2 && Math.hypot((line[n - 2] - line[n - 4]) * sx, (line[n - 1] - line[n - 3]) * sy) < 4 * ratio) line.splice(-2);
    if (line.length < 4) panel.lines.pop();
    panel.open = false;
    tellLines(panel);
  }

  function undo(panel) {
    const line = panel.lines.at(-1);
    if (!line) return;
    line.splice(-2);
    panel.open = line.length > 0;
    if (!panel.open) panel.lines.pop();
    tellLines(panel);
  }

  function clear(panel) {
    panel.lines = [];
    panel.open = false;
    tellLines(panel);
  }

  function moveCross(panel, dx, dy) {
    const { width, height } = panel.canvas, ratio = window.devicePixelRatio || 1;
    const [x, y] = panel.cross ?? [width / 2, height / 2];
    panel.cross = [Math.max(0, Math.min(width, x + 5 * ratio * dx)), Math.max(0, Math.min(height, y + 5 * ratio * dy))];
    draw(panel);
  }

  function annotate(context, panel, ratio, sy) {
    const { view, canvas } = panel;
    const line = (text, x, y, align) => {
      context.font = `${12 * ratio}px system-ui, sans-serif`;
      context.textAlign = align;
      context.lineWidth = 3 * ratio;
      context.strokeStyle = "rgba(0,0,0,.8)";
      context.fillStyle = "#fff";
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    };
    const side = view.mirror ? "left" : "right"; // the side away from the chest wall
    const x = view.mirror ? 8 * ratio : canvas.width - 8 * ratio;
    line(view.title, x, 18 * ratio, side);
    textOf(panel).split("\n").forEach((text, i) => line(text, x, (35 + 16 * i) * ratio, side));
    if (view.missing) line(view.missing, canvas.width / 2, canvas.height / 2, "center");
    if (!view.row_mm) return;
    const perMm = sy / view.row_mm;
    const length = [50, 20, 10, 5, 2, 1].find((mm) => mm * perMm < 0.4 * canvas.width) ?? 1;
    const y = canvas.height - 10 * ratio;
    const x0 = view.mirror ? 10 * ratio : canvas.width - 10 * ratio - length * perMm;
    context.fillStyle = "#fff";
    context.fillRect(x0, y, length * perMm, 2 * ratio);
    line(`${length} mm`, x0 + (length * perMm) / 2, y - 5 * ratio, "center");
  }

  // Request pixels of the originals 150 ms after the last zoom or pan.
  function ask() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const ratio = window.devicePixelRatio || 1;
      for (const panel of panels) {
        if (panel.zoom <= 1 || !panel.view.tile) continue;
        const { sx, sy, left, top } = geometry(panel);
        const { columns, rows } = panel.view;
        const rect = [
          Math.max(0, -left / sx), Math.max(0, -top / sy),
          Math.min(columns, (panel.canvas.width - left) / sx), Math.min(rows, (panel.canvas.height - top) / sy),
        ];
        const key = rect.map((v) => v.toFixed(1)).join();
        if (panel.asked === key || rect[2] <= rect[0] || rect[3] <= rect[1]) continue;
        panel.asked = key;
        const size = [Math.ceil((rect[3] - rect[1]) * sy / ratio), Math.ceil((rect[2] - rect[0]) * sx / ratio)];
        model.send({ type: "sharpen", view: panel.view.key, index: panel.index, rect, size });
      }
    }, 150);
  }

  function keepInside(panel) {
    panel.zoom = Math.max(1, Math.min(MAX_ZOOM, panel.zoom));
    if (panel.zoom === 1) { panel.x = panel.view.columns / 2; panel.y = panel.view.rows / 2; }
    panel.x = Math.max(0, Math.min(panel.view.columns, panel.x));
    panel.y = Math.max(0, Math.min(panel.view.rows, panel.y));
  }

  // Zoom a view about a point on its canvas; linked views are zoomed about the corresponding point.
  function zoom(panel, factor, at) {
    const [px, py] = at ?? [panel.canvas.width / 2, panel.canvas.height / 2];
    for (const other of together(panel)) {
      const across = other.view.mirror === panel.view.mirror ? px : other.canvas.width - px;
      const before = geometry(other);
      const x = (across - before.left) / before.sx, y = (py - before.top) / before.sy;
      other.zoom = Math.max(1, Math.min(MAX_ZOOM, other.zoom * factor));
      const after = geometry(other);
      other.x = x - (across - other.canvas.width / 2) / after.sx;
      other.y = y - (py - other.canvas.height / 2) / after.sy;
      keepInside(other);
      draw(other);
    }
    ask();
  }

  const together = (panel) => (model.get("linked") ? panels : [panel]);

  // Move a view by canvas pixels; linked views of the opposite orientation move the other way horizontally.
  function shift(panel, dx, dy) {
    for (const other of together(panel)) {
      const { sx, sy } = geometry(other);
      other.x -= (other.view.mirror === panel.view.mirror ? dx : -dx) / sx;
      other.y -= dy / sy;
      keepInside(other);
      draw(other);
    }
  }

  function reset() {
    for (const panel of panels) {
      panel.zoom = 1;
      panel.asked = null;
      keepInside(panel);
    }
    model.set("centre", initial.centre);
    model.set("width", initial.width);
    model.save_changes();
    drawAll();
  }

  function select(index) {
    if (index < 0 || index >= panels.length || index === model.get("selected")) return;
    model.set("selected", index);
    model.save_changes();
    drawAll();
  }

  function listen(panel) {
    const { canvas } = panel;
    let drag = null;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const ratio = window.devicePixelRatio || 1;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(panel, Math.exp(-event.deltaY / 400), at(event));
    }, { passive: false });
    canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      event.stopPropagation(); // otherwise JupyterLab opens its context menu
    });
    canvas.addEventListener("dblclick", () => (model.get("ruler") ? finish(panel) : reset()));
    canvas.addEventListener("pointerdown", (event) => {
      root.focus({ preventScroll: true });
      select(panel.index);
      canvas.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, y: event.clientY, right: event.button === 2 || event.altKey, moved: 0, start: at(event) };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      drag.x = event.clientX;
      drag.y = event.clientY;
      drag.moved += Math.abs(dx) + Math.abs(dy);
      if (model.get("ruler") && drag.moved < 4) return; // a click, not a drag
      if (drag.right) { setWindow(dx / 60, dy / 60); return; }
      const ratio = window.devicePixelRatio || 1;
      shift(panel, dx * ratio, dy * ratio);
    });
    canvas.addEventListener("pointerup", () => {
      if (drag && model.get("ruler") && !drag.right && drag.moved < 4) addPoint(panel, drag.start);
      drag = null;
      ask();
    });
    canvas.addEventListener("pointercancel", () => { drag = null; });
  }

  function setWindow(wider, brighter) {
    model.set("width", Math.round(100 * Math.max(0.2, Math.min(20, model.get("width") + wider))) / 100);
    model.set("centre", Math.round(100 * Math.max(-5, Math.min(10, model.get("centre") + brighter))) / 100);
    model.save_changes();
  }

  const pan = (panel, dx, dy) => {
    shift(panel, (-dx * panel.canvas.width) / 8, (-dy * panel.canvas.height) / 8);
    ask();
  };
  const shown = () => panels[model.get("selected")] ?? panels[0];
  const here = {
    "+": () => zoom(shown(), 1.5), "=": () => zoom(shown(), 1.5), "-": () => zoom(shown(), 1 / 1.5),
    "0": reset,
    "l": () => { model.set("linked", !model.get("linked")); model.save_changes(); },
    "r": () => model.send({ type: "actual" }),
    "a": () => pan(shown(), -1, 0), "d": () => pan(shown(), 1, 0), "w": () => pan(shown(), 0, -1), "s": () => pan(shown(), 0, 1),
    "[": () => setWindow(-0.25, 0), "]": () => setWindow(0.25, 0), ",": () => setWindow(0, -0.25), ".": () => setWindow(0, 0.25),
    "o": () => { model.set("show_outline", !model.get("show_outline")); model.save_changes(); },
    "h": () => { model.set("opacity", model.get("opacity") > 0 ? 0 : 0.5); model.save_changes(); },
  };
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const ruler = {
    " ": () => { moveCross(shown(), 0, 0); addPoint(shown(), shown().cross); },
    "Enter": () => finish(shown()), "Backspace": () => undo(shown()),
  };
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = model.get("more_keys");
    if (model.get("ruler") && event.shiftKey && steps[event.key]) moveCross(shown(), ...steps[event.key]);
    else if (model.get("ruler") && ruler[event.key]) ruler[event.key]();
    else if (event.key === "m" && keys.includes("m")) { model.set("ruler", !model.get("ruler")); model.save_changes(); }
    else if (keys.includes(event.key)) model.send({ type: "key", key: event.key });
    else if (/^[1-9]$/.test(event.key)) select(Number(event.key) - 1);
    else if (here[event.key]) here[event.key]();
    else if (["ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End", "n", "p"].includes(event.key)) model.send({ type: "key", key: event.key });
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const watcher = new ResizeObserver(() => requestAnimationFrame(drawAll));
  const onMessage = (message, buffers) => {
    if (message?.type === "reset") { reset(); return; }
    const panel = panels[message?.index];
    if (message?.type === "ruler" && panel) { ({ undo, finish, clear })[message.action](panel); return; }
    if (message?.type === "actual" && panel) { zoom(panel, message.scale / geometry(panel).sy); return; }
    if (message?.type !== "sharp" || !panel || panel.view.key !== message.view) return;
    const [rows, columns] = message.size;
    panel.sharp = { rect: message.rect, rows, columns, grey: words(buffers[0]) };
    tone();
  };
  model.on("msg:custom", onMessage);
  model.on("change:views", build);
  const redraw = ["outlines", "texts", "opacity", "show_outline", "selected", "ruler"].map((name) => `change:${name}`);
  redraw.forEach((name) => model.on(name, drawAll));
  const retone = ["change:centre", "change:width"];
  retone.forEach((name) => model.on(name, tone));
  build();
  return () => {
    watcher.disconnect();
    clearTimeout(waiting);
    model.off("msg:custom", onMessage);
    model.off("change:views", build);
    redraw.forEach((name) => model.off(name, drawAll));
    retone.forEach((name) => model.off(name, tone));
  };
}
export default { render };

// Directing: editors beside texts. Each field of a method keeps a short text, in a control of its own; an editor reads it,
// changes it, and follows it when a clip's settings come back. Here: the fields, and what is drawn on the still.
(() => {
  const { $ } = svdui;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const short = (value) => String(Number(value.toFixed(4)));
  const UNDO = 100;

  // A field: its text, what was there before, and the editor that shows it. It outlives the editor, which goes with its method.
  const fields = new Map();

  const control = (id) => $(`#${CSS.escape(id)} :is(textarea, input)`);

  function fieldOf(element) {
    const { for: id, widget, title } = element.dataset;
    if (!fields.has(id)) fields.set(id, { id, widget, title, text: "", undo: [], redo: [], shown: () => {} });
    return Object.assign(fields.get(id), { element, most: Number(element.dataset.most || 0), flows: "flows" in element.dataset });
  }

  // What somebody did: the text changes, and so does its control, as if it had been typed.
  function write(field, text, kept = true) {
    if (text === field.text) return;
    if (field.most && text.length > field.most) return svdui.heard("There are too many marks: clear some.");
    if (kept) {
      field.undo.push(field.text);
      field.undo.splice(0, field.undo.length - UNDO);
      field.redo = [];
    }
    field.text = text;
    const area = control(field.id);
    if (area && area.value !== text) {
      area.value = text;
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }
    field.shown();
    draw();
  }

  // The control changed, by whomever: what stands in it now counts.
  function directed(id) {
    const follow = () => {
      const field = fields.get(id), text = control(id)?.value;
      if (!field || live?.field === field || text === undefined || text === field.text) return;
      field.undo.push(field.text);
      field.text = text;
      field.shown();
      draw();
    };
    requestAnimationFrame(follow);
    setTimeout(follow, 120);
  }

  function step(field, from, to) {
    if (!field?.[from].length) return;
    const before = field.text, text = field[from].pop();
    field[to].push(before);
    chosen = -1;
    write(field, text, false);
  }

  // An editor is there: its kind says how it works. Its control may be a moment behind.
  const kinds = {};
  function editor(element, trigger, upload) {
    const box = $(".editor", element), field = fieldOf(box);
    kinds[field.widget]?.(field, box, trigger, upload);
    const read = (tries) => {
      const area = control(field.id);
      if (!area && tries) return void setTimeout(read, 50, tries - 1);
      if (area && area.value !== field.text) Object.assign(field, { text: area.value, undo: [], redo: [] });
      field.shown();
      sync();
    };
    read(40);
  }

  // ---- What is drawn on the still

  const COLOURS = ["130, 110, 255", "30, 190, 150"];
  let mode = "", asked = false, chosen = -1, live = null, cursor = null, tools = null;
  const settings = { width: 0.06, erase: false, flow: false, strength: 1 };

  const drawable = () => [...document.querySelectorAll(".editor.drawn")].map((box) => fields.get(box.dataset.for)).filter((field) => field?.element.isConnected);
  const active = () => (mode ? drawable().find((field) => field.id === mode) : null);
  const source = () => $("#finder .source");

  const point = (text) => text.trim().split(",").map(Number);
  const parts = (text) => text.split(";").map((part) => part.trim()).filter(Boolean);
  const readStrokes = (text) => parts(text).map((part) => {
    const at = part.lastIndexOf(":"), said = Object.fromEntries(part.slice(0, Math.max(at, 0)).split(",").map((entry) => entry.split("=").map((one) => one.trim())));
    return {
      points: part.slice(at + 1).trim().split(/\s+/).map(point), width: Number(said.width ?? 0.06), erase: said.erase === "1",
      angle: said.angle === undefined ? null : Number(said.angle),
    };
  });
  const readArrows = (text) => parts(text).map((part) => part.split(">").map(point));
  const readBox = (text) => { const found = text.split(",").map(Number); return found.length === 4 && found.every(Number.isFinite) ? found : null; };
  const said = (points, between) => points.map(([x, y]) => `${short(x)},${short(y)}`).join(between);
  const writeArrows = (arrows) => arrows.map((arrow) => said(arrow, ">")).join("; ");

  function strokeText({ points, width, erase, angle, strength }) {
    const head = [`width=${short(width)}`, erase && "erase=1", angle !== null && `angle=${Math.round(angle)}`, strength !== 1 && `strength=${short(strength)}`];
    return `${head.filter(Boolean).join(",")}:${said(points, " ")}`;
  }

  const added = (text, part) => [...parts(text), part].join("; ");

  // Degrees, 0 to the right and 90 up, of a way across the picture as it is seen.
  function angleOf(points, { w, h }) {
    const [x0, y0] = points[0], [x1, y1] = points[points.length - 1];
    return (Math.atan2(-(y1 - y0) * h, (x1 - x0) * w) * 180) / Math.PI;
  }

  // ---- Painting the marks

  function canvas() {
    const box = source();
    if (!box) return null;
    let made = $("canvas.marks", box);
    if (!made) {
      made = Object.assign(document.createElement("canvas"), { className: "marks" });
      made.setAttribute("role", "application");
      box.append(made);
      listen(made);
    }
    return made;
  }

  function draw() {
    const shown = drawable(), sheet = shown.length ? canvas() : $("#finder canvas.marks");
    for (const field of shown) told(field);
    if (!sheet) return;
    const { clientWidth: w, clientHeight: h } = sheet, dense = Math.min(devicePixelRatio || 1, 2);
    if (sheet.width !== Math.round(w * dense) || sheet.height !== Math.round(h * dense)) Object.assign(sheet, { width: Math.round(w * dense), height: Math.round(h * dense) });
    const pen = sheet.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, w, h);
    const size = { w, h };
    shown.forEach((field, index) => painters[field.widget](pen, field, size, COLOURS[index % COLOURS.length], dense));
    if (cursor && mode && document.activeElement === sheet) ring(pen, size);
  }

  const painters = {
    // Strokes over each other are one layer, so that rubbing out shows the picture again.
    strokes(pen, field, { w, h }, colour, dense) {
      const strokes = readStrokes(field.text), now = live?.field === field ? live.stroke : null;
      if (now) strokes.push(now);
      if (!strokes.length) return;
      const layer = Object.assign(document.createElement("canvas"), { width: w * dense, height: h * dense }), ink = layer.getContext("2d");
      ink.scale(dense, dense);
      for (const stroke of strokes) {
        ink.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
        ink.strokeStyle = ink.fillStyle = `rgb(${colour})`;
        ink.lineWidth = Math.max(1, stroke.width * Math.max(w, h));
        ink.lineCap = ink.lineJoin = "round";
        ink.beginPath();
        stroke.points.forEach(([x, y], at) => (at ? ink.lineTo(x * w, y * h) : ink.moveTo(x * w, y * h)));
        const [x, y] = stroke.points[0];
        if (stroke.points.length === 1) ink.lineTo(x * w + 0.01, y * h);
        ink.stroke();
      }
      pen.globalAlpha = 0.62;
      pen.drawImage(layer, 0, 0, w, h);
      pen.globalAlpha = 1;
      for (const stroke of strokes) {
        if (stroke.angle === null || stroke.erase) continue;
        const [x, y] = stroke.points[stroke.points.length >> 1], turn = (stroke.angle * Math.PI) / 180, far = 15;
        const [dx, dy] = [Math.cos(turn) * far, -Math.sin(turn) * far];
        arrow(pen, [[x * w - dx, y * h - dy], [x * w + dx, y * h + dy]], "#fff", 2);
      }
    },
    arrows(pen, field, { w, h }) {
      const arrows = readArrows(field.text), own = active() === field;
      if (live?.field === field && live.arrow) arrows.push(live.arrow);
      arrows.forEach((points, index) => {
        const placed = points.map(([x, y]) => [x * w, y * h]);
        arrow(pen, placed, own && index === chosen ? "#ffd257" : "#fff", 2.5);
        if (own) for (const at of [placed[0], placed[placed.length - 1]]) knob(pen, at, index === chosen);
      });
    },
    box(pen, field, { w, h }) {
      const box = live?.field === field && live.box ? live.box : readBox(field.text);
      if (!box) return;
      const [left, top, right, bottom] = box, place = [left * w, top * h, (right - left) * w, (bottom - top) * h];
      pen.lineWidth = 4; pen.strokeStyle = "rgba(12, 13, 18, .7)"; pen.strokeRect(...place);
      pen.lineWidth = 2; pen.strokeStyle = "#fff"; pen.setLineDash([7, 4]); pen.strokeRect(...place); pen.setLineDash([]);
      if (active() === field) for (const x of [left, right]) for (const y of [top, bottom]) knob(pen, [x * w, y * h], false);
    },
  };

  function arrow(pen, points, colour, width) {
    const [x0, y0] = points[points.length - 2], [x1, y1] = points[points.length - 1], turn = Math.atan2(y1 - y0, x1 - x0);
    for (const [style, wide] of [["rgba(12, 13, 18, .75)", width + 2.5], [colour, width]]) {
      pen.strokeStyle = pen.fillStyle = style;
      pen.lineWidth = wide;
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      points.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.stroke();
      pen.beginPath();
      for (const side of [-0.45, 0.45]) { pen.moveTo(x1, y1); pen.lineTo(x1 - Math.cos(turn + side) * 11, y1 - Math.sin(turn + side) * 11); }
      pen.stroke();
    }
  }

  function knob(pen, [x, y], strong) {
    pen.beginPath();
    pen.arc(x, y, strong ? 6 : 4.5, 0, 7);
    pen.fillStyle = "#5a48e0"; pen.strokeStyle = "#fff"; pen.lineWidth = 2;
    pen.fill(); pen.stroke();
  }

  function ring(pen, { w, h }) {
    const brush = active()?.widget === "strokes", round = brush ? Math.max(3, (settings.width * Math.max(w, h)) / 2) : 7;
    for (const [style, wide] of [["rgba(12, 13, 18, .8)", 4], ["#fff", 2]]) {
      pen.strokeStyle = style; pen.lineWidth = wide;
      pen.beginPath(); pen.arc(cursor[0] * w, cursor[1] * h, round, 0, 7); pen.stroke();
      pen.beginPath(); pen.moveTo(cursor[0] * w - 4, cursor[1] * h); pen.lineTo(cursor[0] * w + 4, cursor[1] * h);
      pen.moveTo(cursor[0] * w, cursor[1] * h - 4); pen.lineTo(cursor[0] * w, cursor[1] * h + 4); pen.stroke();
    }
  }

  // ---- The pointer

  function listen(sheet) {
    const at = (event) => {
      const box = sheet.getBoundingClientRect();
      return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
    };
    sheet.addEventListener("pointerdown", (event) => {
      event.stopPropagation();  // the finder does not take it for a drag of the crop
      const field = active();
      if (!field || event.button) return;
      event.preventDefault();
      sheet.focus({ preventScroll: true });
      sheet.setPointerCapture(event.pointerId);
      cursor = null;
      begin(field, at(event), sheet);
    });
    sheet.addEventListener("pointermove", (event) => {
      if (!live) return;
      for (const one of event.getCoalescedEvents?.() || [event]) extend(at(one), sheet);
      draw();
    });
    sheet.addEventListener("pointerup", () => finish(sheet));
    sheet.addEventListener("pointercancel", () => { live = null; draw(); });
    sheet.addEventListener("keydown", (event) => typed(event, sheet));
    sheet.addEventListener("focus", () => draw());
    sheet.addEventListener("blur", () => { cursor = null; draw(); });
    new ResizeObserver(() => draw()).observe(sheet);
  }

  const near = (a, b, sheet) => Math.hypot((a[0] - b[0]) * sheet.clientWidth, (a[1] - b[1]) * sheet.clientHeight);

  function begin(field, at, sheet) {
    if (field.widget === "strokes") live = { field, stroke: { points: [at], width: settings.width, erase: settings.erase, angle: null, strength: field.flows && !settings.erase ? settings.strength : 1 } };
    else if (field.widget === "arrows") grasp(field, at, sheet);
    else {
      const box = readBox(field.text), corners = box ? [[0, 1], [2, 1], [0, 3], [2, 3]] : [];
      const held = corners.find(([x, y]) => near([box[x], box[y]], at, sheet) < 16);
      const from = held ? [box[2 - held[0]], box[4 - held[1]]] : at;
      live = { field, from, box: held ? box : [...at, ...at] };
    }
    draw();
  }

  // An end of an arrow, the arrow itself, or a new one.
  function grasp(field, at, sheet) {
    const arrows = readArrows(field.text);
    let best = null;
    arrows.forEach((arrow, index) => [0, arrow.length - 1].forEach((end) => {
      const far = near(arrow[end], at, sheet);
      if (far < 16 && (!best || far < best.far)) best = { index, end, far };
    }));
    if (best) { chosen = best.index; live = { field, arrows, moves: best }; return; }
    chosen = -1;
    live = { field, arrow: [at, at] };
  }

  function extend(at, sheet) {
    if (!live) return;
    if (live.stroke) {
      const { points } = live.stroke;
      if (near(points[points.length - 1], at, sheet) > 2.5) points.push(at);
    } else if (live.moves) {
      live.arrows[live.moves.index][live.moves.end] = at;
      live.field.text = writeArrows(live.arrows);  // shown at once, kept when it is let go
      live.before ??= control(live.field.id)?.value ?? "";
    } else if (live.arrow) live.arrow[1] = at;
    else if (live.from) live.box = [Math.min(live.from[0], at[0]), Math.min(live.from[1], at[1]), Math.max(live.from[0], at[0]), Math.max(live.from[1], at[1])];
  }

  function finish(sheet) {
    const done = live, size = { w: sheet.clientWidth, h: sheet.clientHeight };
    live = null;
    if (!done) return;
    const { field } = done;
    if (done.stroke) {
      const { points, erase } = done.stroke;
      if (settings.flow && field.flows && !erase && points.length > 1) done.stroke.angle = angleOf(points, size);
      write(field, added(field.text, strokeText(done.stroke)));
    } else if (done.moves) {
      if (done.before !== undefined) { const text = field.text; field.text = done.before; write(field, text); }
    } else if (done.arrow) {
      if (near(...done.arrow, sheet) > 8) { chosen = readArrows(field.text).length; write(field, added(field.text, said(done.arrow, ">"))); }
    } else if (done.box && (done.box[2] - done.box[0]) * size.w > 6 && (done.box[3] - done.box[1]) * size.h > 6) write(field, done.box.map(short).join(","));
    draw();
  }

  // ---- The keyboard: arrow keys move, space begins and ends a mark, Delete takes away what is chosen

  const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function typed(event, sheet) {
    const field = active();
    if (!field || event.ctrlKey || event.metaKey) return;
    const way = WAYS[event.key];
    const known = way || [" ", "Enter", "Escape", "Delete", "Backspace", "n"].includes(event.key);
    if (!known) return;
    event.stopPropagation();
    if (event.key === "Enter") return;
    event.preventDefault();
    if (way) {
      const far = event.shiftKey ? 0.1 : 0.02;
      cursor = cursor || [0.5, 0.5];
      cursor = [clamp(cursor[0] + way[0] * far, 0, 1), clamp(cursor[1] + way[1] * far, 0, 1)];
      extend(cursor, sheet);
    } else if (event.key === " ") {
      cursor = cursor || [0.5, 0.5];
      if (live) { finish(sheet); svdui.heard(counted(field)); }
      else { begin(field, cursor, sheet); svdui.heard("Drawing: move with the arrow keys, end with space."); }
    } else if (event.key === "Escape") {
      if (live) live = null;
      else done();
    } else if (event.key === "n") choose(field, 1);
    else drop(field);
    draw();
  }

  function choose(field, by) {
    const count = field.widget === "arrows" ? readArrows(field.text).length : 0;
    if (!count) return;
    chosen = (chosen + by + count) % count;
    svdui.heard(`Arrow ${chosen + 1} of ${count}`);
  }

  // The arrow that is chosen, or the last one.
  function drop(field) {
    if (field.widget === "box") return write(field, "");
    const marks = parts(field.text);
    marks.splice(field.widget === "arrows" && chosen >= 0 ? chosen : -1, 1);
    chosen = -1;
    write(field, marks.join("; "));
  }

  addEventListener("keydown", (event) => {
    const field = active();
    if (!field || !(event.ctrlKey || event.metaKey) || !/^[zy]$/i.test(event.key) || event.target.closest?.("textarea, input:not([type=range], [type=radio])")) return;
    event.preventDefault();
    const again = event.shiftKey || event.key.toLowerCase() === "y";
    step(field, again ? "redo" : "undo", again ? "undo" : "redo");
  });

  // ---- Frame or draw: what a drag on the picture means is said on it

  function enter(id) {
    if (!source()) return;
    mode = id;
    chosen = -1;
    sync();
    into();
    canvas()?.focus({ preventScroll: true });
  }

  // What is drawn on comes into view, where a phone has scrolled it away.
  function into() {
    const box = source().getBoundingClientRect();
    if (box.top + box.height / 3 < 60) $("#finder").scrollIntoView({ block: "start", behavior: "smooth" });
  }

  function done() {
    mode = "";
    live = null;
    larger(false);
    sync();
    source()?.focus({ preventScroll: true });
  }

  function larger(on) {
    $("#still")?.classList.toggle("large", on);
    $("[data-tool=large]", tools || document)?.setAttribute("aria-pressed", String(on));
    draw();
  }

  function toolbar(element) {
    tools = $(".tools", element);
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-tool],[data-draw]"), field = active();
      if (!button) return;
      if (button.dataset.draw) return enter(button.dataset.draw);
      const tool = button.dataset.tool;
      if (tool === "open") enter(drawable()[0]?.id || "");
      else if (tool === "done") done();
      else if (tool === "large") larger(!$("#still").classList.contains("large"));
      else if (tool === "erase" || tool === "flow") settings[tool] = !settings[tool];
      else if (tool === "undo") step(field, "undo", "redo");
      else if (tool === "redo") step(field, "redo", "undo");
      else if (tool === "clear" && field) { chosen = -1; write(field, ""); }
      else if (tool === "delete" && field) drop(field);
      sync();
    });
    element.addEventListener("input", (event) => {
      const { set } = event.target.dataset;
      if (!set) return;
      settings[set] = Number(event.target.value);
      if (set === "strength") $("output", event.target.closest("label")).textContent = short(settings.strength);
      // How broad it is can be seen before it paints.
      if (set === "width") { cursor = [0.5, 0.5]; draw(); const sheet = canvas(); if (sheet) ring(sheet.getContext("2d"), { w: sheet.clientWidth, h: sheet.clientHeight }); }
    });
    element.addEventListener("change", (event) => { if (event.target.dataset.set === "width") { cursor = null; draw(); } });
    sync();
  }

  const MARKS = { strokes: ["stroke", "strokes"], arrows: ["arrow", "arrows"], box: ["box", "boxes"] };
  function counted(field) {
    const count = field.widget === "box" ? (readBox(field.text) ? 1 : 0) : parts(field.text).length;
    return count ? `${count} ${MARKS[field.widget][count > 1 ? 1 : 0]}` : "";
  }

  function told(field) {
    const output = $(".marked", field.element), wipe = $("[data-wipe]", field.element);
    if (output.textContent !== counted(field)) output.textContent = counted(field);
    wipe.hidden = !field.text;
  }

  // The page as it is: which fields can be drawn, which is, and the tools that it needs.
  function sync() {
    const shown = drawable(), still = $("#still"), there = Boolean(source()) && shown.length > 0;
    if (!still || !tools) return;
    if (asked && there) { mode = shown[0].id; asked = false; into(); }
    if (mode && (!there || !shown.some((field) => field.id === mode))) mode = there && still.classList.contains("drawing") ? shown[0].id : "";
    const field = active();
    still.classList.toggle("directs", there);
    still.classList.toggle("drawing", Boolean(field));
    if (!field) still.classList.remove("large");
    tools.hidden = !there;
    const names = shown.map((one) => one.id).join();
    const list = $(".tools-fields", tools);
    if (list.dataset.names !== names) {
      list.dataset.names = names;
      list.replaceChildren(...(shown.length > 1 ? shown.map((one) => Object.assign(document.createElement("button"), { type: "button", textContent: one.title, className: "tools-field" })) : []));
      [...list.children].forEach((button, index) => { button.dataset.draw = shown[index].id; });
    }
    for (const button of document.querySelectorAll("[data-draw]")) {
      button.setAttribute("aria-pressed", String(button.dataset.draw === mode));
      button.disabled = !source();
      button.title = source() ? "" : "Choose a picture first";
    }
    for (const part of tools.querySelectorAll("[data-of]")) {
      const { of } = part.dataset;
      part.hidden = !field || (of === "flows" ? !(field.widget === "strokes" && field.flows) : of !== field.widget);
    }
    const flow = $("[data-tool=flow]", tools);
    flow.hidden = !field?.flows;
    flow.setAttribute("aria-pressed", String(settings.flow));
    $("[data-tool=erase]", tools).setAttribute("aria-pressed", String(settings.erase));
    $("[data-tool=undo]", tools).disabled = !field?.undo.length;
    $("[data-tool=redo]", tools).disabled = !field?.redo.length;
    $("[data-tool=clear]", tools).disabled = !field?.text;
    $("[data-tool=delete]", tools).disabled = !field?.text;
    const sheet = shown.length ? canvas() : $("#finder canvas.marks");
    if (sheet) {
      sheet.tabIndex = field ? 0 : -1;
      const how = field && { strokes: "Arrow keys move the brush, space paints.", arrows: "Arrow keys move, space begins and ends an arrow, N chooses one, Delete removes it.", box: "Arrow keys move, space begins and ends the box." }[field.widget];
      sheet.setAttribute("aria-label", field ? `${field.title}: drawn on your picture. ${how}` : "");
      sheet.setAttribute("aria-hidden", String(!field));
    }
    draw();
  }

  for (const kind of ["strokes", "arrows", "box"]) {
    kinds[kind] = (field, box) => {
      field.shown = () => { told(field); sync(); };
      box.addEventListener("click", (event) => {
        if (event.target.closest("[data-draw]")) mode === field.id ? done() : enter(field.id);
        else if (event.target.closest("[data-wipe]")) write(field, "");
      });
    };
  }

  // What a click on a method leads to: a picture that can be drawn on.
  addEventListener("change", (event) => { if (event.target.closest?.("#dial-method") && event.isTrusted) asked = true; }, true);

  // The finder is drawn anew by the server, editors come and go with their method.
  let waiting = 0;
  const soon = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(sync); };
  function watched(selector) {
    const place = $(selector);
    if (!place) return void setTimeout(watched, 200, selector);
    new MutationObserver((changes) => { if (changes.some((one) => !one.target.closest?.(".editor, .tools"))) soon(); }).observe(place, { childList: true, subtree: true });
  }

  // What comes up under the method slides what is below it away, instead of throwing it: see the style of ``--pushed``.
  function slides() {
    const panel = $("#direct");
    if (!panel) return void setTimeout(slides, 200);
    let least = 0, tall = 0;
    // What stands there whichever method is chosen; whatever is more has come up since.
    const measure = () => {
      const own = [...panel.children].filter((part) => !part.matches(".kind, #method-notice"));
      least = Math.max(0, ...own.map((part) => part.offsetTop + part.offsetHeight));
    };
    const pushed = () => {
      if (!least) measure();
      const by = Math.max(0, panel.offsetHeight - least);
      if (by !== tall) $("#left").style.setProperty("--pushed", `${tall = by}px`);
    };
    addEventListener("resize", () => { measure(); pushed(); });
    // At once: a frame may be laid out, and what moved in it counted, before a ResizeObserver is asked.
    new MutationObserver(pushed).observe(panel, { childList: true, subtree: true, attributes: true, attributeFilter: ["style", "class", "hidden"] });
    new ResizeObserver(pushed).observe(panel);
  }

  // The sketch plays as a preview does, and rests at its end.
  const SKETCH_MS = 130, REST = 5;
  let sketching = 0, hidden = false, made = "";
  function sketch(element, watch) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const turn = () => {
      const reel = $(".sketch-reel", element);
      if (!reel) { clearInterval(sketching); sketching = 0; return; }
      const last = Number(reel.dataset.frames) - 1, at = Math.floor(performance.now() / SKETCH_MS) % (last + 1 + REST);
      reel.style.backgroundPositionY = `${(calm.matches ? 1 : Math.min(at, last) / last) * 100}%`;
    };
    const shown = async () => {
      const reel = $(".sketch-reel", element);
      $("#sketch").classList.toggle("off", hidden || Boolean(made && reel?.dataset.reel === made));
      if (!reel) return;
      const image = new Image();
      image.src = reel.dataset.reel;
      try { await image.decode(); } catch { return; }
      reel.style.backgroundImage = `url("${image.src}")`;
      turn();
      if (!sketching) sketching = setInterval(turn, SKETCH_MS);
    };
    // What is being made needs no sketch any more, until something else is planned.
    addEventListener("click", (event) => {
      if (!event.target.closest?.("#animate")) return;
      made = $(".sketch-reel", element)?.dataset.reel ?? "";
      if (made) $("#sketch").classList.add("off");
    }, true);
    element.addEventListener("click", (event) => { if (event.target.closest("[data-hide]")) { hidden = true; $("#sketch").classList.add("off"); } });
    addEventListener("change", (event) => { if (event.target.closest?.("#dial-method")) { hidden = false; $("#sketch").classList.remove("off"); } }, true);
    watch("value", shown);
    shown();
  }

  // What was said may want strokes that say where: then one paints next.
  function spoken(element, trigger, watch) {
    svdui.delegate(element, trigger);
    watch("value", () => { if ($("[data-wants=strokes]", element)) { asked = true; soon(); } });
  }

  watched("#finder");
  watched("#direct");
  slides();
  Object.assign(svdui, { editor, directed, spoken, tools: toolbar, sketch, fields: { write, kinds, clamp, short } });
})();

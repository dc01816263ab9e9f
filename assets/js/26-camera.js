// The camera pad: moves by name, how much of each, easing, a hand's tremor and keyframes; beside it the same path as text.
(() => {
  const { $ } = svdui, { write, kinds, clamp, short } = svdui.fields;
  const WAIT = 140;

  // The path's text as keyframes, each with its entries: {name, strength} of a move, {name, value} of the camera's own.
  function read(text, moves, limits) {
    const path = { keys: [], ease: "in-out", handheld: 0, sound: true };
    for (const part of text.split(";").map((piece) => piece.trim()).filter(Boolean)) {
      const found = part.match(/^\s*([\d.]+)(%?)\s*:([\s\S]*)$/), time = found ? Number(found[1]) / (found[2] ? 100 : 1) : 1;
      let key = path.keys.find((one) => one.time === time);
      if (!key) path.keys.push(key = { time, entries: [] });
      for (const entry of (found ? found[3] : part).split(",").map((piece) => piece.trim()).filter(Boolean)) {
        const at = entry.indexOf("="), name = at < 0 ? "" : entry.slice(0, at).trim(), value = entry.slice(at + 1).trim();
        if (name === "ease") path.ease = value;
        else if (name === "handheld") path.handheld = Number(value);
        else if (name) {
          key.entries.push({ name, value: Number(value) });
          path.sound &&= name in limits && Number.isFinite(Number(value));
        } else {
          const [words, strength] = entry.split("*"), move = words.trim().toLowerCase().replace(/[\s_-]+/g, " ");
          key.entries.push({ name: move, strength: strength === undefined ? 1 : Number(strength) });
          path.sound &&= moves.includes(move);
        }
      }
    }
    path.keys = path.keys.filter((key) => key.entries.length || path.keys.length > 1).sort((a, b) => a.time - b.time);
    return path;
  }

  const entryText = (entry) => (entry.strength === undefined ? `${entry.name}=${short(entry.value)}` : entry.name + (entry.strength === 1 ? "" : `*${short(entry.strength)}`));

  // Easing and tremor stand with the last keyframe, so that they add none.
  function written(path) {
    const keys = path.keys.map((key) => [...key.entries.map(entryText)]), rest = [];
    if (path.ease !== "in-out" && keys.length) rest.push(`ease=${path.ease}`);
    if (path.handheld) rest.push(`handheld=${short(path.handheld)}`);
    if (!keys.length) return rest.join(", ");
    if (path.keys.length > 1) keys.forEach((entries) => { if (!entries.length) entries.push("zoom=1"); });
    keys[keys.length - 1].push(...rest);
    const timed = path.keys.length > 1 || path.keys[0].time !== 1;
    return keys.map((entries, at) => (timed ? `${short(path.keys[at].time)}: ` : "") + entries.join(", ")).join("; ");
  }

  kinds.camera = (field, box) => {
    const moves = [...box.querySelectorAll("[data-move]")].map((button) => button.dataset.move), limits = JSON.parse(box.dataset.limits);
    const most = Number(box.dataset.mostKeys);
    let path = read("", moves, limits), at = 1, late = 0, drag = null;
    const key = () => path.keys.find((one) => one.time === at) || path.keys[path.keys.length - 1];
    const own = () => {
      if (!path.keys.length) { path.keys.push({ time: 1, entries: [] }); at = 1; }
      return key();
    };
    const say = (soon = false) => {
      clearTimeout(late);
      late = setTimeout(() => write(field, written(path)), soon ? 0 : WAIT);
      show();
    };

    field.shown = () => {
      path = read(field.text, moves, limits);
      if (!path.keys.some((one) => one.time === at)) at = path.keys.at(-1)?.time ?? 1;
      show();
    };

    function show() {
      const entries = key()?.entries || [];
      box.dataset.sound = String(path.sound);
      for (const button of box.querySelectorAll("[data-move]")) button.setAttribute("aria-pressed", String(entries.some((entry) => entry.name === button.dataset.move && entry.strength !== undefined)));
      pulls(entries);
      for (const button of box.querySelectorAll("[data-ease]")) {
        const on = button.dataset.ease === path.ease;
        button.setAttribute("aria-checked", String(on));
        button.tabIndex = on ? 0 : -1;
      }
      const hand = $("[data-handheld]", box);
      if (document.activeElement !== hand) hand.value = path.handheld || 0;
      $("output", hand.closest("label")).textContent = path.handheld ? short(path.handheld) : "off";
      timeline();
    }

    // One slider for each entry; those that are there stay, also while one is pulled.
    function pulls(entries) {
      const list = $(".pulls", box), names = entries.map((entry) => entry.name + (entry.strength === undefined ? "=" : "")).join();
      if (list.dataset.names !== names) {
        list.dataset.names = names;
        list.replaceChildren(...entries.map((entry, index) => {
          const row = document.createElement("label"), [low, high] = entry.strength === undefined ? limits[entry.name] || [0, 1] : [0, 3];
          row.className = "pull";
          row.innerHTML = '<span><i></i> <output></output></span><input type="range"><button type="button" class="x">×</button>';
          $("i", row).textContent = entry.name;
          Object.assign($("input", row), { min: low, max: high, step: entry.strength === undefined ? (high - low) / 200 : 0.1 });
          $("input", row).dataset.entry = $("button", row).dataset.entry = index;
          $("input", row).setAttribute("aria-label", entry.strength === undefined ? entry.name : `How much: ${entry.name}`);
          $("button", row).setAttribute("aria-label", `Remove ${entry.name}`);
          return row;
        }));
      }
      entries.forEach((entry, index) => {
        const row = list.children[index], value = entry.strength ?? entry.value;
        if (document.activeElement !== $("input", row)) $("input", row).value = value;
        $("output", row).textContent = entry.strength === undefined ? short(value) : `×${short(value)}`;
      });
    }

    function timeline() {
      const track = $(".track", box), shown = path.keys.length ? path.keys : [{ time: 1, entries: [] }];
      const names = shown.length;
      if (Number(track.dataset.count) !== names) {
        track.dataset.count = names;
        track.replaceChildren(...shown.map(() => Object.assign(document.createElement("button"), { type: "button", className: "stop" })));
      }
      [...track.children].forEach((stop, index) => {
        const { time } = shown[index];
        stop.style.setProperty("--at", time);
        stop.dataset.time = time;
        stop.setAttribute("aria-pressed", String(time === (key()?.time ?? 1)));
        stop.setAttribute("aria-label", `Keyframe at ${Math.round(time * 100)} %`);
        stop.title = `${Math.round(time * 100)} %`;
      });
      $("[data-key=add]", box).disabled = path.keys.length >= most || !path.keys.length;
      $("[data-key=drop]", box).hidden = path.keys.length < 2;
    }

    // To another time, between the two that it stands between.
    function move(from, to) {
      const index = path.keys.findIndex((one) => one.time === from);
      if (index < 0) return from;
      const low = index ? path.keys[index - 1].time + 0.02 : 0.02, high = index < path.keys.length - 1 ? path.keys[index + 1].time - 0.02 : 1;
      const time = Number(clamp(to, low, high).toFixed(2));
      path.keys[index].time = at = time;
      return time;
    }

    function add() {
      const stop = own(), index = path.keys.indexOf(stop), before = index ? path.keys[index - 1].time : 0;
      const time = Number(((before + stop.time) / 2).toFixed(2));
      path.keys.splice(index, 0, { time, entries: stop.entries.map((entry) => ({ ...entry })) });
      at = time;
      say(true);
      $(`.stop[data-time="${time}"]`, box)?.focus();
    }

    function drop() {
      if (path.keys.length < 2) return;
      path.keys.splice(path.keys.indexOf(key()), 1);
      at = path.keys.at(-1).time;
      if (path.keys.length === 1) path.keys[0].time = at = 1;
      say(true);
    }

    box.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { move: name, ease, key: what, entry, time } = button.dataset;
      if (name) {
        const { entries } = own(), index = entries.findIndex((one) => one.name === name && one.strength !== undefined);
        if (index < 0) entries.push({ name, strength: 1 });
        else entries.splice(index, 1);
        if (path.keys.length === 1 && !entries.length) path.keys = [];
      } else if (entry !== undefined) {
        event.preventDefault();
        key().entries.splice(Number(entry), 1);
        if (path.keys.length === 1 && !key().entries.length) path.keys = [];
      } else if (ease) path.ease = ease;
      else if (what === "add") return add();
      else if (what === "drop") return drop();
      else if (time) { at = Number(time); return show(); }
      else return;
      say(true);
    });
    box.addEventListener("input", (event) => {
      const { entry, handheld } = event.target.dataset, value = Number(event.target.value);
      if (handheld) path.handheld = value;
      else if (entry !== undefined) { const one = key().entries[Number(entry)]; if (one.strength === undefined) one.value = value; else one.strength = value; }
      else return;
      say();
    });
    box.addEventListener("keydown", (event) => {
      const stop = event.target.closest(".stop"), ease = event.target.closest("[data-ease]");
      const way = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (stop && way) {
        const time = move(Number(stop.dataset.time), Number(stop.dataset.time) + way * (event.shiftKey ? 0.1 : 0.02));
        say();
        $(`.stop[data-time="${time}"]`, box)?.focus();
      } else if (stop && event.key === "Delete") { at = Number(stop.dataset.time); drop(); }
      else if (ease && way) {
        const all = [...box.querySelectorAll("[data-ease]")], next = all[(all.indexOf(ease) + way + all.length) % all.length];
        path.ease = next.dataset.ease;
        say(true);
        next.focus();
      } else return;
      event.preventDefault();
    });
    const track = $(".track", box);
    track.addEventListener("pointerdown", (event) => {
      const stop = event.target.closest(".stop");
      if (!stop || !path.keys.length) return;
      at = Number(stop.dataset.time);
      drag = { time: at };
      track.setPointerCapture(event.pointerId);
      show();
    });
    track.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const frame = track.getBoundingClientRect();
      drag.time = move(drag.time, (event.clientX - frame.left) / frame.width);
      say();
    });
    for (const end of ["pointerup", "pointercancel"]) track.addEventListener(end, () => { drag = null; });
  };
})();

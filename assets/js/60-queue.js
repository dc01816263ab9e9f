// What waits, above the history: paused and resumed, arranged by drag or with Alt and the arrow keys, skipped, taken along.
// It asks the server itself, now and then, and is there only where there is something to arrange.
(() => {
  const { $ } = svdui;
  const SOON = 2500, LATER = 15000;
  let timer = 0, shown = "", dragged = null, focus = "";

  const el = (name, values = {}, ...inside) => {
    const made = Object.assign(document.createElement(name), values);
    made.append(...inside.filter((part) => part != null));
    return made;
  };
  const button = (text, act, about = {}) => el("button", { type: "button", className: "btn small", textContent: text, onclick: () => ask(act), ...about });

  async function ask(asked) {
    clearTimeout(timer);
    try {
      const options = asked ? { method: "POST", headers: { "Content-Type": "application/json", "X-SVD-UI": "1" }, body: JSON.stringify(asked) } : {};
      const answer = await fetch("svd/queue", { credentials: "same-origin", ...options });
      const told = await answer.json();
      if (told.error) speak(told.error.message);
      else draw(told);
      timer = setTimeout(ask, document.hidden ? LATER : (told.jobs || []).length || told.paused ? SOON : LATER);
      if (told.error) ask();
    } catch {
      timer = setTimeout(ask, LATER); // the server is not there: the page says so elsewhere
    }
  }

  const speak = (text) => { const live = $("#spoken"); if (live) live.textContent = text; };

  function place() {
    const before = $("#history");
    if (!before) return null;
    const found = $("#queue") || el("section", { id: "queue", className: "queue" });
    found.setAttribute("aria-label", "Queue");
    if (found.nextElementSibling !== before) before.before(found);
    return found;
  }

  function draw(told) {
    const box = place(), text = JSON.stringify(told);
    if (!box || dragged || (text === shown && box.childElementCount)) return;
    shown = text;
    const waiting = told.jobs.filter((job) => !job.running);
    box.hidden = !told.paused && !waiting.length;
    if (box.hidden) return box.replaceChildren();
    const head = el("header", {}, el("h2", { textContent: told.paused ? "Queue, paused" : "Queue" }), tools(told, waiting));
    const list = el("ol", { className: "queue-jobs" }, ...told.jobs.map((job) => row(job, waiting)));
    const kept = focus; // what is taken out of the page loses it
    box.replaceChildren(head, list);
    if (kept) $(`#queue [data-id="${CSS.escape(kept)}"]`)?.focus();
  }

  function tools(told, waiting) {
    const running = told.jobs.find((job) => job.running);
    const hold = told.operator ? button(told.paused ? "Resume" : "Pause", { do: told.paused ? "resume" : "pause" }) : null;
    const skip = running && waiting.length ? button("Skip current", { do: "skip", id: running.id }) : null;
    const stop = button("Stop all", null, { onclick: () => { if (confirm("Stop everything that is being made or waits?")) ask({ do: "stop_all" }); } });
    const take = waiting.length ? el("a", { className: "btn small", href: "svd/queue.zip", download: "queue.zip", textContent: "Export" }) : null;
    return el("div", { className: "queue-tools" }, hold, skip, take, stop);
  }

  function row(job, waiting) {
    const at = waiting.indexOf(job), steps = job.step != null && job.total ? `${job.step} of ${job.total}` : "";
    const said = [`seed ${job.seed}`, job.running ? `${job.state} ${steps}`.trim() : job.message || job.left].filter(Boolean).join(" · ");
    const item = el("li", { tabIndex: 0, draggable: !job.running }, el("b", { textContent: job.title }), el("span", { textContent: said }));
    item.dataset.id = job.id;
    item.setAttribute("aria-label", job.running ? `${job.title}, ${said}` : `${at + 1} of ${waiting.length}: ${job.title}, ${said}. Alt and arrow keys move it.`);
    const move = (where, other) => { focus = job.id; speak(`${job.title} moved.`); ask({ do: "move", id: job.id, where, other }); };
    const up = () => at > 0 && move("before", waiting[at - 1].id), down = () => at >= 0 && at < waiting.length - 1 && move("after", waiting[at + 1].id);
    if (!job.running) {
      item.append(arrow("↑", `Move ${job.title} up`, up, at === 0), arrow("↓", `Move ${job.title} down`, down, at === waiting.length - 1));
      drags(item, job, move);
    }
    item.append(arrow("×", `Cancel ${job.title}`, () => ask({ do: "stop", id: job.id })));
    item.onkeydown = (event) => {
      if (!event.altKey || !["ArrowUp", "ArrowDown", "Home", "End"].includes(event.key) || job.running) return;
      event.preventDefault();
      ({ ArrowUp: up, ArrowDown: down, Home: () => move("first"), End: () => move("last") })[event.key]();
    };
    item.onfocus = () => { focus = job.id; };
    item.onblur = () => { focus = ""; };
    return item;
  }

  function arrow(text, label, onclick, disabled = false) {
    const made = el("button", { type: "button", className: "icon-btn", textContent: text, title: label, disabled, onclick });
    made.setAttribute("aria-label", label);
    return made;
  }

  function drags(item, job, move) {
    item.ondragstart = (event) => { dragged = { job, move }; event.dataTransfer.effectAllowed = "move"; event.dataTransfer.setData("text/plain", job.id); };
    item.ondragend = () => { dragged = null; };
    item.ondragover = (event) => { if (dragged && dragged.job !== job) { event.preventDefault(); item.dataset.over = below(event, item) ? "after" : "before"; } };
    item.ondragleave = () => { delete item.dataset.over; };
    item.ondrop = (event) => {
      event.preventDefault();
      const from = dragged;
      delete item.dataset.over;
      dragged = null;
      if (from && from.job !== job) from.move(below(event, item) ? "after" : "before", job.id);
    };
  }

  const below = (event, item) => { const box = item.getBoundingClientRect(); return event.clientY > box.top + box.height / 2; };

  addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  timer = setTimeout(ask, 1500);
  svdui.queue = ask;
})();
